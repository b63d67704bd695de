"""Run the benchmarks: all of them, or those named.

    python -m benchmarks                 all but those that take an hour
    python -m benchmarks startup         one

Those with options are run as modules: `python -m benchmarks.head --help`. Each runs both sides in one go, interleaved,
and prints median, spread and peak memory.
"""

import platform
import sys
from importlib import import_module
from importlib.metadata import version

BENCHMARKS = (
    "startup", "generation", "flop_ceiling", "sft_step", "bfloat16_cpu", "head_cuda", "sandbox", "bfcl_parity",
    "coverage",
)  # fmt: skip
# Over an hour on two cores, or in need of servers and other tools: only by name.
LONG = ("head", "entropy_quality", "eval_speed", "server_cycles")


def main(names: list[str]) -> int:
    known = (*BENCHMARKS, *LONG)
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
    print(f"{platform.platform()}, Python {platform.python_version()}, {packages}\n")
    for name in names or BENCHMARKS:
        module = import_module(f"benchmarks.{name}")
        print(f"== {name}: {module.__doc__.splitlines()[0]}")
        module.main()
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

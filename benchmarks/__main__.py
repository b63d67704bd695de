"""Run the benchmarks: all of them, or those named.

    python -m benchmarks                 all
    python -m benchmarks startup         one

Each runs both sides in one go, interleaved, and prints median, spread and peak memory.
"""

import platform
import sys
from importlib import import_module
from importlib.metadata import version

BENCHMARKS = ("startup", "generation", "head_cuda")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
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

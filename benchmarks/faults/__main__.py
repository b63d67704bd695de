"""Run the fault bench and write what came out.

    python -m benchmarks.faults            print the table, as `tw faults` does
    python -m benchmarks.faults --write    write docs/faults.md too

writes   docs/faults.md
"""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

from tunewright.faults.bench import bench
from tunewright.faults.page import as_page, as_text

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def main(arguments: list[str]) -> int:
    done = bench()
    print(as_text(done))
    if "--write" in arguments:
        packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft"))
        machine = f"{len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {packages}"
        PAGE.write_text(as_page(done, machine), encoding="utf-8")
        print(f"wrote {PAGE}", file=sys.stderr)
    return 1 if done.alarms else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`tw faults`: the fault bench on this machine and these versions."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from tunewright.cli.tables import print_json, print_text
from tunewright.errors import EXIT_GATE, MissingExtra


def faults(
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Plant every known fault in a sound small project and say which gate catches it, and where; minutes, not more.

    Sound projects of many kinds are checked as well: a gate that fails on one is a false alarm, and the exit
    code is 1.
    """
    for name in ("torch", "trl"):
        if find_spec(name) is None:  # the projects train: without it every one would fail alike
            raise MissingExtra(name, "train")
    from tunewright.faults.bench import bench
    from tunewright.faults.page import as_text

    done = bench()
    if json_output:
        print_json(done.as_json())
    else:
        print_text(as_text(done))
    if done.alarms:
        raise typer.Exit(EXIT_GATE)

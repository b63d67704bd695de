"""`tw faults`: the fault bench on this machine and these versions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from tunewright.cli.tables import print_json, print_text
from tunewright.errors import EXIT_GATE, MissingExtra, UserError

if TYPE_CHECKING:
    from tunewright.faults.fault import Fault


def faults(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="only these faults, without the sound projects", show_default=False),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Plant every known fault in a sound small project and say which gate catches it, and where.

    All of it takes about four minutes on two cores. Sound projects of many kinds are checked as well: a gate that
    fails on one is a false alarm, and the exit code is 1.
    """
    for name in ("torch", "trl"):
        if find_spec(name) is None:  # the projects train: without it every one would fail alike
            raise MissingExtra(name, "train")
    from tunewright.faults.bench import bench
    from tunewright.faults.page import as_text

    done = bench(_named(names), {}) if names else bench()
    if json_output:
        print_json(done.as_json())
    else:
        print_text(as_text(done))
    if done.alarms:
        raise typer.Exit(EXIT_GATE)


def _named(names: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults of these names.

    Raises:
        UserError: there is none of one name.
    """
    from tunewright.faults.groups import FAULTS
    from tunewright.recipe.explain import nearest

    known = {fault.name: fault for fault in FAULTS}
    for name in names:
        if name not in known:
            close = nearest(name, known)
            raise UserError(
                f"no fault {name}", where="tw faults", expected=f"one of {', '.join(known)}",
                fix=f"did you mean {close}?" if close else None,
            )  # fmt: skip
    return tuple(known[name] for name in dict.fromkeys(names))

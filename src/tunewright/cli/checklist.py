"""`tw checklist`: what must be true before a tuned model is used, with the file of the run that shows it.

Exit code 1 when something is not done. What is not shown does not fail: no stage of this run looked.
"""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.artifacts.rundir import find_run
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import EXIT_GATE
from tunewright.reports.checklist import Item, State, items_of, sign
from tunewright.reports.gather import Story


def checklist(
    run: Annotated[str, typer.Argument(help="a run: folder, recipe/number, or a recipe's name for its latest")],
    sign_: Annotated[
        str | None, typer.Option("--sign", metavar="NAME", help="write into the run that NAME has read its outputs")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Show the production checklist of a run, each item with its evidence."""
    found = find_run(run)
    if sign_ is not None:
        sign(Story(found), sign_)
    story = Story(found)
    items = items_of(story)
    if json_output:
        print_json({"run": story.name, "ready": _is_ready(items), "items": [item.as_json() for item in items]})
    else:
        print_table(("", "item", "state", "seen", "evidence"), [_cells(item) for item in items], whole=(0, 1, 2))
        print_text(f"\n{_closing(items)}")
    if any(item.state is State.NOT_DONE for item in items):
        raise typer.Exit(EXIT_GATE)


def _cells(item: Item) -> list[str]:
    return [item.sign, item.name, item.state.value, item.seen, item.evidence]


def _is_ready(items: list[Item]) -> bool:
    return all(item.state in (State.DONE, State.NOT_NEEDED) for item in items)


def _closing(items: list[Item]) -> str:
    counts = {state: sum(item.state is state for item in items) for state in State}
    return ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)

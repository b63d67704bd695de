"""`tw report`: write a run's report again and print where it is."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from tunewright.artifacts.rundir import find_run
from tunewright.cli.tables import print_json, print_text
from tunewright.reports.report import write_report


def report(
    run: Annotated[str, typer.Argument(help="a run: folder, recipe/number, or a recipe's name for its latest")],
    open_: Annotated[bool, typer.Option("--open", help="open the page in the browser")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Write the report of a run as one HTML file, and print its path."""
    found = find_run(run)
    path = write_report(found)
    if json_output:
        print_json({"run": found.name, "report": str(path), "bytes": path.stat().st_size})
    else:
        print_text(str(path))
    if open_:
        webbrowser.open(path.resolve().as_uri())

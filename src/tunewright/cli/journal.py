"""`tw journal`: every run in one cumulative table: what changed, what came of it, what to keep."""

from __future__ import annotations

from typing import Annotated

import typer

from tunewright.cli.tables import print_json, print_table
from tunewright.reports import words
from tunewright.reports.journal import JournalRow, journal_rows

HEAD = ("run", "date", "what changed", "result", "difference, interval", "verdict", "minutes")
WHOLE = (0, 1, 5)
RIGHT = (6,)


def journal(
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List all runs under runs/, oldest first: what changed, what came out, what to keep."""
    rows = journal_rows()
    if json_output:
        print_json({"runs": [row.as_json() for row in rows]})
    elif rows:
        print_table(HEAD, [_cells(row) for row in rows], RIGHT, WHOLE)
    else:
        print("no runs yet: `tw run RECIPE` makes the first")


def _cells(row: JournalRow) -> list[str]:
    changed = "; ".join(row.changed) or "–"
    return [row.run, row.date, changed, *_result(row), f"{row.minutes:.1f}"]


def _result(row: JournalRow) -> list[str]:
    if row.metric is None or row.before is None or row.after is None or row.difference is None or row.interval is None:
        return ["–", "–", "nothing compared" if row.status == "done" else row.status]
    unit = words.Unit.of((row.before, row.after))
    spread = f"{unit.interval(*row.interval)}, n {words.count(row.num_rows or 0)}"
    return [
        f"{words.metric_label(row.metric)} {unit.value(row.before)} → {unit.value(row.after)}",
        f"{unit.difference(row.difference)} ({spread})",
        words.CHOICES[row.verdict or "not shown"],
    ]

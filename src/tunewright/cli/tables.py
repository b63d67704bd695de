"""Tables and rows on stdout: rich on a terminal, plain aligned lines elsewhere, one JSON document with `--json`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from tunewright.progress import is_live
from tunewright.reports.words import printable


def print_json(value: Any) -> None:
    """Print one JSON document. It is ASCII, so that half a surrogate pair in an answer cannot stop it."""
    print(json.dumps(value, indent=2, allow_nan=False))


def has_colour() -> bool:
    """True where stdout takes colour and nobody said NO_COLOR."""
    return is_live(sys.stdout) and not os.environ.get("NO_COLOR")


def print_text(text: str) -> None:
    """Print text that came from a model or a file: what a terminal would obey is shown by name instead."""
    print(printable(text).encode("utf-8", "replace").decode("utf-8"))


def print_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), whole: Sequence[int] = ()
) -> None:
    """Print a table.

    Args:
        head: titles of the columns.
        rows: cells as text.
        right: indices of the columns that are set flush right; they are never wrapped.
        whole: indices of further columns that are never wrapped.
    """
    clean = [[printable(cell) for cell in row] for row in rows]
    if is_live(sys.stdout):
        _print_rich(head, clean, right, whole)
    else:
        print("\n".join(plain_lines(head, clean, right)))


def plain_lines(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return a table as aligned lines, two blanks between columns, no trailing blanks."""
    table = [list(head), *([" ".join(cell.split()) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(head))]
    return ["  ".join(_pad(*cell, right) for cell in zip(line, widths, range(len(head)), strict=True)).rstrip()
            for line in table]  # fmt: skip


def _pad(text: str, width: int, column: int, right: Sequence[int]) -> str:
    return text.rjust(width) if column in right else text.ljust(width)


def _print_rich(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], whole: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column, title in enumerate(head):
        flush, no_wrap = "right" if column in right else "left", column in (*right, *whole)
        table.add_column(title, justify=flush, no_wrap=no_wrap, overflow="fold")  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: square brackets in a cell are no markup
    Console(highlight=False).print(table)

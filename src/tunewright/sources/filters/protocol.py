"""What a filter is: rows in; each row out as it is, changed, or removed with a reason. Nothing disappears uncounted.

Most filters look at one row at a time (`Check`); duplicates need to know the rows before. Both stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tunewright.artifacts.dataset import ChatRow

Check = Callable[[ChatRow], "ChatRow | Removed"]
"""Looks at one row by itself."""


@dataclass(frozen=True)
class Removed:
    """A row that a filter took. `reason` is the same for all rows taken for it, `detail` is of this one."""

    row: ChatRow
    reason: str
    detail: str = ""


class RowFilter(Protocol):
    """A filter by its name; called with rows, it gives each back in order, kept or removed."""

    @property
    def name(self) -> str:
        """The type of its section."""
        ...

    def __call__(self, rows: Iterable[ChatRow]) -> Iterator[ChatRow | Removed]:
        """Yield every row, in order: as it is, changed, or as Removed."""
        ...


@dataclass(frozen=True)
class EachRow:
    """A filter that looks at rows one by one, so that any process may do it."""

    name: str
    check: Check

    def __call__(self, rows: Iterable[ChatRow]) -> Iterator[ChatRow | Removed]:
        """Yield every row, in order."""
        return map(self.check, rows)


def kept_and_removed(row_filter: RowFilter, rows: Iterable[ChatRow]) -> tuple[list[ChatRow], list[Removed]]:
    """Apply a filter to rows that fit into memory."""
    kept: list[ChatRow] = []
    removed: list[Removed] = []
    for item in row_filter(rows):
        if isinstance(item, Removed):
            removed.append(item)
        else:
            kept.append(item)
    return kept, removed


def excerpt(text: str, chars: int = 120) -> str:
    """Return the beginning of a text on one line."""
    line = " ".join(text[: 4 * chars].split())
    return line if len(line) <= chars else line[: chars - 1] + "…"

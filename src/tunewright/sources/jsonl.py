"""Rows from a JSON-lines file, in any of the formats of `formats.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import read_jsonl
from tunewright.errors import DataError
from tunewright.sources.dropped import Dropped, unless_too_large
from tunewright.sources.formats import to_row


def read_rows(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[ChatRow]:
    """Yield the rows of a file, in its order.

    Raises:
        DataError: as `read_file`, or a row that is too large.
    """
    for item in read_file(path, columns):
        if isinstance(item, Dropped):
            raise item.error or DataError(item.reason, where=f"row {item.id}")
        yield item


def read_file(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of a file, in its order, and what stands for a row that is too large to be rendered.

    Raises:
        DataError: no such file, no row in it, a broken line, two rows with one id; names file and line.
    """
    lines: dict[str, int] = {}
    for line, record in read_jsonl(path):
        where = f"{path}:{line}"
        row = to_row(record, where=where, fallback_id=f"{path.stem}-{line}", source=str(path), columns=columns)
        if row.id in lines:
            raise DataError(
                f"id {row.id!r} stands in line {lines[row.id]} too", where=where,
                expected="ids that are unique", fix="mend the ids, or leave the column out: lines are numbered then",
            )  # fmt: skip
        lines[row.id] = line
        yield unless_too_large(row, where)
    if not lines:
        raise DataError("the file is empty", where=str(path), expected="one JSON object a line")

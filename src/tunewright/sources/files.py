"""Chat rows from a file, in any of the forms of `records.py` and the formats of `formats.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError
from tunewright.recipe.data_sections import ENDINGS
from tunewright.sources.dropped import Dropped, unless_too_large
from tunewright.sources.formats import detect_format, to_row
from tunewright.sources.records import Record, read_records

LOOKED_AT = 64
"""Records that are looked at to tell a file's format: one early row without a call must not hide that it is Hermes."""


def read_rows(path: Path, columns: Mapping[str, str] | None = None) -> Iterator[ChatRow]:
    """Yield the rows of a file that a person named, in its order; one of an unknown ending is read as JSON lines.

    Raises:
        DataError: as `read_file`, or a row that is too large.
    """
    for item in read_file(path, columns, form=ENDINGS.get(path.suffix.lower(), "jsonl")):
        if isinstance(item, Dropped):
            raise item.error or DataError(item.reason, where=f"row {item.id}")
        yield item


def read_file(
    path: Path, columns: Mapping[str, str] | None = None, *, form: str = "auto", format: str = "auto", name: str = ""
) -> Iterator[ChatRow | Dropped]:
    """Yield the rows of a file, in its order, and what stands for a row that is too large to be rendered.

    `name` is the source that its rows name, where that is not the path.

    Raises:
        DataError: no such file, no row in it, a broken record, two rows with one id; names file and line.
    """
    numbers: dict[str, int] = {}
    for where, number, record in read_records(path, form):
        row = to_row(
            record, where=where, fallback_id=f"{path.stem}-{number}", source=name or str(path), columns=columns,
            format=format,
        )  # fmt: skip
        if row.id in numbers:
            raise DataError(
                f"id {row.id!r} stands in line {numbers[row.id]} too", where=where,
                expected="ids that are unique", fix="mend the ids, or leave the column out: lines are numbered then",
            )  # fmt: skip
        numbers[row.id] = number
        yield unless_too_large(row, where)
    if not numbers:
        raise DataError("the file is empty", where=str(path), expected="one JSON object a line")


def look(path: Path, columns: Mapping[str, str] | None = None, form: str = "auto") -> str:
    """Return the format that a file's first records have.

    Raises:
        DataError: none that is known, or the file is broken.
    """
    found = [
        detect_format(_renamed(record, columns), where)
        for where, _, record in islice(read_records(path, form), LOOKED_AT)
    ]
    if not found:
        raise DataError("the file is empty", where=str(path))
    return "hermes" if "hermes" in found else found[0]


def has_ids(path: Path, columns: Mapping[str, str] | None = None) -> bool:
    """True if one of a file's first records has an id; where none has, rows are called by their lines.

    Raises:
        DataError: the file is broken.
    """
    form = ENDINGS.get(path.suffix.lower(), "jsonl")
    return any(
        _renamed(record, columns).get("id") is not None for *_, record in islice(read_records(path, form), LOOKED_AT)
    )


def _renamed(record: Record, columns: Mapping[str, str] | None) -> Record:
    return {**record, **{field: record[column] for field, column in (columns or {}).items() if column in record}}

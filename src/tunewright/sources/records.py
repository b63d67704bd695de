"""Records from a file, by its ending: JSON lines, Parquet, CSV and TSV. One row at a time, never the whole file.

    .jsonl .ndjson .json     one JSON object a line
    .parquet                 a batch of rows at a time, by pyarrow, which the extra `train` brings along
    .csv .tsv                a header line, UTF-8; the fields are text, and an empty one is absent

A column that holds lists or objects stands in CSV as JSON in a string; the readers of `chat_formats.py` parse it.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.files import MAX_LINE_BYTES, read_jsonl, require_file
from tunewright.errors import DataError, MissingExtra
from tunewright.recipe.data_sections import ENDINGS

Record = Mapping[str, Any]
BATCH_ROWS: Final = 256
"""Rows of Parquet held at a time: usually a megabyte, and half a gigabyte where every row is of 2 MB."""


def read_records(path: Path, form: str = "auto") -> Iterator[tuple[str, int, Record]]:
    """Yield `(place, number, record)` for every record; numbers are lines, or rows from 1 where there are no lines.

    Args:
        path: the file.
        form: one of READERS; auto: by the file's ending.

    Raises:
        DataError: no such file, another ending, or a broken record; names the place.
        MissingExtra: Parquet without pyarrow.
    """
    require_file(path)
    return READERS[file_form(path) if form == "auto" else form](path)


def file_form(path: Path) -> str:
    """Return what a file is, by its ending.

    Raises:
        DataError: none that is known.
    """
    form = ENDINGS.get(path.suffix.lower())
    if form is None:
        raise DataError(
            f"a file that ends with {path.suffix!r}" if path.suffix else "a file without an ending", where=str(path),
            expected=", ".join(ENDINGS), fix="rename it, or name its type in the source: `type: jsonl`",
        )  # fmt: skip
    return form


def _jsonl(path: Path) -> Iterator[tuple[str, int, Record]]:
    return ((f"{path}:{line}", line, record) for line, record in read_jsonl(path))


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _parquet(path: Path) -> Iterator[tuple[str, int, Record]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtra.of(error, "train") from None
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{path} row {number}", number, record
    except (ArrowException, OSError, ValueError) as error:  # ValueError: what pyarrow says of bytes that are no UTF-8
        detail = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"broken Parquet behind row {number}: {detail[0][:200]}", where=str(path), fix="write the file again"
        ) from None


# ── CSV ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _csv(path: Path) -> Iterator[tuple[str, int, Record]]:
    csv.field_size_limit(MAX_LINE_BYTES)  # the csv module has one limit for the process
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            header = _header(next(lines, None), path)
            for fields in lines:
                if fields:
                    place = f"{path}:{lines.line_num}"
                    yield place, lines.line_num, _record(header, fields, place)
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8: byte {error.object[error.start]:#04x}", where=str(path), fix="save it as UTF-8"
        ) from None
    except csv.Error as error:
        place = f"{path}:{lines.line_num}"
        raise DataError(
            f"broken CSV: {error}", where=place, expected="fields with a comma, a quote or a line end inside quotes",
            fix="write it with a CSV library, or as JSON lines",
        ) from None  # fmt: skip


def _header(names: list[str] | None, path: Path) -> list[str]:
    if not names:
        raise DataError("the file is empty", where=str(path), expected="a header line with the names of the columns")
    twice, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise DataError(f"two columns are named {twice!r}", where=f"{path}:1", expected="names that are unique")
    return names


def _record(header: list[str], fields: list[str], place: str) -> dict[str, str]:
    if len(fields) != len(header):
        raise DataError(
            f"{len(fields)} fields, and the header names {len(header)}", where=place, expected=", ".join(header)[:200],
            fix="put quotes around fields with a comma inside",
        )  # fmt: skip
    return {name: value for name, value in zip(header, fields, strict=True) if value}


READERS: Final[dict[str, Callable[[Path], Iterator[tuple[str, int, Record]]]]] = {
    "jsonl": _jsonl,
    "parquet": _parquet,
    "csv": _csv,
}

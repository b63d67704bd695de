"""Files in pieces of a few hundred rows, so that processes can share them and memory does not grow with their length.

JSON lines go out as they are on disk, cut at a line end: the process that takes a chunk parses it. Of Parquet and
CSV, which cannot be cut without reading, the records go out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.files import MAX_LINE_BYTES
from tunewright.errors import DataError
from tunewright.sources.records import file_form, read_records

CHUNK_BYTES: Final = 1 << 20
CHUNK_RECORDS: Final = 1000

Placed = tuple[str, int, Mapping[str, Any]]
"""place, number, record"""


@dataclass(frozen=True)
class Chunk:
    """A piece of one file. Exactly one of `lines` and `records` is there; `first` is the number of the first line."""

    index: int
    path: str
    first: int
    num_bytes: int
    lines: bytes | None = None
    records: tuple[Placed, ...] = ()


def read_chunks(paths: Sequence[Path]) -> Iterator[Chunk]:
    """Yield the files in pieces, in order. The same files give the same pieces.

    Raises:
        DataError: a file is not there, of no known ending, or has a line that is too long.
    """
    index = 0
    for path in paths:
        pieces = _line_chunks(path) if file_form(path) == "jsonl" else _record_chunks(path)
        for first, num_bytes, lines, records in pieces:
            yield Chunk(index, str(path), first, num_bytes, lines, records)
            index += 1


def _line_chunks(path: Path) -> Iterator[tuple[int, int, bytes, tuple[Placed, ...]]]:
    if not path.is_file():
        raise DataError("no such file", where=str(path), fix="check the path; it is taken from the current folder")
    number, rest = 1, b""
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            whole, line_end, rest = (rest + block).rpartition(b"\n")
            if len(rest) > MAX_LINE_BYTES:
                raise DataError(
                    f"a line of more than {MAX_LINE_BYTES >> 20} MiB", expected="one JSON object a line",
                    where=f"{path}:{number + whole.count(10) + bool(whole)}",
                )  # fmt: skip
            if line_end:
                yield number, len(whole) + 1, whole, ()
                number += whole.count(b"\n") + 1
    if rest.strip():
        yield number, len(rest), rest, ()


def _record_chunks(path: Path) -> Iterator[tuple[int, int, None, tuple[Placed, ...]]]:
    held: list[Placed] = []
    for placed in read_records(path):
        held.append(placed)
        if len(held) == CHUNK_RECORDS:
            yield held[0][1], 0, None, tuple(held)
            held = []
    if held:
        yield held[0][1], 0, None, tuple(held)


def records_of(chunk: Chunk) -> Iterator[Placed]:
    """Yield the records of a chunk, with their places.

    Raises:
        DataError: a line that is no JSON object, or no UTF-8; names it.
    """
    if chunk.lines is None:
        yield from chunk.records
        return
    for number, raw in enumerate(chunk.lines.split(b"\n"), chunk.first):
        if raw.strip():
            where = f"{chunk.path}:{number}"
            yield where, number, _parse(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw, where)


def _parse(raw: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(raw)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: byte {raw[error.start]:#04x}", where=where, fix="save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        shown = raw.strip()[:80].decode("utf-8", "replace")
        raise DataError(
            f"broken JSON: {str(error).splitlines()[0][:120]}: {shown!r}", where=where,
            expected="one JSON object a line", fix="mend or remove that line",
        ) from None  # fmt: skip
    if not isinstance(value, dict):
        raise DataError(f"a JSON {type(value).__name__}", where=where, expected="one JSON object a line")
    return value

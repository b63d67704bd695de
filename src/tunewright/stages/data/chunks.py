"""Files in pieces of a few hundred rows, so that processes can share them and memory does not grow with their length.

JSON lines go out as they are on disk, cut at a line end: the process that takes a chunk parses it. Of Parquet and
CSV, which cannot be cut without reading, the records go out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json, to_json

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import MAX_LINE_BYTES, require_file
from tunewright.errors import DataError
from tunewright.sources.records import file_form, read_records

CHUNK_BYTES: Final = 1 << 20
CHUNK_RECORDS: Final = 1000

Placed = tuple[str, int, Mapping[str, Any]]
"""place, number, record"""


@dataclass(frozen=True)
class Origin:
    """Where records come from, and how they become rows."""

    path: str
    """the file, or what people call the source"""
    source: str = ""
    """what rows name as their source; default: what the record says, or the path"""
    columns: Mapping[str, str] = field(default_factory=dict)
    format: str = "auto"
    ours: bool = False
    """the records are rows already, as this package writes them"""

    @cached_property
    def stem(self) -> str:
        """What the ids of rows begin with that have none."""
        return Path(self.path).stem


@dataclass(frozen=True)
class Chunk:
    """A piece of one source. Exactly one of `lines` and `records` is there; `first` is the number of the first line."""

    index: int
    origin: Origin
    first: int
    num_bytes: int
    lines: bytes | None = None
    records: tuple[Placed, ...] = ()


Piece = tuple[int, int, bytes | None, tuple[Placed, ...]]
"""number of the first line, bytes, lines, records"""


def read_chunks(
    paths: Sequence[Path], columns: Mapping[str, str] | None = None, format: str = "auto"
) -> Iterator[Chunk]:
    """Yield the files in pieces, in order. The same files give the same pieces.

    Raises:
        DataError: a file is not there, of no known ending, or has a line that is too long.
    """
    files = ((Origin(str(path), columns=columns or {}, format=format), file_form(path)) for path in paths)
    return numbered((origin, pieces_of(Path(origin.path), form)) for origin, form in files)


def numbered(sources: Iterable[tuple[Origin, Iterator[Piece]]]) -> Iterator[Chunk]:
    """Yield the pieces of several sources as chunks, numbered through."""
    index = 0
    for origin, pieces in sources:
        for first, num_bytes, lines, records in pieces:
            yield Chunk(index, origin, first, num_bytes, lines, records)
            index += 1


def pieces_of(path: Path, form: str) -> Iterator[Piece]:
    """Yield a file in pieces, read as `form`: jsonl, parquet or csv.

    Raises:
        DataError: the file is not there, or has a line that is too long.
    """
    return _line_pieces(path) if form == "jsonl" else _record_pieces(read_records(path, form))


def pieces_of_rows(rows: Iterable[ChatRow]) -> Iterator[Piece]:
    """Yield rows in pieces, each of CHUNK_BYTES or a little more."""
    first, held, size = 1, list[bytes](), 0
    for row in rows:
        held.append(line_of(row))
        size += len(held[-1])
        if size >= CHUNK_BYTES:
            yield first, size, b"".join(held).removesuffix(b"\n"), ()
            first, held, size = first + len(held), [], 0
    if held:
        yield first, size, b"".join(held).removesuffix(b"\n"), ()


def line_of(row: ChatRow) -> bytes:
    """Return a row as a line of a file: without `tools` where it has none."""
    value = {key: item for key, item in vars(row).items() if key != "tools" or item is not None}
    return to_json(value, inf_nan_mode="constants") + b"\n"


def _line_pieces(path: Path) -> Iterator[Piece]:
    require_file(path)
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


def _record_pieces(records: Iterable[Placed]) -> Iterator[Piece]:
    held: list[Placed] = []
    for placed in records:
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
            where = f"{chunk.origin.path}:{number}"
            yield where, number, _parse(raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw, where)


def _parse(raw: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = from_json(raw)
    except ValueError:
        value = _parse_slowly(raw, where)
    if not isinstance(value, dict):
        raise DataError(f"a JSON {type(value).__name__}", where=where, expected="one JSON object a line")
    return value


def _parse_slowly(raw: bytes, where: str) -> Any:
    """Parse what the fast parser refuses: halves of surrogate pairs, great depths, and what is no JSON at all."""
    try:
        return json.loads(raw)
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: byte {raw[error.start]:#04x}", where=where, fix="save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        shown = raw.strip()[:80].decode("utf-8", "replace")
        raise DataError(
            f"broken JSON: {str(error).splitlines()[0][:120]}: {shown!r}", where=where,
            expected="one JSON object a line", fix="mend or remove that line",
        ) from None  # fmt: skip

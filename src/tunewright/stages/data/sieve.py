"""One chunk through the filters that look at rows one by one, in any process.

writes, under the work folder, for chunk i of segment s
    s-i.jsonl   the rows that stay
    s-i.ids     a key a row: of its id                   (first segment)
    s-i.exact   a key and a check a row                  (where exact duplicates are looked for next)
    s-i.keys    the keys of its bands, and s-i.sig its signature    (where near duplicates are)
    s-i.json    the counts; written last, by rename: it says that the chunk is done
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import writing
from tunewright.errors import DataError
from tunewright.recipe.data_sections import DuplicatesFilter, Filter, NearDuplicatesFilter
from tunewright.sources.dropped import MAX_ROW_BYTES, unless_too_large
from tunewright.sources.filters.build import build_check
from tunewright.sources.filters.duplicates import Bands, digest, signatures_of
from tunewright.sources.filters.protocol import Check, Removed, excerpt
from tunewright.sources.formats import to_row
from tunewright.sources.text import whole
from tunewright.stages.data.chunks import Chunk, Origin, line_of, records_of

EXAMPLES: Final = 3
"""of a reason, in a chunk and in the end"""


@dataclass(frozen=True)
class Segment:
    """Filters that look at rows one by one, and then those that compare rows. Every recipe is a list of these."""

    number: int
    checks: tuple[Filter, ...]
    exact: DuplicatesFilter | None = None
    near: NearDuplicatesFilter | None = None
    too_large: Literal["drop", "error"] = "drop"
    """what becomes of a row that is too large to be rendered"""


@dataclass
class Tally:
    """What one filter did to the rows of one chunk."""

    rows_in: int = 0
    changed: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, str]] = field(default_factory=list)

    def take(self, removed: Removed) -> None:
        """Count a removed row, and keep the first few of a reason as examples."""
        count = self.removed[removed.reason] = self.removed.get(removed.reason, 0) + 1
        if count <= EXAMPLES:
            told = {"id": removed.row.id, "reason": removed.reason, "detail": removed.detail}
            self.examples.append({**told, "text": excerpt(whole(removed.row), 200)})


@dataclass(frozen=True)
class Sieve:
    """Takes chunks of one segment. Built once a process."""

    segment: Segment
    checks: tuple[tuple[str, Check], ...]

    @classmethod
    def of(cls, segment: Segment) -> Sieve:
        """Build the filters.

        Raises:
            MissingExtra, UserError: see `build_filter`.
        """
        return cls(segment, tuple((section.type, build_check(section)) for section in segment.checks))

    def sift(self, chunk: Chunk) -> dict[str, bytes]:
        """Return the files that come of a chunk, by their endings: what stays, its keys, and the counts.

        Raises:
            DataError: a record that is no row; names its line.
        """
        counts = {"read": 0, "dropped": 0}
        tallies = [Tally() for _ in self.checks]
        kept = list(self._kept(chunk, counts, tallies))
        told = {**counts, "kept": len(kept), "source": chunk.origin.source or chunk.origin.path}
        return {
            ".jsonl": b"".join(map(line_of, kept)),
            **self._keys(kept),
            ".json": json.dumps({**told, "steps": [vars(tally) for tally in tallies]}).encode(),
        }

    def _kept(self, chunk: Chunk, counts: dict[str, int], tallies: Sequence[Tally]) -> Iterator[ChatRow]:
        may_be_large = chunk.lines is None or chunk.num_bytes > MAX_ROW_BYTES
        for where, number, record in records_of(chunk):
            row = _row(chunk.origin, where, number, record)
            if self.segment.number == 0:
                counts["read"] += 1
                if may_be_large and self._is_too_large(row, where):
                    counts["dropped"] += 1
                    continue
            found = self._checked(row, tallies)
            if found is not None:
                yield found

    def _is_too_large(self, row: ChatRow, where: str) -> bool:
        found = unless_too_large(row, where)
        if isinstance(found, ChatRow):
            return False
        if self.segment.too_large == "error" and found.error is not None:
            raise found.error
        return True

    def _checked(self, row: ChatRow, tallies: Sequence[Tally]) -> ChatRow | None:
        for (_, check), tally in zip(self.checks, tallies, strict=True):
            tally.rows_in += 1
            found = check(row)
            if isinstance(found, Removed):
                tally.take(found)
                return None
            tally.changed += found is not row
            row = found
        return row

    def _keys(self, rows: Sequence[ChatRow]) -> dict[str, bytes]:
        found = {}
        if self.segment.number == 0:
            found[".ids"] = b"".join(hashlib.blake2b(row.id.encode(), digest_size=16).digest() for row in rows)
        if (exact := self.segment.exact) is not None:
            found[".exact"] = b"".join(digest(row, exact.of) for row in rows)
        if (near := self.segment.near) is not None and rows:
            signatures = signatures_of(rows, near)
            found[".sig"] = signatures.tobytes()
            found[".keys"] = Bands.of(near.threshold, near.permutations).keys(signatures).astype(np.uint64).tobytes()
        return found


def _row(origin: Origin, where: str, number: int, record: Any) -> ChatRow:
    if origin.ours:
        return ChatRow.model_construct(**record)
    return to_row(
        record, where=where, fallback_id=f"{origin.stem}-{number}",
        source=origin.source or _source(record, origin.path), columns=origin.columns, format=origin.format,
    )  # fmt: skip


def place_of(work: Path, segment: int, index: int) -> Path:
    """Return where the files of a chunk are, but for their endings."""
    return work / f"{segment}-{index:06d}"


def _source(record: Any, path: str) -> str:
    """Return the source that a row of ours names, or the file."""
    told = record.get("source")
    return told if isinstance(told, str) and told else path


def write(work: Path, segment: int, index: int, files: Mapping[str, bytes]) -> None:
    """Write what comes of a chunk; the counts last, by rename: they say that it is done."""
    place = place_of(work, segment, index)
    with writing(place):
        for ending, content in files.items():
            if ending != ".json":
                place.with_suffix(ending).write_bytes(content)
        part = place.with_suffix(".json.part")
        part.write_bytes(files[".json"])
        os.replace(part, place.with_suffix(".json"))


# ── in a process of its own ─────────────────────────────────────────────────────────────────────────────────────────

_work: Path | None = None
_sieves: dict[Segment, Sieve] = {}


def start(segment: Segment, work: Path) -> None:
    """Build the filters of this process, and say where it writes."""
    global _work
    _work = work
    _sieve(segment)


def _sieve(segment: Segment) -> Sieve:
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # rensa's threads: the processes share the cores already
    if segment not in _sieves:
        _sieves.clear()
        _sieves[segment] = Sieve.of(segment)
    return _sieves[segment]


def take(chunk: Chunk) -> tuple[int, DataError | None]:
    """Take one chunk of the segment that the process was started for; return its bytes, and what was wrong with it."""
    if _work is None:
        raise RuntimeError("this process was not started")
    (segment,) = _sieves
    index, files, error = sift(chunk, segment)
    if error is None:
        write(_work, segment.number, index, files)
    return chunk.num_bytes, error


def sift(chunk: Chunk, segment: Segment) -> tuple[int, dict[str, bytes], DataError | None]:
    """Take one chunk; return its number, the files that come of it, and what was wrong with it."""
    try:
        return chunk.index, _sieve(segment).sift(chunk), None
    except DataError as error:
        return chunk.index, {}, error

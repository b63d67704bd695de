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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import write_json, writing
from tunewright.errors import DataError
from tunewright.recipe.data_sections import DuplicatesFilter, Filter, NearDuplicatesFilter
from tunewright.sources.dropped import MAX_ROW_BYTES
from tunewright.sources.filters.build import build_check
from tunewright.sources.filters.duplicates import Bands, digest, signatures_of
from tunewright.sources.filters.protocol import Check, Removed, excerpt
from tunewright.sources.formats import to_row
from tunewright.sources.text import whole
from tunewright.stages.data.chunks import Chunk, records_of

EXAMPLES: Final = 3
"""of a reason, in a chunk and in the end"""


@dataclass(frozen=True)
class Segment:
    """Filters that look at rows one by one, and then those that compare rows. Every recipe is a list of these."""

    number: int
    checks: tuple[Filter, ...]
    exact: DuplicatesFilter | None = None
    near: NearDuplicatesFilter | None = None


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
    work: Path
    columns: dict[str, str]
    format: str
    checks: tuple[tuple[str, Check], ...]

    @classmethod
    def of(cls, segment: Segment, work: Path, columns: dict[str, str], format: str) -> Sieve:
        """Build the filters.

        Raises:
            MissingExtra, UserError: see `build_filter`.
        """
        checks = tuple((section.type, build_check(section)) for section in segment.checks)
        return cls(segment, work, columns, format, checks)

    def take(self, chunk: Chunk) -> None:
        """Write what stays of a chunk, and its counts.

        Raises:
            DataError: a record that is no row; names its line.
        """
        counts = {"read": 0, "dropped": 0}
        tallies = [Tally() for _ in self.checks]
        kept = list(self._kept(chunk, counts, tallies))
        place = place_of(self.work, self.segment.number, chunk.index)
        lines = [_line(row) for row in kept]
        with writing(place):
            place.with_suffix(".jsonl").write_bytes(b"".join(lines))
            self._write_keys(place, kept)
        write_json(
            place.with_suffix(".json"), {**counts, "kept": len(kept), "steps": [vars(tally) for tally in tallies]}
        )

    def _kept(self, chunk: Chunk, counts: dict[str, int], tallies: Sequence[Tally]) -> Iterator[ChatRow]:
        may_be_large = chunk.lines is None or chunk.num_bytes > MAX_ROW_BYTES
        for where, number, record in records_of(chunk):
            row = self._row(chunk, where, number, record)
            if self.segment.number == 0:
                counts["read"] += 1
                if may_be_large and len(_line(row)) > MAX_ROW_BYTES:
                    counts["dropped"] += 1
                    continue
            found = self._checked(row, tallies)
            if found is not None:
                yield found

    def _row(self, chunk: Chunk, where: str, number: int, record: Any) -> ChatRow:
        if self.segment.number > 0:
            return ChatRow.model_construct(**record)
        stem = Path(chunk.path).stem
        return to_row(
            record, where=where, fallback_id=f"{stem}-{number}", source=_source(record, chunk.path),
            columns=self.columns, format=self.format,
        )  # fmt: skip

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

    def _write_keys(self, place: Path, rows: Sequence[ChatRow]) -> None:
        if self.segment.number == 0:
            digests = (hashlib.blake2b(row.id.encode(), digest_size=16).digest() for row in rows)
            place.with_suffix(".ids").write_bytes(b"".join(digests))
        if (exact := self.segment.exact) is not None:
            place.with_suffix(".exact").write_bytes(b"".join(digest(row, exact.of) for row in rows))
        if (near := self.segment.near) is not None and rows:
            signatures = signatures_of(rows, near)
            signatures.tofile(place.with_suffix(".sig"))
            Bands.of(near.threshold, near.permutations).keys(signatures).astype(np.uint64).tofile(
                place.with_suffix(".keys")
            )


def place_of(work: Path, segment: int, index: int) -> Path:
    """Return where the files of a chunk are, but for their endings."""
    return work / f"{segment}-{index:06d}"


def _source(record: Any, path: str) -> str:
    """Return the source that a row of ours names, or the file."""
    told = record.get("source")
    return told if isinstance(told, str) and told else path


def _line(row: ChatRow) -> bytes:
    value = {key: item for key, item in vars(row).items() if key != "tools" or item is not None}
    return (json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n").encode()


# ── in a process of its own ─────────────────────────────────────────────────────────────────────────────────────────

_sieve: Sieve | None = None


def start(segment: Segment, work: Path, columns: dict[str, str], format: str) -> None:
    """Build the filters of this process."""
    import os

    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # rensa's threads: the processes share the cores already
    global _sieve
    _sieve = Sieve.of(segment, work, columns, format)


def take(chunk: Chunk) -> tuple[int, DataError | None]:
    """Take one chunk; return its bytes, and what was wrong with it."""
    if _sieve is None:
        raise RuntimeError("this process was not started")
    try:
        _sieve.take(chunk)
    except DataError as error:
        return chunk.num_bytes, _Carried.of(error)
    return chunk.num_bytes, None


class _Carried(DataError):
    """A DataError that can be pickled."""

    @classmethod
    def of(cls, error: DataError) -> _Carried:
        return cls(error.seen, where=error.where, expected=error.expected, fix=error.fix)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.seen, self.where, self.expected, self.fix)


def _rebuilt(seen: str, where: str | None, expected: str | None, fix: str | None) -> DataError:
    return DataError(seen, where=where, expected=expected, fix=fix)

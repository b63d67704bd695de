"""The files that one pass over the rows left, and which of its rows are alike.

A row is known by its number in the pass. Which rows go is one byte a row.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import read_json
from tunewright.errors import DataError
from tunewright.sources.filters.duplicates import Bands
from tunewright.sources.filters.protocol import excerpt
from tunewright.sources.text import whole
from tunewright.stages.data.alike import ENTRY, Entries, Partitions, Rows, SignatureFile, find_alike
from tunewright.stages.data.chunks import Chunk, Origin
from tunewright.stages.data.sieve import EXAMPLES, Segment, place_of


@dataclass(frozen=True)
class Removals:
    """Rows that go because an earlier one is alike: how many, and the first few with what they are like."""

    count: int
    examples: list[dict[str, str]]
    rows: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    """their numbers"""


@dataclass
class Pass:
    """All chunks of one segment, done."""

    work: Path
    segment: Segment
    offsets: NDArray[np.int64]
    """number of the first row of each chunk, and at the end the number of rows"""
    gone: NDArray[np.bool_]
    """row -> whether it goes"""
    removals: list[Removals] = field(default_factory=list)

    @classmethod
    def of(cls, work: Path, segment: Segment, num_chunks: int) -> Pass:
        """Read how many rows each chunk has."""
        kept = [read_json(place_of(work, segment.number, n).with_suffix(".json"))["kept"] for n in range(num_chunks)]
        offsets = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)]).astype(np.int64)
        return cls(work, segment, offsets, np.zeros(int(offsets[-1]), dtype=bool))

    @property
    def num_rows(self) -> int:
        """Rows behind the checks, those that go for being alike included."""
        return int(self.offsets[-1])

    def rows_left(self) -> int:
        """Rows that stay."""
        return self.num_rows - int(self.gone.sum())

    def places(self) -> Iterator[tuple[int, int, Path]]:
        """Yield (number of the first row, rows, place) of every chunk."""
        for index, (begin, end) in enumerate(zip(self.offsets[:-1], self.offsets[1:], strict=True)):
            yield int(begin), int(end - begin), place_of(self.work, self.segment.number, index)

    def counts(self) -> Iterator[dict[str, Any]]:
        """Yield the counts of every chunk."""
        return (read_json(place.with_suffix(".json")) for _, _, place in self.places())

    def sources(self) -> list[str]:
        """Return the source of every chunk."""
        return [str(counts["source"]) for counts in self.counts()]

    def total(self, name: str) -> int:
        """Return the sum of one count."""
        return sum(int(counts[name]) for counts in self.counts())

    def chunks(self) -> Iterator[Chunk]:
        """Yield what stays, a chunk for each chunk, so that the next pass cuts the rows at the same places."""
        sources = self.sources()
        for index, (begin, num, place) in enumerate(self.places()):
            path = place.with_suffix(".jsonl")
            held = path.read_bytes().removesuffix(b"\n")
            if self.gone[begin : begin + num].any():
                lines = held.split(b"\n")
                held = b"\n".join(
                    line for line, goes in zip(lines, self.gone[begin : begin + num], strict=True) if not goes
                )
            yield Chunk(index, Origin(str(path), source=sources[index], ours=True), 1, len(held), held)

    def row(self, number: int) -> ChatRow:
        """Return one row."""
        index = int(np.searchsorted(self.offsets, number, side="right")) - 1
        path = place_of(self.work, self.segment.number, index).with_suffix(".jsonl")
        line = path.read_bytes().split(b"\n")[number - int(self.offsets[index])]
        return ChatRow.model_construct(**json.loads(line))

    def remove(self, rows: Rows, like: NDArray[Any], told: Sequence[str] = ()) -> Removals:
        """Mark rows as gone, and return the count with the first few."""
        self.gone[rows] = True
        order = np.argsort(rows)[:EXAMPLES]
        examples = [self._example(int(rows[n]), int(like[n]), told[n] if told else "") for n in order]
        return Removals(len(rows), examples, rows)

    def _example(self, number: int, like: int, told: str) -> dict[str, str]:
        row = self.row(number)
        return {"id": row.id, "detail": f"of {self.row(like).id}{told}", "text": excerpt(whole(row), 200)}


# ── alike ───────────────────────────────────────────────────────────────────────────────────────────────────────────

_DIGEST: Final = np.dtype([("key", "<u8"), ("check", "<u8")])


def check_ids(done: Pass) -> None:
    """Refuse two rows with one id, over all files: scores are paired by it.

    Raises:
        DataError: names the id and both sources.
    """
    for rows, first in _equal_digests(done, ".ids"):
        if len(rows):
            later, earlier = done.row(int(rows[0])), done.row(int(first[0]))
            raise DataError(
                f"id {later.id!r} stands in {earlier.source} too", where=later.source, expected="unique ids",
                fix="mend the ids, or leave the column out: lines are numbered then; or name the source once",
            )  # fmt: skip


def find_exact(done: Pass) -> Removals:
    """Mark every row that an earlier one equals."""
    found = list(_equal_digests(done, ".exact"))
    rows, like = (np.concatenate([pair[side] for pair in found] or [np.empty(0, np.int64)]) for side in (0, 1))
    return done.remove(rows, like)


def _equal_digests(done: Pass, ending: str) -> Iterator[tuple[Rows, Rows]]:
    def batches() -> Iterator[Entries]:
        for begin, num, place in done.places():
            if num:
                digests = np.fromfile(place.with_suffix(ending), dtype=_DIGEST)
                yield _entries(digests["key"], np.arange(begin, begin + num), digests["check"])

    partitions = Partitions(done.work / "partitions", done.num_rows)
    partitions.fill(batches())
    yield from partitions.equal()


def _entries(keys: NDArray[np.uint64], rows: Rows, checks: NDArray[np.uint64] | int = 0) -> Entries:
    entries = np.empty(len(keys), dtype=ENTRY)
    entries["key"], entries["row"], entries["check"] = keys, rows, checks
    return entries


def find_near(done: Pass) -> Removals:
    """Mark every row that is nearly an earlier one, of those that still stay."""
    section = done.segment.near
    if section is None or not done.num_rows:
        return Removals(0, [])
    bands = Bands.of(section.threshold, section.permutations)
    partitions = Partitions(done.work / "partitions", done.num_rows * bands.num)
    partitions.fill(_band_entries(done, bands))
    signatures = SignatureFile(_joined_signatures(done), section.permutations)
    try:
        like = find_alike(partitions.equal(), signatures, section.threshold, done.num_rows)
        return _without(done, like, signatures)
    finally:
        signatures.close()


def _band_entries(done: Pass, bands: Bands) -> Iterator[Entries]:
    for begin, num, place in done.places():
        stays = ~done.gone[begin : begin + num]
        if num and stays.any():
            keys = np.fromfile(place.with_suffix(".keys"), dtype=np.uint64).reshape(num, bands.num)[stays]
            rows = np.repeat(np.arange(begin, begin + num)[stays], bands.num)
            yield _entries(keys.reshape(-1), rows)


def _joined_signatures(done: Pass) -> Path:
    """Write the signatures of all chunks one behind the other, so that a row's stands at its number."""
    joined = done.work / "signatures"
    with joined.open("wb") as out:
        for _, num, place in done.places():
            if num:
                with place.with_suffix(".sig").open("rb") as part:
                    shutil.copyfileobj(part, out)
    return joined


def _without(done: Pass, like: NDArray[np.int32], signatures: SignatureFile) -> Removals:
    later = np.flatnonzero(like >= 0)
    some = later[:EXAMPLES]
    shares = (signatures[some] == signatures[like[some]]).mean(axis=1) if len(some) else []
    removed = done.remove(some, like[some], [f", {share:.2f}" for share in shares])
    done.gone[later] = True
    return Removals(len(later), removed.examples, later)

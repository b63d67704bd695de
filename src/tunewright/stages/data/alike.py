"""Which rows are alike, of keys on disk: memory depends on the size of a partition, not on the number of rows.

Keys are spread over partition files by their value, so equal keys meet in one file; each file is sorted by itself. What
grows with the rows is one byte a row (removed or not), and for near duplicates four more (what it is like).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tunewright.artifacts.files import make_folder

PARTITION_ENTRIES: Final = 1 << 18
MOST_PARTITIONS: Final = 400
"""Files open at a time; a process may usually have 1024."""

ENTRY: Final = np.dtype([("key", "<u8"), ("check", "<u8"), ("row", "<i8")])
Entries = NDArray[Any]
Rows = NDArray[np.int64]


class Partitions:
    """Entries spread over files by their key."""

    def __init__(self, folder: Path, expected_entries: int):
        self.folder = make_folder(folder)
        self.count = min(MOST_PARTITIONS, max(1, -(-expected_entries // PARTITION_ENTRIES)))

    def fill(self, batches: Iterable[Entries]) -> None:
        """Write all batches, each of ENTRY."""
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(self._path(number).open("wb")) for number in range(self.count)]
            for batch in batches:
                places = (batch["key"] % np.uint64(self.count)).astype(np.int64)
                order = np.argsort(places, kind="stable")
                ends = np.cumsum(np.bincount(places, minlength=self.count))
                for file, part in zip(files, np.split(batch[order], ends[:-1]), strict=True):
                    file.write(part.tobytes())

    def equal(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield, a partition at a time, every row whose key stands in an earlier row, and the first such row."""
        for number in range(self.count):
            entries = np.fromfile(self._path(number), dtype=ENTRY)
            self._path(number).unlink()
            if len(entries):
                yield _equal(entries)

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:04d}"


def _equal(entries: Entries) -> tuple[Rows, Rows]:
    order = np.lexsort((entries["row"], entries["check"], entries["key"]))
    entries = entries[order]
    opens = np.ones(len(entries), dtype=bool)
    opens[1:] = (entries["key"][1:] != entries["key"][:-1]) | (entries["check"][1:] != entries["check"][:-1])
    first = entries["row"][np.maximum.accumulate(np.where(opens, np.arange(len(entries)), 0))]
    later = ~opens & (entries["row"] != first)
    return entries["row"][later], first[later]


class SignatureFile:
    """Signatures on disk, read where they are asked for."""

    def __init__(self, path: Path, permutations: int):
        self._descriptor = os.open(path, os.O_RDONLY)
        self._width = 2 * permutations

    def __getitem__(self, rows: NDArray[Any]) -> NDArray[np.uint16]:
        """Return the signatures of some rows: shape (rows, permutations)."""
        held = b"".join(os.pread(self._descriptor, self._width, int(row) * self._width) for row in rows)
        return np.frombuffer(held, dtype=np.uint16).reshape(len(rows), self._width // 2)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


PAIRS_AT_A_TIME: Final = 4096


def find_alike(
    pairs: Iterable[tuple[Rows, Rows]], signatures: SignatureFile, threshold: float, num_rows: int
) -> NDArray[np.int32]:
    """Return for every row an earlier one whose signature agrees in `threshold` of its places, or -1: shape (rows,).

    Args:
        pairs: rows and the earlier rows to compare them with, in batches.
        signatures: of all rows.
        threshold: in [0, 1].
        num_rows: how many rows there are.
    """
    like = np.full(num_rows, -1, dtype=np.int32)
    for rows, others in pairs:
        unique = np.unique(np.stack([rows, others], axis=1), axis=0)
        for start in range(0, len(unique), PAIRS_AT_A_TIME):
            some = unique[start : start + PAIRS_AT_A_TIME]
            some = some[like[some[:, 0]] < 0]
            shares = (signatures[some[:, 0]] == signatures[some[:, 1]]).mean(axis=1)
            alike = some[shares >= threshold]
            like[alike[::-1, 0]] = alike[::-1, 1]  # of several the earliest, which is written last
    return like

"""Rows that say the same as an earlier row, or nearly.

Exact: a digest of the messages and tools in one form (keys sorted), or of the question. Near: MinHash (Broder 1997)
over runs of words, by rensa, whose R-MinHash is some fifty times faster here than datasketch (`docs/log.md`). The
signature is cut into bands, and rows that share a band are compared by their signatures (Leskovec et al., Mining of
Massive Datasets, ch. 3). Similar to a row that is itself similar to an earlier one counts too: a family of rows keeps
its first.

These classes hold one digest, or one signature, for each row: for a list of rows in memory. `stages/data/prune.py`
does the same on disk, with the functions below.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import MissingExtra
from tunewright.recipe.data_sections import DuplicatesFilter, NearDuplicatesFilter
from tunewright.sources.filters.protocol import Removed
from tunewright.sources.text import canonical, question, whole, words

EXACT: Final = "duplicate"
NEAR: Final = "near duplicate"
SEED: Final = 42
LEAST_RECALL: Final = 0.95
"""of pairs just as similar as the threshold; the bands are chosen so"""
KEPT_WORDS: Final = 100_000
"""words whose hashes a process keeps: some 15 MB"""

_PLAIN: Final = {"role", "content"}

Signatures = NDArray[np.uint16]
Keys = NDArray[np.uint64]


def digest(row: ChatRow, of: str) -> bytes:
    """Return 16 bytes that are the same for rows that say the same."""
    told = _asked(row) if of == "question" else _told(row)
    return hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _asked(row: ChatRow) -> str:
    """Return the question without case, white space and end marks, and with all else: C is not C++, 7 + 4 not 7 - 4."""
    joined = " ".join(question(row).lower().split())
    return joined.rstrip(" .?!") or joined


def _told(row: ChatRow) -> str:
    """Return messages and tools in one form; rows of text alone, which most are, need no JSON."""
    plain = row.tools is None and all(
        message.keys() == _PLAIN and isinstance(message["content"], str) for message in row.messages
    )
    if plain:
        return "\x1e".join(f"{message['role']}\x1f{message['content']}" for message in row.messages)
    return canonical([row.messages, row.tools])


@dataclass(frozen=True)
class ExactDuplicates:
    """Takes every row that an earlier one equals."""

    section: DuplicatesFilter
    name: str = "duplicates"

    def __call__(self, rows: Iterable[ChatRow]) -> Iterator[ChatRow | Removed]:
        """Yield every row, in order."""
        first: dict[bytes, str] = {}
        for row in rows:
            key = digest(row, self.section.of)
            earlier = first.setdefault(key, row.id)
            yield row if earlier == row.id else Removed(row, EXACT, f"of {earlier}")


# ── near ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bands:
    """How a signature is cut: `num` bands of `size` values. Rows that share a band are compared."""

    num: int
    size: int

    @classmethod
    def of(cls, threshold: float, permutations: int) -> Bands:
        """Return the longest bands, so the fewest comparisons, that still find LEAST_RECALL at the threshold."""
        sizes = range(permutations, 0, -1)
        recall = (1 - (1 - threshold**size) ** (permutations // size) for size in sizes)
        size = next((size for size, found in zip(sizes, recall, strict=True) if found >= LEAST_RECALL), 1)
        return cls(permutations // size, size)

    def keys(self, signatures: Signatures) -> Keys:
        """Return one 64-bit key a row and band, the band's number in it: shape (rows, bands)."""
        cut = np.ascontiguousarray(signatures[:, : self.num * self.size]).reshape(len(signatures), self.num, self.size)
        powers = _odd_powers(self.size)
        mixed = (cut.astype(np.uint64) * powers).sum(axis=2, dtype=np.uint64)
        mixed += np.arange(1, self.num + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0xBF58476D1CE4E5B9)  # the mixer of SplitMix64, so that keys spread over all bits
        return mixed ^ (mixed >> np.uint64(32))  # type: ignore[no-any-return]  # numpy's operators lose the type


def _odd_powers(count: int) -> Keys:
    value, found = 1, []
    for _ in range(count):
        value = value * 0x5851F42D4C957F2D & 0xFFFFFFFFFFFFFFFF
        found.append(value)
    return np.array(found, dtype=np.uint64)


def signatures_of(rows: Sequence[ChatRow], section: NearDuplicatesFilter) -> Signatures:
    """Return one signature a row, the low 16 bits of each minimum: shape (rows, permutations).

    Two different minima agree in 16 bits once in 65,536 times (b-bit minwise hashing, Li & König 2010).

    Raises:
        MissingExtra: rensa is not installed.
    """
    sketch = _sketch()
    hashes, ends = _hashed_runs([whole(row) for row in rows], section.words)
    matrix = sketch.digest_matrix_from_flat_token_hashes(hashes, ends, section.permutations, SEED)
    digests = matrix.to_rows()
    return (np.array(digests, dtype=np.uint32).reshape(len(rows), section.permutations) & 0xFFFF).astype(np.uint16)


def _hashed_runs(texts: Sequence[str], size: int) -> tuple[Keys, NDArray[np.int64]]:
    """Return a 64-bit hash of every run of words, text behind text, and where each text begins, with the end of all.

    Words are hashed once, and runs by arithmetic on the hashes of their words: no run is ever a string.
    """
    listed = [words(text) or [text] for text in texts]  # a text without a word: an emoji
    counts = np.array([len(found) for found in listed], dtype=np.int64)
    flat = np.fromiter(map(_word_hashes.__getitem__, chain.from_iterable(listed)), np.uint64, int(counts.sum()))
    powers = _odd_powers(size)
    mixed = np.zeros(len(flat), dtype=np.uint64)
    for place in range(size):
        mixed[: len(flat) - place] += flat[place:] * powers[place]
    mixed ^= mixed >> np.uint64(31)
    begins = np.cumsum(counts) - counts
    runs = np.maximum(counts - size + 1, 1)
    within = np.arange(runs.sum()) - np.repeat(np.cumsum(runs) - runs, runs)
    starts = np.repeat(begins, runs) + within
    short = np.repeat(
        counts < size, runs
    )  # a text of fewer words is one run: of its first, and no further than its last
    found = mixed[starts]
    found[short] = [
        _short_hash(flat[begin : begin + count], powers)
        for begin, count in zip(begins[counts < size], counts[counts < size], strict=True)
    ]
    return found, np.concatenate([[0], np.cumsum(runs)])


def _short_hash(hashes: Keys, powers: Keys) -> int:
    mixed = int((hashes * powers[: len(hashes)]).sum(dtype=np.uint64))
    return mixed ^ mixed >> 31


class _WordHashes(dict[str, int]):
    """word -> 64 bits; the first so many that come are kept, which are nearly all that will."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        if len(self) < KEPT_WORDS:
            self[word] = value
        return value


_word_hashes: Final = _WordHashes()


def _sketch() -> Any:
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise MissingExtra.of(error, "data") from None
    return RMinHash


def similarity(left: Signatures, right: Signatures) -> NDArray[np.float64]:
    """Return the estimated Jaccard similarity of signatures, pair by pair, in [0, 1]."""
    return (left == right).mean(axis=-1)  # type: ignore[no-any-return]  # numpy's operators lose the type


@dataclass(frozen=True)
class NearDuplicates:
    """Takes every row that is nearly an earlier one."""

    section: NearDuplicatesFilter
    name: str = "near_duplicates"
    batch_rows: int = 256

    def __call__(self, rows: Iterable[ChatRow]) -> Iterator[ChatRow | Removed]:
        """Yield every row, in order."""
        bands = Bands.of(self.section.threshold, self.section.permutations)
        holders: dict[int, int] = {}
        ids: list[str] = []
        known: list[Signatures] = []
        for batch in _batches(rows, self.batch_rows):
            signatures = signatures_of(batch, self.section)
            for row, signature, keys in zip(batch, signatures, bands.keys(signatures).tolist(), strict=True):
                number = len(ids)
                ids.append(row.id)
                known.append(signature)
                candidates = sorted({holders.setdefault(key, number) for key in keys} - {number})
                alike = self._first_alike(signature, candidates, known)
                yield row if alike is None else Removed(row, NEAR, f"of {ids[alike[0]]}, {alike[1]:.2f}")

    def _first_alike(
        self, signature: Signatures, candidates: Sequence[int], known: Sequence[Signatures]
    ) -> tuple[int, float] | None:
        for number in candidates:
            share = float(similarity(signature, known[number]))
            if share >= self.section.threshold:
                return number, share
        return None


def _batches(rows: Iterable[ChatRow], size: int) -> Iterator[list[ChatRow]]:
    batch: list[ChatRow] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

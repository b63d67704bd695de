"""Files of rows merged, counted, sampled, split and compared. Rows stream; only ids and counts are held.

A sample needs no second reading: the rows with the smallest hashes of seed and id are an even draw without replacement,
the same whatever the order of the rows (bottom-k sampling, Cohen & Kaplan 2007).
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import make_folder, write_jsonl
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import DataError
from tunewright.gates.data import decontaminated
from tunewright.gates.rows import groups_disjoint
from tunewright.sources.dropped import Dropped
from tunewright.sources.files import has_ids, read_file
from tunewright.sources.filters.duplicates import digest
from tunewright.sources.overlap import EvaluationIndex, Overlap
from tunewright.sources.text import answers, question, whole
from tunewright.stages.data.split import two_sides


@dataclass(frozen=True)
class Reading:
    """How files of rows are to be read."""

    columns: Mapping[str, str] = field(default_factory=dict)
    format: str = "auto"

    def rows(self, paths: Sequence[Path]) -> Iterator[ChatRow]:
        """Yield the rows of all files, in order.

        Raises:
            DataError: a record that is no row, or a row that is too large.
        """
        for path in paths:
            for item in read_file(path, self.columns, format=self.format):
                if isinstance(item, Dropped):
                    raise item.error or DataError(item.reason, where=f"row {item.id}")
                yield item

    def distinct(self, paths: Sequence[Path]) -> Iterator[tuple[Path, ChatRow]]:
        """Yield file and row, in order; a row whose id stands in a file before gets its file's stem in front.

        Raises:
            DataError: as `rows`; or the ids of two files of one name clash even so.
        """
        taken: set[bytes] = set()
        for path in paths:
            for row in self.rows([path]):
                yield path, _renamed(row, path, taken)


def as_json(row: ChatRow) -> dict[str, Any]:
    """Return a row as it stands in a file: without `tools` where it has none."""
    return {key: value for key, value in vars(row).items() if key != "tools" or value is not None}


# ── merge ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def merge(paths: Sequence[Path], output: Path, reading: Reading) -> tuple[dict[str, int], int]:
    """Write the rows of all files into one, in order; return file -> rows, and how many say the same as one before.

    Rows of two files that have one id, as numbered lines may, get the file's stem in front.

    Raises:
        DataError: the ids of two files of one name clash.
    """
    counts: Counter[str] = Counter()
    seen: set[bytes] = set()

    def rows() -> Iterator[dict[str, Any]]:
        for path, row in reading.distinct(paths):
            counts[str(path)] += 1
            seen.add(digest(row, "row")[:8])
            yield as_json(row)

    write_jsonl(output, rows())
    return dict(counts), counts.total() - len(seen)


def _renamed(row: ChatRow, path: Path, taken: set[bytes]) -> ChatRow:
    for name in (row.id, f"{path.stem}-{row.id}"):
        mark = hashlib.blake2b(name.encode(), digest_size=8).digest()
        if mark not in taken:
            taken.add(mark)
            return row if name == row.id else row.model_copy(update={"id": name, "group": _group(row, name)})
    raise DataError(
        f"id {row.id!r} stands in another file too", where=str(path), expected="unique ids",
        fix="name the files differently, or mend the ids",
    )  # fmt: skip


def _group(row: ChatRow, name: str) -> str:
    return name if row.group == row.id else row.group


# ── stats ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Spread:
    """Lengths, counted in a histogram of the powers of 2^(1/8), so that quantiles cost no memory: within 9%."""

    counts: Counter[int] = field(default_factory=Counter)
    total: int = 0
    longest: int = 0

    def add(self, length: int) -> None:
        """Count one."""
        self.counts[_bin(length)] += 1
        self.total += length
        self.longest = max(self.longest, length)

    def quantile(self, share: float) -> int:
        """Return a length that so many are not longer than, at most the longest."""
        wanted, seen = share * self.counts.total(), 0
        for place, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return min(self.longest, round(2 ** (place / 8)) if place >= 0 else 0)
        return 0

    def told(self) -> dict[str, int]:
        """Return sum, median, 95th percentile and maximum."""
        return {"sum": self.total, "median": self.quantile(0.5), "p95": self.quantile(0.95), "longest": self.longest}


def _bin(length: int) -> int:
    import math

    return math.ceil(8 * math.log2(length)) if length > 0 else -1


def stats(rows: Iterable[ChatRow]) -> dict[str, Any]:
    """Return what rows are: sources, groups, turns, tools, lengths in characters, exact duplicates.

    Groups and duplicates are counted by 8 bytes each; two in a million million clash.
    """
    sources: Counter[str] = Counter()
    roles: Counter[str] = Counter()
    turns: Counter[int] = Counter()
    questions, answered = Spread(), Spread()
    groups: set[bytes] = set()
    seen: set[bytes] = set()
    num = with_tools = calls = 0
    for row in rows:
        num += 1
        sources[row.source] += 1
        roles.update(message["role"] for message in row.messages)
        turns[sum(message["role"] == "assistant" for message in row.messages)] += 1
        with_tools += row.tools is not None
        calls += any(message.get("tool_calls") for message in row.messages)
        questions.add(len(question(row)))
        answered.add(sum(map(len, answers(row))))
        groups.add(hashlib.blake2b(row.group.encode(), digest_size=8).digest())
        seen.add(digest(row, "row")[:8])
    return {
        "rows": num, "groups": len(groups), "duplicates": num - len(seen), "sources": dict(sources),
        "roles": dict(roles), "turns": {str(count): turns[count] for count in sorted(turns)}, "with_tools": with_tools,
        "with_calls": calls, "question_chars": questions.told(), "answer_chars": answered.told(),
    }  # fmt: skip


# ── split, sample ───────────────────────────────────────────────────────────────────────────────────────────────────


def split(
    paths: Sequence[Path], test: float, seed: int, out: Path, reading: Reading
) -> tuple[dict[str, int], list[Verdict]]:
    """Write train.jsonl and test.jsonl into `out`, whole groups each, as the stage `data` splits.

    Returns:
        The counts, and whether a train row gives a test row away.

    Raises:
        DataError: not fewer test rows than rows, or two rows have one id.
    """
    held_out = two_sides([row.group for _, row in reading.distinct(paths)], test, seed, where="--test")

    def side(is_test: bool) -> Iterator[ChatRow]:
        return (row for _, row in reading.distinct(paths) if (row.group in held_out) is is_test)

    make_folder(out)
    sides = {"train": False, "test": True}
    counts = {name: write_jsonl(out / f"{name}.jsonl", map(as_json, side(part))) for name, part in sides.items()}
    index = EvaluationIndex({"test": side(True)})
    index.leave_out_templates_of(side(False))
    train_groups: set[str] = set()
    pairs: list[Overlap] = []
    other_tasks = 0
    for row in side(False):
        train_groups.add(row.group)
        pairs.extend(index.overlaps(row))
        other_tasks += index.same_words_other_task(row)
    return counts, [
        groups_disjoint(train_groups, held_out),
        decontaminated(pairs, len(index), other_tasks=other_tasks),
    ]


def sample(rows: Iterable[ChatRow], count: int, seed: int) -> list[ChatRow]:
    """Return so many rows, drawn evenly by the seed, in their order; all where there are no more."""
    drawn: list[tuple[int, int, ChatRow]] = []
    for number, row in enumerate(rows):
        place = int.from_bytes(hashlib.blake2b(f"{seed}:{row.id}".encode(), digest_size=8).digest())
        entry = (-place, number, row)
        if len(drawn) < count:
            heapq.heappush(drawn, entry)
        elif -place > drawn[0][0]:
            heapq.heapreplace(drawn, entry)
    return [row for _, _, row in sorted(drawn, key=lambda item: item[1])]


# ── diff ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Difference:
    """What two files do not share: lists of ids, in the order of their file."""

    only_before: list[str]
    only_after: list[str]
    changed: list[str]
    same: int
    examples: list[dict[str, str]]


SHOWN_CHANGES = 5


def diff(before: Path, after: Path, reading: Reading) -> Difference:
    """Compare rows by id: messages and tools. Holds an id and 16 bytes for each row of the first.

    A file whose records have no ids is numbered by its lines, and its rows are called by its name: there, rows of equal
    content are the same, whatever they are called.

    Raises:
        DataError: as `Reading.rows`.
    """
    numbered = [not has_ids(path, reading.columns) for path in (before, after)]
    known = {row.id: digest(row, "row") for row in reading.rows([before])}
    came: list[tuple[str, bytes]] = []
    changed: list[str] = []
    examples: list[dict[str, str]] = []
    same = 0
    for row in reading.rows([after]):
        mark = digest(row, "row")
        earlier = None if all(numbered) else known.pop(row.id, None)
        if earlier is None:
            came.append((row.id, mark))
        elif earlier == mark:
            same += 1
        else:
            changed.append(row.id)
            if len(examples) < SHOWN_CHANGES:
                examples.append({"id": row.id, "after": whole(row)[:400]})
    only_after = _without_equal(known, came) if any(numbered) else [name for name, _ in came]
    return Difference([*known], only_after, changed, same + len(came) - len(only_after), examples)


def _without_equal(known: dict[str, bytes], came: Sequence[tuple[str, bytes]]) -> list[str]:
    """Return the ids of `came` whose content no row of `known` has; a row that is equal to one leaves `known`."""
    names: dict[bytes, list[str]] = {}
    for name, mark in reversed(known.items()):
        names.setdefault(mark, []).append(name)
    left = []
    for name, mark in came:
        if names.get(mark):
            del known[names[mark].pop()]
        else:
            left.append(name)
    return left

"""Error analysis: what got better and what got worse, by failure class, tool, length, group and source.

Each slice names rows to read. Slices are for browsing: many are looked at, so their p-values are corrected for the
share of false ones (Benjamini-Hochberg), and none decides a gate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tunewright.artifacts.comparison import Change, Slicing
from tunewright.artifacts.scores import ScoreRow
from tunewright.chat.tool_calls import FORMATS, find_parser
from tunewright.stages.compare.pairs import Pair, Paired
from tunewright.stats.corrections import benjamini_hochberg
from tunewright.stats.paired import mcnemar_by_group

MOST_EXAMPLES = 5
MOST_SLICES = 10  # of one kind
FEWEST_ROWS = 2  # a slice of one row is that row


def changes(metric: Paired) -> tuple[Change, ...]:
    """Return the slices in which some row got better or worse, of each kind the MOST_SLICES that changed most."""
    found = _failures(metric)
    for by, value_of in _slicings(metric.pairs):
        found += [_slice(by, value, metric, rows) for value, rows in _grouped(metric.pairs, value_of)]
    found = [change for change in found if change.num_rows >= FEWEST_ROWS]
    corrected = benjamini_hochberg([change.p_value for change in found])
    told = [change.model_copy(update={"p_value": p}) for change, p in zip(found, corrected, strict=True)]
    moved = sorted(filter(_moved, told), key=lambda change: (-abs(change.gained - change.lost), -change.gained))
    return tuple(change for at, change in enumerate(moved) if _rank(moved[:at], change) < MOST_SLICES)


def _moved(change: Change) -> bool:
    return change.gained + change.lost > 0


def _rank(before: Sequence[Change], change: Change) -> int:
    return sum(other.by == change.by for other in before)


# ── slices of rows ──────────────────────────────────────────────────────────────────────────────────────────────────


def _slicings(pairs: Sequence[Pair]) -> Iterator[tuple[Slicing, Callable[[ScoreRow], str]]]:
    yield "tool", _tools
    yield "length", _length_bucket([row.prompt_tokens for _, row in pairs])
    yield "group", lambda row: row.group
    if len({row.source for _, row in pairs}) > 1:
        yield "source", lambda row: row.source


def _tools(row: ScoreRow) -> str:
    """The tools that the right answer calls, in whatever format it is written; "" where it calls none."""
    for name in FORMATS:
        parsed = find_parser(name)(row.reference)
        if parsed.calls and not parsed.malformed and not parsed.stray:
            return ", ".join(sorted({call.name for call in parsed.calls}))
    return ""


def _length_bucket(lengths: Sequence[int]) -> Callable[[ScoreRow], str]:
    """Return a function from a row to its quarter of the prompts by tokens; "" where all are of one length."""
    edges = sorted({int(edge) for edge in np.quantile(lengths, [0.25, 0.5, 0.75])})
    if len(edges) < 2:
        return lambda row: ""

    def bucket(row: ScoreRow) -> str:
        at = int(np.searchsorted(edges, row.prompt_tokens))
        if at == len(edges):
            return f"more than {edges[-1]:,} prompt tokens"
        return f"{edges[at - 1] + 1:,} to {edges[at]:,} prompt tokens" if at else f"up to {edges[0]:,} prompt tokens"

    return bucket


def _grouped(pairs: Sequence[Pair], value_of: Callable[[ScoreRow], str]) -> list[tuple[str, list[int]]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for at, (_, new) in enumerate(pairs):
        rows[value_of(new)].append(at)
    return [(value, members) for value, members in rows.items() if value]


def _slice(by: Slicing, value: str, metric: Paired, rows: Sequence[int]) -> Change:
    gains = metric.gains
    means = float(metric.baseline[rows].mean()), float(metric.candidate[rows].mean())
    better, worse = [at for at in rows if gains[at] > 0], [at for at in rows if gains[at] < 0]
    return _change(by, value, metric, len(rows), means, better, worse)


def _change(
    by: Slicing,
    value: str,
    metric: Paired,
    num_rows: int,
    shares: tuple[float, float],
    better: Sequence[int],
    worse: Sequence[int],
) -> Change:
    return Change(
        by=by,
        value=value,
        num_rows=num_rows,
        baseline=shares[0],
        candidate=shares[1],
        gained=len(better),
        lost=len(worse),
        p_value=mcnemar_by_group(
            [1] * len(better) + [-1] * len(worse), [metric.groups[at] for at in (*better, *worse)]
        ),
        better=tuple(metric.pairs[at][1].id for at in better[:MOST_EXAMPLES]),
        worse=tuple(metric.pairs[at][1].id for at in worse[:MOST_EXAMPLES]),
    )


# ── failure classes ─────────────────────────────────────────────────────────────────────────────────────────────────


def _failures(metric: Paired) -> list[Change]:
    old = [failure_of(row, metric.metric) for row, _ in metric.pairs]
    new = [failure_of(row, metric.metric) for _, row in metric.pairs]
    return [_failure(name, metric, old, new) for name in dict.fromkeys([*old, *new]) if name]


def failure_of(row: ScoreRow, metric: str) -> str:
    """Return the row's failure class, "" for a row that is right; older score files have it at the head of `reason`."""
    if row.scores[metric] == 1:
        return ""
    return row.failure or row.reason.partition(":")[0]


def _failure(name: str, metric: Paired, old: Sequence[str], new: Sequence[str]) -> Change:
    gains = metric.gains
    better = [at for at, failure in enumerate(old) if failure == name and gains[at] > 0]
    worse = [at for at, failure in enumerate(new) if failure == name and gains[at] < 0]
    shares = old.count(name) / len(old), new.count(name) / len(new)
    return _change("failure", name, metric, max(old.count(name), new.count(name)), shares, better, worse)

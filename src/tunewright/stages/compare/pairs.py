"""Pairing: the same row under two systems, or a refusal that names the rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tunewright.artifacts.scores import ScoreRow, asked_alike
from tunewright.artifacts.verdict import some_of
from tunewright.errors import DataError, PairingError
from tunewright.stats.groups import Floats

Pair = tuple[ScoreRow, ScoreRow]


@dataclass(frozen=True)
class Paired:
    """One metric on the rows that both sides score."""

    metric: str
    pairs: list[Pair]
    baseline: Floats
    candidate: Floats
    groups: list[str]
    unscored: int
    higher_is_better: bool = True

    @property
    def gains(self) -> Floats:
        """By how much the candidate is better, row by row: candidate - baseline, or the other way round."""
        return self.candidate - self.baseline if self.higher_is_better else self.baseline - self.candidate

    @property
    def binary(self) -> bool:
        """Whether all scores are 0 or 1."""
        return bool(np.isin(self.baseline, (0, 1)).all() and np.isin(self.candidate, (0, 1)).all())


def pair_by_row(baseline: Iterable[ScoreRow], candidate: Iterable[ScoreRow]) -> list[Pair]:
    """Return (baseline row, candidate row) for every id, in the candidate's order.

    Raises:
        PairingError: an id stands on one side only, twice, or with another prompt.
    """
    left, right = _by_id(baseline, "baseline"), _by_id(candidate, "candidate")
    if not right:
        raise PairingError("the candidate has no scored rows", fix="look at the evaluate stage: did it answer any?")
    if left.keys() != right.keys():
        only = {"baseline": left.keys() - right.keys(), "candidate": right.keys() - left.keys()}
        told = "; ".join(f"only in the {side}: {len(ids)} ({_first(ids)})" for side, ids in only.items() if ids)
        raise PairingError(
            f"the two sides score different rows: {told}",
            fix="evaluate both on the same `rows:` with the same `limit:`",
        )
    changed = [key for key in right if not asked_alike(left[key], right[key])]
    if changed:
        raise PairingError(
            f"{len(changed)} rows were asked differently ({_first(changed)})",
            expected="the same messages and tools on both sides, and of one template the same prompt tokens",
            fix="use the same chat template, system text and tools for both",
        )
    return [(left[key], right[key]) for key in right]


def _by_id(rows: Iterable[ScoreRow], side: str) -> dict[str, ScoreRow]:
    found: dict[str, ScoreRow] = {}
    for row in rows:
        if row.id in found:
            raise PairingError(f"row {row.id!r} is scored twice on the side of the {side}")
        found[row.id] = row
    return found


def _first(ids: Iterable[str]) -> str:
    return some_of(sorted(ids))


def shared_metrics(pairs: Sequence[Pair]) -> list[str]:
    """Return the metrics that some row has on both sides, in the order of the candidate.

    Raises:
        DataError: there is none.
    """
    metrics = list(dict.fromkeys(name for old, new in pairs for name in new.scores if _both_score(old, new, name)))
    if not metrics:
        raise DataError(
            "no row has a score on both sides", expected="one metric at least that both sides score",
            fix="look at the answers: tw show rows RUN",
        )  # fmt: skip
    return metrics


def paired(metric: str, pairs: Sequence[Pair], lower_is_better: Collection[str] = ()) -> Paired:
    """Return the rows that both sides score; rows without a score on one side count for neither, and are counted."""
    scored = [pair for pair in pairs if _both_score(*pair, metric)]
    return Paired(
        metric=metric,
        pairs=scored,
        baseline=np.array([old.scores[metric] for old, _ in scored], float),
        candidate=np.array([new.scores[metric] for _, new in scored], float),
        groups=[new.group or new.id for _, new in scored],
        unscored=sum(_is_unscored(old, new, metric) for old, new in pairs),
        higher_is_better=metric not in lower_is_better,
    )


def _both_score(old: ScoreRow, new: ScoreRow, metric: str) -> bool:
    return _is_scored(old, metric) and _is_scored(new, metric)


def _is_scored(row: ScoreRow, metric: str) -> bool:
    return row.error is None and metric in row.scores


def _is_unscored(old: ScoreRow, new: ScoreRow, metric: str) -> bool:
    """A row that counts in this metric, or may: outside its denominator are rows that neither side could score."""
    if _both_score(old, new, metric):
        return False
    return any(metric in row.scores for row in (old, new)) or all(row.error is not None for row in (old, new))

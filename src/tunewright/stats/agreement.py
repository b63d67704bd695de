"""Do two judges, or a judge and people, agree; and what a score is once the judge's errors are taken out.

Agreement is told corrected for chance: two judges who say "right" nine times in ten agree in 82% of the rows by luck.
Intervals are bootstraps over rows, those of one group drawn together. `corrected_rate` takes a judge's known errors out
of the rate that it reports.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tunewright.stats.bootstrap import cluster_draws
from tunewright.stats.groups import group_index

Weights = Literal["nominal", "linear", "quadratic"]
Level = Literal["nominal", "ordinal", "interval"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """A coefficient (1 full agreement, 0 chance) with its interval; NaN where all ratings are one and the same."""

    value: float
    low: float
    high: float
    num_units: int


# ── two raters ──────────────────────────────────────────────────────────────────────────────────────────────────────


def cohen_kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    weights: Weights = "nominal",
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Return Cohen's kappa of two raters (Cohen 1960, 1968).

    Args:
        first: one label a row.
        second: the other rater's labels of the same rows.
        weights: how far apart two labels are: all alike, or by their distance in sorted order, or by its square.
        groups: cluster of each row; None for rows that stand alone.
        confidence: coverage of the interval.
        seed: of the bootstrap.

    Raises:
        ValueError: no rows, or not as many labels on both sides.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} labels against {len(second)}")
    labels = {label: at for at, label in enumerate(sorted({*first, *second}, key=_order))}
    size = len(labels)
    cells = np.asarray([size * labels[a] + labels[b] for a, b in zip(first, second, strict=True)])
    tables = np.zeros((len(cells), size * size))
    tables[np.arange(len(cells)), cells] = 1
    costs = _distance(size, weights)
    return _agreement(tables, groups, confidence, seed, lambda sums: _kappa(sums.reshape(-1, size, size), costs))


def _order(label: Hashable) -> tuple[int, float, str]:
    """Numbers by value, and then the rest by name."""
    return (0, float(label), "") if isinstance(label, (int, float)) else (1, 0.0, str(label))


def _distance(size: int, weights: Weights) -> Floats:
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(float)
    return (apart > 0).astype(float) if weights == "nominal" else apart if weights == "linear" else apart**2


def _kappa(tables: Floats, costs: Floats) -> Floats:
    """Return 1 - observed / expected cost of each table (B, k, k)."""
    expected = tables.sum(2)[:, :, None] * tables.sum(1)[:, None, :] / tables.sum((1, 2))[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - (tables * costs).sum((1, 2)) / (expected * costs).sum((1, 2)), dtype=np.float64)


# ── any number of raters, with holes ────────────────────────────────────────────────────────────────────────────────


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]],
    level: Level = "nominal",
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Return Krippendorff's alpha of any number of raters (Krippendorff 2011, "Computing Krippendorff's alpha").

    Args:
        ratings: one list a rater, with one number a row; None where a rater did not rate the row.
        level: how far apart two values are: all alike, by rank, or by the square of their difference.
        groups: cluster of each row; None for rows that stand alone.
        confidence: coverage of the interval.
        seed: of the bootstrap.

    Raises:
        ValueError: no row has two ratings.
    """
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    kept = [at for at, unit in enumerate(units) if len(unit) > 1]
    if not kept:
        raise ValueError("no row has two ratings")
    values = sorted({value for at in kept for value in units[at]})
    pairs = np.stack([_coincidences(units[at], values) for at in kept])
    of_kept = None if groups is None else [groups[at] for at in kept]
    size, at_values = len(values), np.asarray(values, float)
    return _agreement(
        pairs.reshape(len(kept), -1), of_kept, confidence, seed,
        lambda sums: _alpha(sums.reshape(-1, size, size), at_values, level),
    )  # fmt: skip


def _coincidences(unit: Sequence[float], values: Sequence[float]) -> Floats:
    """Return the (V, V) pairs of values that one row's raters give, each pair weighing 1 / (raters - 1)."""
    counts = np.asarray([sum(rating == value for rating in unit) for value in values], float)
    return np.asarray((np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1), dtype=np.float64)


def _alpha(coincidences: Floats, values: Floats, level: Level) -> Floats:
    """Return 1 - observed / expected disagreement of each coincidence matrix (B, V, V)."""
    totals = coincidences.sum(2)
    count = totals.sum(1)
    costs = _costs(totals, values, level)
    observed = (coincidences * costs).sum((1, 2)) / count
    expected = (totals[:, :, None] * totals[:, None, :] * costs).sum((1, 2)) / (count * (count - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(1 - observed / expected, dtype=np.float64)


def _costs(totals: Floats, values: Floats, level: Level) -> Floats:
    if level == "nominal":
        return (1 - np.eye(len(values)))[None]
    if level == "interval":
        return np.asarray(np.subtract.outer(values, values)[None] ** 2, dtype=np.float64)
    middle = np.cumsum(totals, 1) - totals / 2  # the rank of a value: half of its own and all that are lower
    return np.asarray((middle[:, :, None] - middle[:, None, :]) ** 2, dtype=np.float64)


def _agreement(parts, groups, confidence, seed, coefficient) -> Agreement:  # type: ignore[no-untyped-def]
    names = [str(at) for at in range(len(parts))] if groups is None else groups
    index, count = group_index(names)
    sums = np.zeros((count, parts.shape[1]))
    np.add.at(sums, index, parts)
    replicates = np.concatenate([coefficient(draws @ sums) for draws in cluster_draws(count, seed)])
    value = float(coefficient(parts.sum(0, keepdims=True))[0])
    tail = (1 - confidence) / 2
    known = replicates[np.isfinite(replicates)]
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (math.nan, math.nan)
    return Agreement(value, float(low), float(high), len(parts))

"""Intervals of one score: rates and means, of rows that stand alone or in groups.

Rates use Wilson's interval, never the normal approximation, which covers 46% where it says 95% (n = 20, p = .97;
arXiv:2503.01747). Rows in groups count as the fewer rows that they are worth: the same interval on n / design effect
rows, with Student's t on (effective) groups - 1 degrees of freedom in place of z (Dean & Pagano 2015). Graded scores in
[0, 1] are a rate of less variance, and take the same interval. docs/statistics.md has the measured coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from tunewright.stats.bootstrap import bootstrap_interval
from tunewright.stats.groups import Floats, effective_groups, group_sums, standard_error_of, typical_size

USUAL_ICC = 0.18  # of the one row that is added; chosen by simulation, docs/statistics.md


class MeanInterval(NamedTuple):
    """A mean, its interval and its standard error."""

    value: float
    low: float
    high: float
    standard_error: float


def rate_interval(
    successes: int, trials: int, confidence: float = 0.95, method: Literal["wilson", "exact"] = "wilson"
) -> tuple[float, float]:
    """Return the interval of a rate: Wilson's (1927), or Clopper & Pearson's (1934), which never covers too little.

    Args:
        successes: how many of the trials succeeded.
        trials: at least 1.
        confidence: coverage, in (0, 1).
        method: `wilson`, or `exact`.

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes in {trials} trials")
    if method == "wilson":
        return wilson(successes / trials, trials, two_sided_z(confidence))
    from scipy.stats import binomtest  # takes a second to import

    interval = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def wilson(rate: float, trials: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's interval for a rate in as many trials, which need not be a whole number."""
    weight = min(quantile**2 / trials, 1e100)  # a quantile without end gives (0, 1)
    centre = (rate + weight / 2) / (1 + weight)
    half = math.sqrt(rate * (1 - rate) * weight + weight**2 / 4) / (1 + weight)
    return (0.0 if rate == 0 else max(0.0, centre - half)), (1.0 if rate == 1 else min(1.0, centre + half))


def two_sided_z(confidence: float) -> float:
    """Return the normal quantile of a two-sided interval: 1.96 for 0.95."""
    return float(ndtri((1 + confidence) / 2))


def two_sided_t(confidence: float, num_groups: float) -> float:
    """Return Student's quantile on groups - 1 degrees of freedom; infinite for one group."""
    return float(stdtrit(num_groups - 1, (1 + confidence) / 2)) if num_groups > 1 else math.inf


def metric_interval(
    values: Sequence[float] | Floats, groups: Sequence[str], confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a metric as it is printed, for rows alone or in groups.

    0/1 scores of rows that stand alone: Wilson's. All others in [0, 1]: Wilson's on the effective number of rows, which
    stays honest near 0 and 1, where t and bootstrap intervals shrink to a point. Beyond [0, 1]: Student's t.

    Args:
        values: one score a row, at least one.
        groups: the cluster of each row. One group alone says nothing of others: (0, 1), or (-inf, inf) beyond [0, 1].
        confidence: coverage.
    """
    scores = np.asarray(values, float)
    if scores.min() < 0 or scores.max() > 1:
        return t_interval(scores, groups, confidence)[1:3]
    sums, sizes = group_sums(scores, groups)
    binary = bool(np.isin(scores, (0, 1)).all())
    if binary and len(sums) == len(scores):
        return rate_interval(int(scores.sum()), len(scores), confidence)
    if len(sums) == 1:
        return 0.0, 1.0
    rows = len(scores) / _steadied_effect(sums, sizes, scores, at_least=1.0 if binary else 0.0)
    return wilson(float(scores.mean()), rows, two_sided_t(confidence, effective_groups(sizes)))


def _steadied_effect(sums: Floats, sizes: Floats, scores: Floats, at_least: float) -> float:
    """Return the variance of the mean over that of as many 0/1 rows that stand alone.

    One row more is counted in both, as likely right as wrong (variance 1/4), in a group of the usual size whose rows
    agree by USUAL_ICC: with a handful of failures the groups' agreement cannot be seen, and is there all the same.
    """
    count, rate = len(sums), float(scores.mean())
    apart = sums - rate * sizes
    grouped = float(apart @ apart) * count / (count - 1) + 0.25 * (1 + (typical_size(sizes) - 1) * USUAL_ICC)
    alone = len(scores) * rate * (1 - rate) + 0.25
    return max(at_least, grouped / alone)


def t_interval(values: Sequence[float] | Floats, groups: Sequence[str], confidence: float = 0.95) -> MeanInterval:
    """Return Student's interval of a mean on the cluster-robust standard error, groups - 1 degrees of freedom.

    Args:
        values: one score a row.
        groups: the cluster of each row; unique names give the usual t interval. One group alone: (-inf, inf).
        confidence: coverage.
    """
    sums, sizes = group_sums(values, groups)
    mean, error = float(sums.sum() / sizes.sum()), standard_error_of(sums, sizes)
    half = two_sided_t(confidence, len(sums)) * error
    return MeanInterval(mean, mean - half, mean + half, error)


def mean_interval(
    values: Sequence[float] | Floats,
    groups: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
    method: Literal["bca", "percentile", "t"] = "bca",
) -> tuple[float, float]:
    """Return the interval of a mean of any scale, rows of one group kept together.

    Args:
        values: one value a row, at least one.
        groups: the cluster of each row; unique names for rows that stand alone.
        confidence: coverage.
        seed: of the bootstrap.
        method: bootstrap with or without the correction of bias and skew, or Student's t.
    """
    if method == "t":
        return t_interval(values, groups, confidence)[1:3]
    return bootstrap_interval(values, groups, confidence, seed, method)


def mean_and_interval(values: Sequence[float] | Floats, groups: Sequence[str], confidence: float) -> MeanInterval:
    """Return a metric's mean, its printed interval and its clustered standard error."""
    sums, sizes = group_sums(values, groups)
    low, high = metric_interval(values, groups, confidence)
    return MeanInterval(float(sums.sum() / sizes.sum()), low, high, standard_error_of(sums, sizes))

"""Intervals of one score. Rates use Wilson's interval, never the normal approximation (arXiv:2503.01747)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

BOOTSTRAP_DRAWS = 10_000


def rate_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a rate (Wilson 1927).

    Args:
        successes: how many of the trials succeeded.
        trials: at least 1.
        confidence: coverage, in (0, 1).

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    interval = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def group_index(groups: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """Return for every row the number of its group, and how many groups there are."""
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return index.astype(np.int64), len(names)


def mean_interval(
    values: Sequence[float], groups: Sequence[str], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean; rows of one group are drawn together.

    Args:
        values: one score a row, at least one.
        groups: the cluster of each row; unique names give the plain bootstrap.
        confidence: coverage.
        seed: of the draws.
    """
    index, num_groups = group_index(groups)
    sums = np.bincount(index, weights=np.asarray(values, float), minlength=num_groups)
    sizes = np.bincount(index, minlength=num_groups)
    draws = np.random.default_rng(seed).multinomial(
        num_groups, np.full(num_groups, 1 / num_groups), size=BOOTSTRAP_DRAWS
    )
    means = draws @ sums / (draws @ sizes)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)

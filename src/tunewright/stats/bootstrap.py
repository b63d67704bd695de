"""Bootstrap intervals: groups are drawn as a whole, since the rows of one group stand and fall together.

For figures without a formula: macro averages, agreement, means of a strange shape. Draws come from a seeded generator
in blocks, so memory stays bounded and the same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from tunewright.stats.groups import Floats, group_index, group_sums

DRAWS = 10_000
BLOCK_CELLS = 4_000_000  # of one block of draws: 32 MB, three times while it is counted


def cluster_draws(num_groups: int, seed: int, num_draws: int = DRAWS) -> Iterator[Floats]:
    """Yield how often each group is drawn, in blocks (draws, num_groups); `num_draws` rows in all."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // num_groups)
    for begin in range(0, num_draws, block):
        rows = min(block, num_draws - begin)
        drawn = rng.integers(num_groups, size=(rows, num_groups))  # five times as fast as their counts, a multinomial
        drawn += np.arange(rows)[:, None] * num_groups
        yield np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)


def bootstrap_interval(
    values: Sequence[float] | Floats,
    groups: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
    method: Literal["bca", "percentile"] = "bca",
) -> tuple[float, float]:
    """Return the bootstrap interval of a mean over rows.

    Args:
        values: one score a row, at least one.
        groups: the cluster of each row; unique names give the plain bootstrap.
        confidence: coverage.
        seed: of the draws.
        method: `bca` corrects for bias and skew (Efron 1987), the acceleration from the jackknife over groups.
    """
    sums, sizes = group_sums(values, groups)
    mean = float(sums.sum() / sizes.sum())
    means = np.concatenate([draws @ sums / (draws @ sizes) for draws in cluster_draws(len(sums), seed)])
    tails = np.array([(1 - confidence) / 2, (1 + confidence) / 2])
    if method == "bca" and np.ptp(means) > 0 and len(sums) > 1:
        tails = _bca_tails(tails, means, mean, (sums.sum() - sums) / (sizes.sum() - sizes))
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def _bca_tails(tails: Floats, replicates: Floats, value: float, without_one: Floats) -> Floats:
    """Return the shares of the replicates to cut at (Efron & Tibshirani 1993, section 14.3)."""
    below = (np.mean(replicates < value) + np.mean(replicates <= value)) / 2
    bias = ndtri(np.clip(below, 1 / len(replicates), 1 - 1 / len(replicates)))
    apart = without_one.mean() - without_one
    spread = float((apart**2).sum())
    skew = float((apart**3).sum() / (6 * spread**1.5)) if spread else 0.0  # every group leaves the same mean
    reach = bias + ndtri(tails)
    return np.asarray(ndtr(bias + reach / (1 - skew * reach)), dtype=np.float64)


def macro_mean(values: Sequence[float], categories: Sequence[str]) -> float:
    """Return the unweighted mean over categories of their mean over rows."""
    sums, sizes = group_sums(values, categories)
    return float(np.mean(sums / sizes))


def macro_interval(
    values: Sequence[float],
    categories: Sequence[str],
    groups: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile cluster-bootstrap interval of `macro_mean`.

    Groups are drawn within their stratum, those that touch the same categories, so that no category is ever empty
    (pooling standard errors as if the mean were weighted by size is a known mistake).

    Args:
        values: one score a row.
        categories: the category of each row.
        groups: the cluster of each row.
        confidence: coverage.
        seed: of the draws.
    """
    index, num_groups = group_index(groups)
    category, num_categories = group_index(categories)
    sums, sizes = np.zeros((num_groups, num_categories)), np.zeros((num_groups, num_categories))
    np.add.at(sums, (index, category), np.asarray(values, float))
    np.add.at(sizes, (index, category), 1.0)
    totals = np.zeros((2, DRAWS, num_categories))
    for number, members in enumerate(_strata(sizes > 0)):
        draws = np.concatenate([*cluster_draws(len(members), seed + number)])
        totals += np.stack([draws @ sums[members], draws @ sizes[members]])
    means = (totals[0] / totals[1]).mean(1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def _strata(touched: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the groups (by number) that touch the same set of categories."""
    kinds = np.unique(touched, axis=0, return_inverse=True)[1].reshape(-1)
    return [np.flatnonzero(kinds == kind) for kind in range(int(kinds.max()) + 1)]

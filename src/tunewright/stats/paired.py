"""Tests for two systems scored on the same rows. Legend: N rows.

For 0/1 scores only the discordant rows speak: `gained` (candidate right, baseline wrong) and `lost`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest, norm

from tunewright.stats.intervals import group_index, mean_interval, rate_interval

PERMUTATIONS = 10_000


def mcnemar_exact(gained: int, lost: int) -> float:
    """Return the two-sided exact p-value of McNemar's test.

    Under no difference each discordant row falls to either side with probability 1/2: a binomial test (McNemar 1947).
    Without discordant rows there is nothing to test: 1.
    """
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def newcombe_paired(both: int, gained: int, lost: int, neither: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of a difference of two paired rates, candidate - baseline (Newcombe 1998, method 10).

    Wilson's intervals of the two rates, joined with their correlation phi. Keeps its coverage at small N and near 0 and
    1, where the normal approximation collapses to width zero.

    Args:
        both: rows that both have right.
        gained: rows that only the candidate has right.
        lost: rows that only the baseline has right.
        neither: rows that neither has right.
        confidence: coverage.
    """
    total = both + gained + lost + neither
    p_candidate, p_baseline = (both + gained) / total, (both + lost) / total
    low_c, high_c = rate_interval(both + gained, total, confidence)
    low_b, high_b = rate_interval(both + lost, total, confidence)
    phi = _phi(both, gained, lost, neither)
    difference = p_candidate - p_baseline
    below = _joined(p_candidate - low_c, high_b - p_baseline, phi)
    above = _joined(high_c - p_candidate, p_baseline - low_b, phi)
    return max(-1.0, difference - below), min(1.0, difference + above)


def _joined(first: float, second: float, phi: float) -> float:
    return math.sqrt(max(0.0, first**2 - 2 * phi * first * second + second**2))


def _phi(both: int, gained: int, lost: int, neither: int) -> float:
    """Correlation of the two outcomes, with Newcombe's continuity correction of its numerator when positive."""
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    product = float(both * neither - gained * lost)
    if product > 0:
        product = max(product - (both + gained + lost + neither) / 2, 0.0)
    return product / math.sqrt(margins)


def permutation_p(differences: Sequence[float], groups: Sequence[str], seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of a mean difference of zero.

    Rows of one group flip together, so that clustered rows do not count as independent. The observed arrangement is
    counted among the draws (Phipson & Smyth 2010), so p is never 0: at least 1 / (PERMUTATIONS + 1).
    """
    index, num_groups = group_index(groups)
    sums = np.bincount(index, weights=np.asarray(differences, float), minlength=num_groups)
    if not np.any(sums):
        return 1.0
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(PERMUTATIONS, num_groups))
    extreme = int(np.sum(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12))
    return (extreme + 1) / (PERMUTATIONS + 1)


def paired_mean_interval(
    differences: Sequence[float], groups: Sequence[str], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap interval of a mean paired difference, groups drawn as a whole."""
    return mean_interval(differences, groups, confidence, seed)


def least_detectable_difference(num_rows: int, variance: float, confidence: float = 0.95, power: float = 0.8) -> float:
    """Return the smallest true mean difference that so many rows show with the given power (Miller 2024, section 5).

        (z_{1-alpha/2} + z_{power}) * sqrt(variance / N)

    Args:
        num_rows: rows, or groups when rows are clustered.
        variance: of the per-row difference; for 0/1 scores see `discordance_variance`.
        confidence: 1 - alpha of the two-sided test.
        power: probability to show a difference of that size.
    """
    reach = norm.ppf(1 - (1 - confidence) / 2) + norm.ppf(power)
    return float(min(1.0, reach * math.sqrt(max(variance, 0.0) / num_rows)))


def discordance_variance(gained: int, lost: int, total: int) -> float:
    """Return the variance of a per-row 0/1 difference: d - D^2, d the share of discordant rows, D the difference.

    One discordant row is added on either side (Agresti & Min 2005): without any, the variance would be 0 and every
    difference detectable, which a handful of equal answers does not show.
    """
    gained, lost, total = gained + 1, lost + 1, total + 2
    return (gained + lost) / total - ((gained - lost) / total) ** 2


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given (Holm 1979)."""
    count = len(p_values)
    adjusted = [0.0] * count
    running = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted

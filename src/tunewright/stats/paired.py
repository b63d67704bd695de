"""Tests and intervals for two systems scored on the same rows; `difference` is candidate - baseline throughout.

                 rows alone                      rows in groups
    0/1 scores   exact McNemar, Newcombe         exact McNemar by group, clustered t
    graded       sign-flip permutation, t        sign-flip permutation by group, clustered t

For 0/1 scores only the discordant rows speak: `gained` (candidate right, baseline wrong) and `lost`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np

from tunewright.stats.groups import Floats, effective_groups, group_sums
from tunewright.stats.intervals import two_sided_t, two_sided_z, wilson

PERMUTATIONS = 10_000
MOST_ENUMERATED = 13  # groups: 2^13 sign patterns are fewer than PERMUTATIONS
BLOCK_CELLS = 4_000_000  # of one block of signs

# ── tests ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def mcnemar_exact(gained: int, lost: int) -> float:
    """Return the two-sided exact p-value of McNemar's test.

    Under no difference each discordant row falls to either side with probability 1/2: a binomial test (McNemar 1947).
    Without discordant rows there is nothing to test: 1.
    """
    from scipy.stats import binomtest  # takes a second to import

    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def mcnemar_mid_p(gained: int, lost: int) -> float:
    """Return McNemar's mid-p: the exact one less half the chance of what was seen (Fagerland et al. 2013).

    Its false alarms stay near the level and may exceed it a little; the exact test never does, at some cost in power.
    """
    if gained + lost == 0:
        return 1.0
    from scipy.stats import binom  # takes a second to import

    seen = float(binom.pmf(gained, gained + lost, 0.5))
    return 1 - seen / 2 if gained == lost else mcnemar_exact(gained, lost) - seen


def mcnemar_by_group(differences: Sequence[float] | Floats, groups: Sequence[str]) -> float:
    """Return the exact two-sided p-value of McNemar's test with the rows of one group kept together.

    Under no difference the two systems' answers to a whole group could be swapped: each group's sum of differences has
    either sign with probability 1/2. All 2^C patterns are counted, by adding one group at a time to the distribution of
    the total. Where every row is a group this is `mcnemar_exact`.

    Args:
        differences: -1, 0 or 1, one a row.
        groups: the cluster of each row.
    """
    sums = group_sums(differences, groups)[0].round().astype(int)
    weights = np.abs(sums[sums != 0])
    total = int(weights.sum())
    chance = np.zeros(total + 1)  # of the sum of the weights with a plus
    chance[0] = 1.0
    for weight in weights:
        chance[weight:] = (chance[weight:] + chance[:-weight]) / 2
        chance[:weight] /= 2
    extreme = np.abs(2 * np.arange(total + 1) - total) >= abs(int(sums.sum()))
    return min(1.0, float(chance[extreme].sum()))


def permutation_p(differences: Sequence[float] | Floats, groups: Sequence[str], seed: int = 0) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of a mean difference of zero.

    Rows of one group flip together, so that clustered rows do not count as independent. Up to MOST_ENUMERATED groups
    all patterns are counted; above, PERMUTATIONS of them are drawn and the observed one is counted among the draws
    (Phipson & Smyth 2010), so p is never 0.

    Args:
        differences: candidate - baseline, one a row.
        groups: the cluster of each row.
        seed: of the draws.
    """
    sums = group_sums(differences, groups)[0]
    sums = sums[sums != 0]
    if len(sums) == 0:
        return 1.0
    least = abs(sums.sum()) - 1e-9 * np.abs(sums).sum()  # ties count, whatever the rounding
    if len(sums) <= MOST_ENUMERATED:
        patterns = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1
        return float(np.mean(np.abs(2 * patterns @ sums - sums.sum()) >= least))
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // len(sums))
    extreme = 0
    for begin in range(0, PERMUTATIONS, block):
        num_draws = min(block, PERMUTATIONS - begin)
        coins = np.frombuffer(rng.bytes(num_draws * (len(sums) // 8 + 1)), np.uint8).reshape(num_draws, -1)
        plus = np.unpackbits(coins, axis=1, count=len(sums)).astype(float)
        extreme += int(np.sum(np.abs(2 * (plus @ sums) - sums.sum()) >= least))
    return (extreme + 1) / (PERMUTATIONS + 1)


# ── intervals ───────────────────────────────────────────────────────────────────────────────────────────────────────


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
    quantile = two_sided_z(confidence)
    total = both + gained + lost + neither
    p_candidate, p_baseline = (both + gained) / total, (both + lost) / total
    low_c, high_c = wilson(p_candidate, total, quantile)
    low_b, high_b = wilson(p_baseline, total, quantile)
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


def difference_interval(
    baseline: Floats, candidate: Floats, groups: Sequence[str], confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a mean paired difference, candidate - baseline, as it is printed.

    0/1 scores of rows that stand alone: Newcombe's. All others: Student's t on `difference_error`, with as many degrees
    of freedom as there are groups of the usual size, less one (Carter, Schnepel & Steigerwald 2017: few large groups
    among many small ones count as few).

    Args:
        baseline: one score a row.
        candidate: the same rows.
        groups: the cluster of each row. One group alone says nothing of others.
        confidence: coverage.

    Returns:
        Its ends; of scores in [0, 1] they are in [-1, 1].
    """
    difference = candidate - baseline
    num_rows, num_groups = len(difference), len(set(groups))
    if num_groups == num_rows and np.isin([baseline, candidate], (0, 1)).all():
        both, gained, lost = (int(rows.sum()) for rows in (baseline * candidate, difference > 0, difference < 0))
        return newcombe_paired(both, gained, lost, num_rows - both - gained - lost, confidence)
    sizes = group_sums(difference, groups)[1]
    mean, most = float(difference.mean()), largest_difference(baseline, candidate)
    half = two_sided_t(confidence, effective_groups(sizes)) * difference_error(difference, groups)
    return max(-most, mean - half), min(most, mean + half)


def largest_difference(baseline: Floats, candidate: Floats) -> float:
    """Return 1 for scores in [0, 1], and the largest float for others: JSON has no infinity."""
    both = np.concatenate([baseline, candidate])
    return 1.0 if both.min() >= 0 and both.max() <= 1 else sys.float_info.max


def difference_error(differences: Sequence[float] | Floats, groups: Sequence[str]) -> float:
    """Return the clustered standard error of a mean difference, with one row more that differs as the others do.

    Where few rows differ, what was not seen yet would else count as impossible, and without any the interval would be a
    point (Agresti & Min 2005 add two such rows to a table). Infinite for one group.
    """
    values = np.asarray(differences, float)
    sums, sizes = group_sums(values, groups)
    apart = sums - values.mean() * sizes
    moved = values[values != 0]
    typical = float((moved**2).mean()) if len(moved) else 1.0
    count = len(sums)
    if count < 2:
        return math.inf
    return math.sqrt(float(apart @ apart) * count / (count - 1) + typical) / (len(values) + 1)


def is_not_worse(interval: tuple[float, float], margin: float) -> bool:
    """Return whether the candidate is shown to be worse by less than `margin`: the whole interval lies above -margin.

    Non-inferiority: the claim "no regression" needs a margin and this test; a p-value above 0.05 does not show it.

    Args:
        interval: two-sided, of candidate - baseline; one-sided error half of its 1 - confidence.
        margin: what would still do, above 0.
    """
    return interval[0] > -margin

"""How many rows a comparison needs, and the smallest difference that so many rows show.

Paired comparisons of 0/1 scores are planned for the test that will decide, the exact McNemar test: its power is summed
up, not approximated (the normal formula promises 80% where the exact test holds some 75%). `discordance` is the share
of the rows that exactly one side has right; the more alike two models are, the smaller it is, and the fewer rows are
needed.

Rows in groups count as n / (1 + (m - 1) ICC) rows, m the mean size of a group, ICC how much its rows agree (Kish 1965).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln, ndtri, xlog1py, xlogy

MOST_ROWS = 10_000_000
PRECISION = 1e-4  # of a least detectable difference: a hundredth of a point
USUAL_DISCORDANCE = 0.2


def kish_effect(cluster_size: float, icc: float) -> float:
    """Return the design effect 1 + (m - 1) ICC: how many rows in groups tell as much as one that stands alone.

    Args:
        cluster_size: m, mean number of rows a group, at least 1.
        icc: correlation of two rows of one group, in [0, 1].
    """
    return 1 + (cluster_size - 1) * icc


# ── paired, 0/1 ─────────────────────────────────────────────────────────────────────────────────────────────────────


def paired_power(num_rows: int, difference: float, discordance: float, confidence: float = 0.95) -> float:
    """Return the chance that the exact McNemar test shows a true difference, on the right side.

    Args:
        num_rows: rows that both systems answered.
        difference: true difference of the two rates, in (0, 1].
        discordance: share of discordant rows; one below `difference` is impossible and taken as that.
        confidence: 1 - alpha of the two-sided test.
    """
    discordance = min(1.0, max(discordance, difference))
    spread = 8 * math.sqrt(num_rows * discordance * (1 - discordance)) + 1
    first = max(0, math.floor(num_rows * discordance - spread))
    last = min(num_rows, math.ceil(num_rows * discordance + spread))
    counts = np.arange(first, last + 1)
    likely = _chances(counts, num_rows, discordance)
    allowed = _most_lost(first, last, 1 - confidence)
    share_lost = (1 - difference / discordance) / 2
    shown = np.where(allowed >= 0, bdtr(np.maximum(allowed, 0), counts, share_lost), 0.0)
    return float(likely @ shown)


def _chances(counts: NDArray[np.int64], num_rows: int, share: float) -> NDArray[np.float64]:
    """The binomial distribution at `counts`: ten times as fast as that of scipy.stats, which checks its arguments."""
    ways = gammaln(num_rows + 1) - gammaln(counts + 1) - gammaln(num_rows - counts + 1)
    return np.asarray(np.exp(ways + xlogy(counts, share) + xlog1py(num_rows - counts, -share)), dtype=np.float64)


@lru_cache(maxsize=64)
def _most_lost(first: int, last: int, alpha: float) -> NDArray[np.int64]:
    """Return for `first` … `last` discordant rows the most lost ones with p < alpha; -1 where no outcome has it."""
    from scipy.stats import binom  # takes a second to import

    return np.asarray(binom.ppf(alpha / 2, np.arange(first, last + 1), 0.5) - 1, dtype=np.int64)


def paired_rows(difference: float, discordance: float, power: float = 0.8, confidence: float = 0.95) -> int | None:
    """Return the fewest rows whose `paired_power` reaches `power`; None above MOST_ROWS."""
    return _fewest(lambda rows: paired_power(rows, difference, discordance, confidence), power)


def least_detectable_paired(
    num_rows: float, discordance: float, power: float = 0.8, confidence: float = 0.95
) -> float | None:
    """Return the smallest true difference that so many rows show with that power; None where no difference is."""
    rows = max(1, int(num_rows))
    return _smallest(lambda difference: paired_power(rows, difference, discordance, confidence), power)


# ── unpaired, and means ─────────────────────────────────────────────────────────────────────────────────────────────


def normal_rows(difference: float, variance: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Return the rows that a mean needs: (z_{1-alpha/2} + z_power)^2 * variance / difference^2.

    Args:
        difference: true difference.
        variance: of a row's difference. Unpaired, with as many rows a side: the sum of both sides' variances, for rates
            p (1 - p) each.
        power: chance to show it.
        confidence: 1 - alpha of the two-sided test.
    """
    return math.ceil(_reach(power, confidence) ** 2 * variance / difference**2)


def least_detectable(standard_error: float, power: float = 0.8, confidence: float = 0.95) -> float:
    """Return the smallest true difference shown with that power, (z_{1-alpha/2} + z_power) SE (Miller 2024, sec. 5)."""
    return _reach(power, confidence) * standard_error


def _reach(power: float, confidence: float) -> float:
    return float(ndtri((1 + confidence) / 2) + ndtri(power))


def _fewest(power_of: Callable[[int], float], power: float) -> int | None:
    high = 1
    while power_of(high) < power:
        high *= 2
        if high > MOST_ROWS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


def _smallest(power_of: Callable[[float], float], power: float) -> float | None:
    low, high = 0.0, 1.0
    if power_of(high) < power:
        return None
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if power_of(middle) >= power else (middle, high)
    return high


# ── before an evaluation ────────────────────────────────────────────────────────────────────────────────────────────


def detectable_before(
    num_rows: int,
    num_groups: int | None = None,
    discordance: float = USUAL_DISCORDANCE,
    power: float = 0.8,
    confidence: float = 0.95,
) -> str:
    """Return one sentence to print before an evaluation runs: what a comparison on these rows could show.

    Nobody knows yet how much the rows of a group agree: with groups, the sentence has both ends, rows that stand alone
    and groups that count as one row each.
    """
    alone = least_detectable_paired(num_rows, discordance, power, confidence)
    told = _points(alone)
    rows = f"{num_rows:,} row{'s' * (num_rows != 1)}"
    if num_groups is not None and num_groups < num_rows:
        rows += f" in {num_groups:,} group{'s' * (num_groups != 1)}"
        worst = _points(least_detectable_paired(num_groups, discordance, power, confidence))
        told += f" ({worst} if the rows of a group stand and fall together)"
    return (
        f"A paired comparison on {rows} shows a true difference of {told} with {power:.0%} power, "
        f"if the two sides disagree on {discordance:.0%} of the rows."
    )


def _points(difference: float | None) -> str:
    return "no size" if difference is None else f"{100 * difference:.1f} points or more"

"""Rows in groups: the sums of each group, and how much less the rows tell than as many rows that stand alone.

A group is what was sampled as one: a template, a document, a conversation, the question of several repeats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def group_index(groups: Sequence[str]) -> tuple[NDArray[np.int64], int]:
    """Return for every row the number of its group, and how many groups there are."""
    names, index = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return index.astype(np.int64), len(names)


def group_sums(values: Sequence[float] | Floats, groups: Sequence[str]) -> tuple[Floats, Floats]:
    """Return the sum of the values and the number of rows of each group, groups in the order of their sorted names."""
    index, num_groups = group_index(groups)
    sums: Floats = np.bincount(index, weights=np.asarray(values, float), minlength=num_groups).astype(float)
    return sums, np.bincount(index, minlength=num_groups).astype(float)


def standard_error(values: Sequence[float] | Floats, groups: Sequence[str]) -> float:
    """Return the cluster-robust standard error of a mean over rows; the usual one where every row is a group.

        sqrt( sum_c (sum_i (s_ic - mean))^2 * C / (C - 1) ) / n

    Args:
        values: one score a row.
        groups: the cluster of each row; C of them. Infinite for C = 1: one group says nothing of others.
    """
    return standard_error_of(*group_sums(values, groups))


def standard_error_of(sums: Floats, sizes: Floats) -> float:
    """Return `standard_error` from the sums and sizes of the groups."""
    count, rows = len(sums), float(sizes.sum())
    if count < 2:
        return math.inf
    apart = sums - sums.sum() / rows * sizes
    return math.sqrt(float(apart @ apart) * count / (count - 1)) / rows


def design_effect(values: Sequence[float] | Floats, groups: Sequence[str]) -> float:
    """Return how many times wider than for rows that stand alone the variance of the mean is; at least 1.

    An estimate below 1 is noise: groups whose rows disagree on purpose are rare. 1 where all values are equal: nothing
    can be said.
    """
    scores = np.asarray(values, float)
    alone = float(scores.var()) / len(scores)
    sums, sizes = group_sums(scores, groups)
    if alone == 0 or len(sums) == len(scores):
        return 1.0
    return min(max(1.0, standard_error_of(sums, sizes) ** 2 / alone), len(scores))


def typical_size(sizes: Floats) -> float:
    """Return the size of the group that a row picked at random is in."""
    return float((sizes**2).sum() / sizes.sum())


def effective_groups(sizes: Floats) -> float:
    """Return how many groups of the usual size there are: fewer than groups where their sizes differ."""
    return float(sizes.sum()) / typical_size(sizes)

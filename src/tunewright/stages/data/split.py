"""Hold rows out for evaluation: whole groups, chosen by the seed."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

from tunewright.errors import DataError


def wanted_rows(test: float, num_rows: int) -> int:
    """Return how many rows to hold out: `test` itself, or that share of all rows when it is below 1."""
    return math.ceil(test * num_rows) if test < 1 else int(test)


def held_out_groups(groups: Sequence[str], test: float, seed: int, where: str = "data.split.test") -> set[str]:
    """Return the groups to hold out, so many that at least the wanted rows are in them.

    The order of the groups is that of a hash over seed and name: the same on every machine and Python, whatever the
    order of the rows, and a group keeps its place when others come or go.

    Args:
        groups: the group of every row.
        test: rows to hold out, or a share below 1.
        seed: decides which groups.
        where: what asks for that many, for the error.

    Raises:
        DataError: there are not that many rows.
    """
    sizes = Counter(groups)
    wanted = wanted_rows(test, len(groups))
    if wanted > len(groups):
        raise DataError(
            f"{wanted} test rows are asked for, and {len(groups)} rows are there", where=where,
            expected=f"fewer than {len(groups)}, so that rows are left to train on", fix=f"lower `{where}`",
        )  # fmt: skip
    chosen: set[str] = set()
    count = 0
    for group in sorted(sizes, key=lambda name: _place(name, seed)):
        if count >= wanted:
            break
        chosen.add(group)
        count += sizes[group]
    return chosen


def two_sides(groups: Sequence[str], test: float, seed: int, where: str) -> set[str]:
    """As `held_out_groups`, for files of rows: something has to be left to train on.

    Raises:
        DataError: there are not that many rows, or all groups would be held out.
    """
    held_out = held_out_groups(groups, test, seed, where)
    if held_out >= set(groups):
        raise DataError(
            f"all rows would be held out: {len(groups)}, in groups: {len(held_out)}", where=where,
            expected="two groups or more, and fewer test rows than rows",
            fix=f"lower `{where}`, add rows of other groups, or draw others with --seed",
        )  # fmt: skip
    return held_out


def _place(group: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()

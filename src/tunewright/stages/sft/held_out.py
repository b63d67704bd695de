"""Which training rows are held out as dev rows. Pure: the same rows, limit and seed give the same ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError


def hold_out(rows: Sequence[ChatRow], limit: int, seed: int, where: str = "") -> tuple[list[ChatRow], list[ChatRow]]:
    """Return the rows to train on, and at most `limit` dev rows of other groups.

    Groups are taken in the order of a hash, small ones first, until there are `limit` rows: so a group of hundreds is
    taken only where there is no other. What is beyond the limit is neither trained nor measured. A row without a group
    is its own.

    Raises:
        DataError: nothing would be left to train on.
    """
    groups = [row.group or row.id for row in rows]
    sizes = Counter(groups)
    chosen: set[str] = set()
    held = 0
    for group in sorted(sizes, key=lambda name: (sizes[name] > limit, _place(name, seed))):
        if held >= limit:
            break
        chosen.add(group)
        held += sizes[group]
    kept = [row for row, group in zip(rows, groups, strict=True) if group not in chosen]
    dev = [row for row, group in zip(rows, groups, strict=True) if group in chosen]
    if not kept:
        raise DataError(
            f"{len(rows)} rows in {len(sizes)} groups, and {limit} dev rows would leave none to train on",
            where=where,
            expected="rows of several groups, and more than `dev.limit`",
            fix="lower `dev.limit`, leave `dev` out, or give rows that do not belong together groups of their own",
        )
    return kept, dev[:limit]


def _place(group: str, seed: int) -> str:
    return hashlib.sha256(f"dev:{seed}:{group}".encode()).hexdigest()

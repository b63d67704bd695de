"""In which order rows are trained. Pure: the same arguments give the same order, so a resumed run needs no state."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import count

WINDOW_BATCHES = 8  # rows are sorted by length inside windows of so many batches: little padding, still a shuffle


def num_steps(rows: int, rows_per_step: int, steps: int | None, epochs: float | None) -> int:
    """Return the number of optimizer steps that `steps` or `epochs` ask for; at least 1."""
    return steps if steps is not None else max(1, math.ceil((epochs or 1.0) * rows / rows_per_step))


def plan_order(lengths: Sequence[int], batch_size: int, num_rows: int, seed: int) -> list[int]:
    """Return `num_rows` indices of rows, in the order in which they are trained.

    Every pass over the rows is a fresh shuffle; a batch may span two passes, so none is short. Inside a window of
    WINDOW_BATCHES batches rows of similar length stand together, and the batches of a window are shuffled.

    Args:
        lengths: tokens of each row.
        batch_size: rows in one forward pass.
        num_rows: how many indices to return.
        seed: of all shuffles.
    """
    rng = random.Random(seed)
    drawn: list[int] = []
    for _ in count():
        if len(drawn) >= num_rows:
            break
        drawn += rng.sample(range(len(lengths)), len(lengths))
    order: list[int] = []
    window = batch_size * WINDOW_BATCHES
    for start in range(0, num_rows, window):
        order += _grouped(drawn[start : min(start + window, num_rows)], lengths, batch_size, rng)
    return order


def _grouped(rows: list[int], lengths: Sequence[int], batch_size: int, rng: random.Random) -> list[int]:
    by_length = sorted(rows, key=lambda row: (lengths[row], row))
    batches = [by_length[at : at + batch_size] for at in range(0, len(by_length), batch_size)]
    rng.shuffle(batches)
    batches.sort(key=lambda batch: len(batch) < batch_size)  # a short last batch stays last
    return [row for batch in batches for row in batch]

"""Lay the rows of a batch end to end: no padding, and what they all begin with is computed once.

    input_ids     shared start | row 1 | row 2 | ...
    position_ids  0 … start-1  | start … | start … | ...
    targets       the next token of the same row where it is trained, IGNORED elsewhere

Exact: with causal attention the shared start is the same in every row, and gradients add up in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any

IGNORED = -100  # the label that every loss of the field skips
MIN_SHARED_TOKENS = 8  # below this the bookkeeping costs what it saves

Example = dict[str, Any]


@dataclass(frozen=True)
class Packed:
    """A batch as one long row.

    Attributes:
        input_ids: N tokens.
        position_ids: the place of each in its own row.
        targets: what each should predict, or IGNORED.
        sequence_ids: the number of the row of each; the shared start counts to none (0), it is never a target.
        lengths: tokens of the shared start (maybe 0), then of each row without it.
        token_weights: the weight of each target, where the rows bring weights.
    """

    input_ids: list[int]
    position_ids: list[int]
    targets: list[int]
    sequence_ids: list[int]
    lengths: list[int]
    token_weights: list[float] | None


def pack(examples: Sequence[Example]) -> Packed:
    """Return the rows as one.

    Args:
        examples: each with `input_ids` and `labels`, equally long and not empty, and maybe `token_weights`.
    """
    start = shared_start(examples)
    rows = [(row["input_ids"], row["labels"]) for row in examples]
    weighted = "token_weights" in examples[0]
    weights = [_next(row["token_weights"], start, 0.0) for row in examples] if weighted else []
    return Packed(
        input_ids=[*rows[0][0][:start], *chain.from_iterable(ids[start:] for ids, _ in rows)],
        position_ids=[*range(start), *chain.from_iterable(range(start, len(ids)) for ids, _ in rows)],
        targets=[IGNORED] * start + list(chain.from_iterable(_next(labels, start, IGNORED) for _, labels in rows)),
        sequence_ids=[0] * start + [number for number, (ids, _) in enumerate(rows) for _ in ids[start:]],
        lengths=[start, *(len(ids) - start for ids, _ in rows)],
        token_weights=[0.0] * start + list(chain.from_iterable(weights)) if weighted else None,
    )


def packed_tokens(examples: Sequence[Example]) -> int:
    """Return how many tokens `pack` makes of them, without making it."""
    start = shared_start(examples)
    return start + sum(len(row["input_ids"]) - start for row in examples)


def _next(values: Sequence[Any], start: int, last: Any) -> list[Any]:
    """Return for each place from `start` on the value of the place after it."""
    return [*values[start + 1 :], last]


def shared_start(examples: Sequence[Example]) -> int:
    """Return how many tokens all rows begin with that predict nothing trained; 0 for one row, or when too few."""
    if len(examples) < 2:
        return 0
    first, last = (pick(example["input_ids"] for example in examples) for pick in (min, max))
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    # the last shared token must not predict a trained one, and every row keeps a token of its own
    limits = [min(_first_trained(example["labels"]), len(example["labels"])) - 1 for example in examples]
    start = max(0, min(same, *limits))
    return start if start >= MIN_SHARED_TOKENS else 0


def _first_trained(labels: Sequence[int]) -> int:
    return next((place for place, label in enumerate(labels) if label != IGNORED), len(labels))

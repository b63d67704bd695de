"""The contract of a backend: prompts in, completions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt. `chat/render.py` made the ids, and nobody else."""

    id: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True)
class Sampling:
    """How to generate. Greedy: the only way whose answer is a property of the model alone."""

    max_new_tokens: int


@dataclass(frozen=True)
class Completion:
    """One answer."""

    id: str
    token_ids: tuple[int, ...]
    """without the stop token"""
    finish: Literal["stop", "length"]
    seconds: float
    """the batch's wall time, shared over its answers by their tokens"""


class Backend(Protocol):
    """Generates answers."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, done: AbstractSet[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """Yield completions batch by batch, in any order.

        Args:
            prompts: all prompts of the evaluation, also those that are done.
            sampling: how to generate.
            done: ids that an earlier attempt answered. Batches are planned from all prompts, so a resumed evaluation
                computes what an undisturbed one would have: the same batches, the same floating-point sums.
        """

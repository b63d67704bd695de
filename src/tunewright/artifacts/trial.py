"""What a trial found: the forward passes that a section of training plans, and what a few real steps of it took.

`stages/sft/trial.py` makes it, as one JSON document on stdout; `stages/check/money.py` judges it.
"""

from __future__ import annotations

import math
from typing import Final

from pydantic import BaseModel, ConfigDict

ENDED: Final = "ended "
"""the line behind a trial's answer begins so; its exit code follows"""
GO: Final = "go"
"""the line that lets a trial take its steps"""


class Batch(BaseModel):
    """One forward pass."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    """that pass through the model: of packed rows a shared start counts once, of padded ones the padding too"""
    row_tokens: int
    """of the longest row"""
    trained_tokens: int


class Planned(BaseModel):
    """What a section will train, before a weight is loaded."""

    model_config = ConfigDict(frozen=True)

    steps: int
    passes: int
    tokens: int
    """over all forward passes"""
    longest: Batch
    typical: Batch
    packed: bool


class Reading(BaseModel):
    """How well the model as it comes reads rows: mean -log p in nats, untrained; None for no number."""

    model_config = ConfigDict(frozen=True)

    rows: float | None
    """of all tokens of a few rows, but for what they all begin with"""
    frame: float | None
    """of what the template writes between a question and its answer; None too where it writes nothing there"""
    tokens: int
    vocab_size: int
    """rows of the head: a uniform guess has ln of it"""


class Measured(BaseModel):
    """What a few steps took."""

    model_config = ConfigDict(frozen=True)

    peak_bytes: int
    """over the process that had imported everything; on a GPU, of its memory"""
    base_bytes: int
    """of that process"""
    seconds: list[float]
    """of each step"""
    tokens: list[int]
    """of each step"""
    head_used: str
    losses: list[float | None]
    """mean -log p of the trained tokens of each step, each weight 1; None where it is not finite"""
    reading: Reading

    @property
    def tokens_per_second(self) -> float:
        """Of the fastest step: one that compiled code or touched new memory says nothing about the rest."""
        return max(tokens / seconds for tokens, seconds in zip(self.tokens, self.seconds, strict=True))


class Trial(BaseModel):
    """What is planned, the estimate of its peak, and what was measured; None where nothing was run."""

    model_config = ConfigDict(frozen=True)

    planned: Planned
    peak_bytes: int
    low_bytes: int
    high_bytes: int
    nearest: list[str]
    """settings that fit where these do not"""
    flops: float
    """of the whole section"""
    tried_bytes: tuple[int, int]
    """the interval of the estimate for the largest batch among the steps"""
    measured: Measured | None = None

    @property
    def seconds_per_step(self) -> float:
        """Of a step of the mean size, at the measured speed; infinite where nothing was run."""
        if self.measured is None:
            return math.inf
        return self.planned.tokens / self.planned.steps / self.measured.tokens_per_second

    def hours(self, share: float = 1.0) -> float | None:
        """Return the hours of `share` of the section at the measured speed."""
        if self.measured is None:
            return None
        return share * self.planned.tokens / self.measured.tokens_per_second / 3600

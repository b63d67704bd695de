"""Scores of one model on one set of rows: the result of `evaluate`.

`scores.jsonl` has a line a row. `summary` has a rate and its interval for every metric of the suite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.files import read_jsonl


class ScoreRow(BaseModel):
    """One answered and scored row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    group: str
    source: str
    question: str
    """the last user message, for people"""
    reference: str
    """the right answer as text, for people"""
    answer: str
    """raw text of the model, end-of-turn removed"""
    parsed: Any = None
    """what the suite read out of the answer"""
    scores: dict[str, float]
    """metric -> score in [0, 1]; a row outside a metric's denominator lacks that metric"""
    reason: str
    """why it scored so, one line: the failure class first"""
    prompt_sha256: str
    """hash of the row's prompt token ids without worked examples: what pairs rows"""
    prompt_tokens: int
    answer_tokens: int
    finish: str
    """stop, or length when max_new_tokens cut it"""
    seconds: float
    """the batch's wall time shared over its rows by tokens"""


class MetricSummary(BaseModel):
    """A metric over all rows of its denominator."""

    model_config = ConfigDict(frozen=True)

    metric: str
    value: float
    low: float
    high: float
    """95% interval: Wilson for 0/1 metrics, bootstrap over groups for graded ones"""
    num_rows: int
    denominator: str
    """which rows count, in words"""
    binary: bool


class Scores(Artifact):
    """What a model scored, with intervals."""

    kind: ClassVar[str] = "evaluate"

    model: str
    suite: str
    shots: int
    num_rows: int
    summary: list[MetricSummary]
    seconds: float
    prompt_tokens: int
    answer_tokens: int
    cut_answers: int
    """answers that max_new_tokens cut"""

    def rows(self) -> Iterator[ScoreRow]:
        """Yield the scored rows, in the order of the data."""
        for _, row in read_jsonl(self.folder / "scores.jsonl"):
            yield ScoreRow(**row)

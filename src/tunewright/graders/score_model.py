"""Grader `score_model` (OpenAI's): a judge gives a number inside a range.

A number outside the range is cut to it, as OpenAI does. A reply without a number is unscored; OpenAI's would be 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from tunewright.graders.judge import Conversation, read_result
from tunewright.graders.model_graders import ModelGrader, ModelSpec, messages_of, reply_form
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context


class Spec(ModelSpec):
    """Let a model give a score."""

    type: Literal["score_model"]
    range: tuple[float, float] = Field(default=(0.0, 1.0), description="the lowest and the full score")
    pass_threshold: float | None = Field(default=None, description="adds the sub score `passed`")

    @model_validator(mode="after")
    def _in_order(self) -> Spec:
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)} is empty")
        return self


class ScoreModel(ModelGrader):
    """Asks for a number."""

    type = "score_model"

    def __init__(self, spec: Spec, context: Context):
        super().__init__(spec, context)
        self._spec = spec
        self.range = spec.range

    def conversations(self, sample: Sample, item: Mapping[str, Any]) -> list[Conversation]:
        """Return one conversation."""
        low, high = self.range
        return [messages_of(self._spec, sample, item, reply_form(f"a number from {low:g} to {high:g}"))]

    def verdict(self, replies: Sequence[str]) -> Grade:
        """Return the judge's number, cut to the range."""
        said = read_result(replies[0])
        score = min(max(said, self.range[0]), self.range[1])
        threshold = self._spec.pass_threshold
        passed = {} if threshold is None else {"passed": float(score >= threshold)}
        reason = f"judge: {said:g}" + ("" if said == score else f", cut to {score:g}")
        return Grade(score, reason, sub_scores=passed)


def from_spec(spec: Spec, context: Context) -> ScoreModel:
    """Return the grader of a spec."""
    return ScoreModel(spec, context)

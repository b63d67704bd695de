"""Grader `label_model` (OpenAI's): a judge picks a label; 1 if it is one of the passing ones, else 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from tunewright.graders.judge import Conversation, read_label
from tunewright.graders.model_graders import ModelGrader, ModelSpec, messages_of, reply_form
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context


class Spec(ModelSpec):
    """Let a model pick a label."""

    type: Literal["label_model"]
    labels: tuple[str, ...] = Field(min_length=2, description="what the judge may say")
    passing_labels: tuple[str, ...] = Field(min_length=1, description="which of them are a 1")

    @model_validator(mode="after")
    def _known(self) -> Spec:
        strange = [label for label in self.passing_labels if label not in self.labels]
        if strange:
            raise ValueError(f"passing_labels: {strange[0]!r} is none of the labels {list(self.labels)}")
        if len({label.strip().casefold() for label in self.labels}) < len(self.labels):
            raise ValueError("labels: two labels differ only in case")
        return self


class LabelModel(ModelGrader):
    """Asks for a label."""

    type = "label_model"

    def __init__(self, spec: Spec, context: Context):
        super().__init__(spec, context)
        self._spec = spec

    def conversations(self, sample: Sample, item: Mapping[str, Any]) -> list[Conversation]:
        """Return one conversation."""
        return [messages_of(self._spec, sample, item, reply_form("one of " + ", ".join(map(repr, self._spec.labels))))]

    def verdict(self, replies: Sequence[str]) -> Grade:
        """Return 1.0 or 0.0."""
        label = read_label(replies[0], self._spec.labels)
        return Grade(float(label in self._spec.passing_labels), f"judge: {label}")


def from_spec(spec: Spec, context: Context) -> LabelModel:
    """Return the grader of a spec."""
    return LabelModel(spec, context)

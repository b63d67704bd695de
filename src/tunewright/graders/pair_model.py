"""Grader `pair_model`: is the answer better than another one, by a judge who sees both orders?

Judges prefer a place (Zheng et al. 2023, arXiv:2306.05685). So each pair is shown twice, with the places changed. Only
a win in both orders is a win: 1. Losing both is 0; everything else, a tie or a judge who follows the place, is 0.5.
The sub score `consistent` says whether both orders agree; its mean is the judge's freedom from position bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from tunewright.graders.judge import Conversation, read_label
from tunewright.graders.model_graders import ModelGrader, ModelSpec, question_of, reply_form, rubric_messages
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context, Template
from tunewright.graders.template import render

_LABELS = ("A", "B", "tie")
_FORM = reply_form("'A' if answer A is better, 'B' if answer B is, or 'tie'")


class Spec(ModelSpec):
    """Let a model compare an answer with another."""

    type: Literal["pair_model"]
    other: Template = Field(default="{{ item.reference }}", description="the answer to compare with")

    @model_validator(mode="after")
    def _rubric(self) -> Spec:
        if self.input:
            raise ValueError(
                "a pair is shown in both orders, so its messages are made from a `rubric`, not from `input`"
            )
        return self


class PairModel(ModelGrader):
    """Asks twice, once in each order."""

    type = "pair_model"

    def __init__(self, spec: Spec, context: Context):
        super().__init__(spec, context)
        self._spec = spec

    def conversations(self, sample: Sample, item: Mapping[str, Any]) -> list[Conversation]:
        """Return the pair in both orders: the graded answer is A, then B."""
        other = render(self._spec.other, sample, item)
        question = ("Question", question_of(self._spec, sample, item))
        reference = [("Reference answer", render(self._spec.reference, sample, item))] if self._spec.reference else []
        return [
            rubric_messages(self._spec.rubric, [question, *reference, ("Answer A", a), ("Answer B", b)], _FORM)
            for a, b in ((sample.text, other), (other, sample.text))
        ]

    def verdict(self, replies: Sequence[str]) -> Grade:
        """Return 1, 0.5 or 0."""
        first, second = (read_label(reply, _LABELS) for reply in replies)
        score = {("A", "B"): 1.0, ("B", "A"): 0.0}.get((first, second), 0.5)
        consistent = float((first, second) in (("A", "B"), ("B", "A"), ("tie", "tie")))
        return Grade(score, f"{first} as A, {second} as B", sub_scores={"consistent": consistent})


def from_spec(spec: Spec, context: Context) -> PairModel:
    """Return the grader of a spec."""
    return PairModel(spec, context)

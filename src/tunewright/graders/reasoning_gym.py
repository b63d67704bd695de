"""Grader `reasoning_gym`: the verifier that belongs to a puzzle of the package reasoning-gym.

reads    the row's `reasoning_gym`: {task, config, seed, index, size}, as the suite of that name writes it into
         `meta.reasoning_gym`

The puzzle is made again from it and the package's own `score_answer` decides. What is evaluated by a verifier and is no
plain literal or formula is refused first, and wrong (`suites/reasoning_gym.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tunewright.errors import DataError, UserError
from tunewright.graders.base import SampleGrader
from tunewright.graders.protocol import ErrorKind, Grade, Sample
from tunewright.graders.spec import Context, GraderSpec, Template
from tunewright.graders.template import Unscored, value_of
from tunewright.suites.reasoning_gym import RefusedAnswer, tagged, verify


class Spec(GraderSpec):
    """Verify a puzzle's answer."""

    type: Literal["reasoning_gym"]
    puzzle: Template = Field(
        default="{{ item.reasoning_gym }}", description="which puzzle it is: {task, config, seed, …}"
    )
    answer: Literal["tag", "whole"] = Field(
        default="tag",
        description="`tag`: the answer stands in the last <answer>…</answer>; `whole`: it is the whole text",
    )


class ReasoningGym(SampleGrader):
    """Asks the package's verifier."""

    type = "reasoning_gym"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return the verifier's score, in [0, 1]."""
        origin = value_of(self._spec.puzzle, sample, item)
        if not isinstance(origin, Mapping):
            raise Unscored(
                "invalid_variable_error", f"the puzzle is {str(origin)[:60]!r}; expected {{task, config, seed, …}}"
            )
        said = tagged(sample.text) if self._spec.answer == "tag" else sample.text.strip()
        if not said:
            return Grade(0.0, "no answer tag" if said is None else "no answer")
        try:
            score = verify(origin, said)
        except RefusedAnswer as refused:
            return Grade(0.0, f"refused: {refused}")
        except (KeyError, UserError) as error:
            kind: ErrorKind = "other_error" if isinstance(error, DataError) else "invalid_variable_error"
            raise Unscored(kind, f"puzzle: {error}") from None
        return Grade(score, "right" if score == 1 else "partly right" if score >= 0.5 else "wrong")


def from_spec(spec: Spec, context: Context) -> ReasoningGym:
    """Return the grader of a spec."""
    return ReasoningGym(spec)

"""Grader `string_check` (OpenAI's): 1 if the comparison holds, else 0.

eq      input is reference            like    input contains reference
ne      input is not reference        ilike   the same without regard to case
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from tunewright.graders.base import SampleGrader
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context, GraderSpec, Template
from tunewright.graders.template import render

_HOLDS: dict[str, Callable[[str, str], bool]] = {
    "eq": lambda text, reference: text == reference,
    "ne": lambda text, reference: text != reference,
    "like": lambda text, reference: reference in text,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}


class Spec(GraderSpec):
    """Compare two texts."""

    type: Literal["string_check"]
    input: Template = Field(description="the text that is graded: `{{ sample.output_text }}`")
    reference: Template = Field(description="what it is compared with: `{{ item.answer }}`")
    operation: Literal["eq", "ne", "like", "ilike"] = Field(description="the comparison; `neq` is read as `ne`")

    @field_validator("operation", mode="before")
    @classmethod
    def _neq(cls, value: Any) -> Any:
        return "ne" if value == "neq" else value  # OpenAI's guide says neq, its API ne


class StringCheck(SampleGrader):
    """Compares two rendered texts."""

    type = "string_check"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return 1.0 or 0.0."""
        spec = self._spec
        text, reference = render(spec.input, sample, item), render(spec.reference, sample, item)
        holds = _HOLDS[spec.operation](text, reference)
        return Grade(float(holds), f"{spec.operation} holds" if holds else f"{spec.operation} does not hold")


def from_spec(spec: Spec, context: Context) -> StringCheck:
    """Return the grader of a spec."""
    return StringCheck(spec)

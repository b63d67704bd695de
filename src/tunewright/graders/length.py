"""Grader `length`: 1 while the answer's length is between two bounds, falling to 0 outside them.

Outside, the score falls in a straight line over `margin` units. Alone it is not a reward: any text of the right length
scores 1 (the dry run says so). It belongs into a `multi` grader, beside one that looks at what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from tunewright.graders.base import SampleGrader
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context, GraderSpec, Template
from tunewright.graders.template import render

_COUNT: dict[str, Callable[[str], int]] = {
    "characters": len,
    "words": lambda text: len(text.split()),
    "lines": lambda text: len(text.splitlines()),
}


class Spec(GraderSpec):
    """Bound the length."""

    type: Literal["length"]
    input: Template = Field(default="{{ sample.output_text }}", description="the text that is graded")
    unit: Literal["characters", "words", "lines"] = Field(default="words", description="what is counted")
    least: int = Field(default=1, ge=0, description="the shortest that scores 1")
    most: int | None = Field(default=None, ge=0, description="the longest that scores 1")
    margin: int = Field(default=0, ge=0, description="so many units outside the score reaches 0")

    @model_validator(mode="after")
    def _in_order(self) -> Spec:
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most ({self.most}) is below least ({self.least})")
        return self


class Length(SampleGrader):
    """Bounds the length of a text."""

    type = "length"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return 1 inside the bounds, less outside; an empty text scores 0 unless `least` is 0."""
        spec = self._spec
        count = _COUNT[spec.unit](render(spec.input, sample, item))
        outside = max(spec.least - count, 0 if spec.most is None else count - spec.most, 0)
        score = 1.0 if outside == 0 else 0.0 if count == 0 else max(0.0, 1 - outside / (spec.margin + 1))
        return Grade(score, f"{count} {spec.unit}")


def from_spec(spec: Spec, context: Context) -> Length:
    """Return the grader of a spec."""
    return Length(spec)

"""Grader `regex`: 1 if a pattern matches, else 0; in time linear in the answer (see `linear_regex.py`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from tunewright.graders.base import SampleGrader
from tunewright.graders.linear_regex import compiled
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context, GraderSpec, Template
from tunewright.graders.template import Unscored, render

_FLAGS = {"ignore_case": re.IGNORECASE, "multiline": re.MULTILINE, "dot_all": re.DOTALL}


class Spec(GraderSpec):
    """Match a regular expression."""

    type: Literal["regex"]
    pattern: str = Field(description="Python's syntax, without back-references and look-around")
    input: Template = Field(default="{{ sample.output_text }}", description="the text that is graded")
    match: Literal["search", "full"] = Field(default="search", description="anywhere, or the whole text")
    flags: tuple[Literal["ignore_case", "multiline", "dot_all"], ...] = Field(default=(), description="of the pattern")
    negate: bool = Field(default=False, description="1 where the pattern does not match")

    @field_validator("pattern")
    @classmethod
    def _linear(cls, pattern: str) -> str:
        compiled(pattern)
        return pattern

    def notes(self) -> list[str]:
        """Say what a negated pattern gives an empty answer."""
        return ["an empty answer scores 1: combine it with a grader that asks for content"] if self.negate else []


class Regex(SampleGrader):
    """Matches one pattern."""

    type = "regex"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec
        self._regex = compiled(spec.pattern, sum(_FLAGS[name] for name in spec.flags))

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return 1.0 or 0.0."""
        text = render(self._spec.input, sample, item)
        try:
            matches = self._regex.fullmatch(text) if self._spec.match == "full" else self._regex.search(text)
        except ValueError as error:
            raise Unscored("truncated_observation_error", str(error)) from None
        return Grade(float(matches != self._spec.negate), "matches" if matches else "does not match")


def from_spec(spec: Spec, context: Context) -> Regex:
    """Return the grader of a spec."""
    return Regex(spec)

"""Grader `keyword`: which words the answer must, may and must not have.

The score is the share of the required words that are there (`all: true`: 1 only with every one), and 0 as soon as a
forbidden one is. With only forbidden words an empty answer scores 0: saying nothing is no achievement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from tunewright.graders.base import SampleGrader
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context, GraderSpec, Template
from tunewright.graders.template import Unscored, render, value_of


class Spec(GraderSpec):
    """Look for words."""

    type: Literal["keyword"]
    input: Template = Field(default="{{ sample.output_text }}", description="the text that is graded")
    required: tuple[Template, ...] | Template = Field(
        default=(), description="words or phrases to look for; templates, or one variable that is a list"
    )
    forbidden: tuple[Template, ...] | Template = Field(default=(), description="words that make the score 0")
    all: bool = Field(default=False, description="1 only if every required word is there, else 0")
    whole_words: bool = Field(default=True, description="`cat` is not found in `concatenate`")
    ignore_case: bool = Field(default=True, description="upper and lower case are the same")

    @model_validator(mode="after")
    def _something(self) -> Spec:
        if not self.required and not self.forbidden:
            raise ValueError("give `required` or `forbidden` words")
        return self


class Keyword(SampleGrader):
    """Looks for words."""

    type = "keyword"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return the share of the required words, or 0 with a forbidden one."""
        spec = self._spec
        text = self._fold(render(spec.input, sample, item))
        if not text.strip():
            return Grade(0.0, "empty")
        bad = [word for word in _words(spec.forbidden, sample, item) if self._has(text, word)]
        if bad:
            return Grade(0.0, f"has {bad[0]!r}")
        wanted = _words(spec.required, sample, item)
        missing = [word for word in wanted if not self._has(text, word)]
        share = 1 - len(missing) / len(wanted) if wanted else 1.0
        return Grade(float(share == 1) if spec.all else share, f"lacks {missing[0]!r}" if missing else "has all")

    def _fold(self, text: str) -> str:
        return text.casefold() if self._spec.ignore_case else text

    def _has(self, text: str, word: str) -> bool:
        """Return True if `word` stands in `text`; str.find is linear in practice and never backtracks."""
        word, at = self._fold(word), -1
        while (at := text.find(word, at + 1)) >= 0:
            if not self._spec.whole_words or _stands_alone(text, at, at + len(word)):
                return True
        return False


def _stands_alone(text: str, begin: int, end: int) -> bool:
    before, after = text[begin - 1 : begin], text[end : end + 1]
    return not (before.isalnum() and text[begin].isalnum()) and not (after.isalnum() and text[end - 1].isalnum())


def _words(source: tuple[str, ...] | str, sample: Sample, item: Mapping[str, Any]) -> list[str]:
    found = value_of(source, sample, item) if isinstance(source, str) else [render(w, sample, item) for w in source]
    words = [found] if isinstance(found, str) else found
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and word.strip() for word in words):
        raise Unscored("invalid_variable_error", f"keywords are {str(found)[:60]!r}; expected a list of words")
    return list(words)


def from_spec(spec: Spec, context: Context) -> Keyword:
    """Return the grader of a spec."""
    return Keyword(spec)

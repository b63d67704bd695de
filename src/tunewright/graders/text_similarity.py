"""Grader `text_similarity` (OpenAI's): how alike two texts are, by a measure of `similarity.py`, in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tunewright.graders.base import SampleGrader
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.similarity import MAX_WORDS, MEASURES, cosine
from tunewright.graders.spec import Context, GraderError, GraderSpec, Problem, Template
from tunewright.graders.template import Unscored, render


class Spec(GraderSpec):
    """Measure how alike two texts are."""

    type: Literal["text_similarity"]
    input: Template = Field(description="the text that is graded")
    reference: Template = Field(description="the text it should be like")
    evaluation_metric: Literal[
        "fuzzy_match",
        "bleu",
        "gleu",
        "meteor",
        "rouge_1",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
        "rouge_l",
        "cosine",
    ] = Field(description="the measure; `cosine` needs an embedder, which only Python can hand over")
    pass_threshold: float | None = Field(
        default=None, description="adds the sub score `passed`; the score itself stays graded"
    )


class TextSimilarity(SampleGrader):
    """Measures how alike two rendered texts are."""

    type = "text_similarity"

    def __init__(self, spec: Spec, context: Context):
        super().__init__(spec.name)
        self._spec, self._embed = spec, context.embed

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return the similarity."""
        spec = self._spec
        score = self._measure(render(spec.input, sample, item), render(spec.reference, sample, item))
        passed = {} if spec.pass_threshold is None else {"passed": float(score >= spec.pass_threshold)}
        return Grade(score, f"{spec.evaluation_metric} {score:.3f}", sub_scores=passed)

    def _measure(self, text: str, reference: str) -> float:
        if max(text.count(" "), reference.count(" ")) > MAX_WORDS:
            raise Unscored("truncated_observation_error", f"a text of more than {MAX_WORDS} words")
        if self._spec.evaluation_metric != "cosine":
            return MEASURES[self._spec.evaluation_metric](text, reference)
        assert self._embed is not None  # from_spec refused it
        left, right = self._embed([text, reference])
        return cosine(left, right)


def from_spec(spec: Spec, context: Context) -> TextSimilarity:
    """Return the grader of a spec.

    Raises:
        GraderError: `cosine` without an embedder.
    """
    if spec.evaluation_metric == "cosine" and context.embed is None:
        seen = (
            "`cosine` needs an embedder, which only Python can hand over: load_grader(spec, embed=…); or take rouge_l"
        )
        raise GraderError([Problem("evaluation_metric", seen)], spec.name)
    return TextSimilarity(spec, context)

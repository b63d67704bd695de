"""Grader `multi` (OpenAI's): several graders, and a formula that makes one score of theirs.

A part that cannot be scored makes the whole unscored, with the part's error: a missing part is not a 0. Parts that the
formula does not use are scored and shown, and cannot spoil it. A multi grader inside another is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from tunewright.graders.bounds import bounds_of
from tunewright.graders.formula import FUNCTIONS, Formula, FormulaError, parse_formula
from tunewright.graders.load import build
from tunewright.graders.protocol import Grade, Grader, Row, TokenUsage, grade_many
from tunewright.graders.spec import Context, GraderError, GraderSpec, parse


def _part(value: Any) -> GraderSpec:
    if isinstance(value, GraderSpec):
        return value
    if isinstance(value, Mapping) and value.get("type") == "multi":
        raise ValueError("a multi grader inside a multi grader")
    try:
        return parse(value)
    except GraderError as error:
        raise ValueError("; ".join(f"{p.path}: {p.seen}" if p.path else p.seen for p in error.problems)) from None


class Spec(GraderSpec):
    """Combine the scores of several graders."""

    type: Literal["multi"]
    graders: dict[str, SerializeAsAny[Annotated[GraderSpec, BeforeValidator(_part)]]] = Field(
        min_length=1, max_length=64, description="name -> grader; the names are the variables of the formula"
    )
    calculate_output: str = Field(description="the formula: `0.8 * correct + 0.2 * tidy`")

    @model_validator(mode="after")
    def _formula(self) -> Spec:
        for name in self.graders:
            if not name.isidentifier() or name in FUNCTIONS:
                raise ValueError(f"graders.{name}: a part is named by letters, digits and _, and not as a function")
        if not parse_formula(self.calculate_output, list(self.graders)).names:
            raise ValueError("calculate_output: the formula uses none of the graders")
        return self

    def notes(self) -> list[str]:
        """Return the notes of the parts, and the parts that the formula does not use."""
        used = parse_formula(self.calculate_output, list(self.graders)).names
        unused = [f"the formula does not use `{name}`" for name in self.graders if name not in used]
        return [f"{name}: {note}" for name, part in self.graders.items() for note in part.notes()] + unused


class Multi:
    """Grades with every part, and combines."""

    type = "multi"

    def __init__(self, name: str, parts: Mapping[str, Grader], formula: Formula):
        self.name, self.parts, self.formula = name, dict(parts), formula
        self.range = self._range()

    def _range(self) -> tuple[float, float]:
        """Return the least and the most that the formula gives: a penalty is least where its part is full."""
        found = bounds_of(self.formula, {name: getattr(part, "range", (0.0, 1.0)) for name, part in self.parts.items()})
        return found if found is not None and found[0] < found[1] else (0.0, 1.0)

    def grade(self, answer: str, row: Row) -> Grade:
        """Return the combined grade of one answer."""
        return self._combine({name: part.grade(answer, row) for name, part in self.parts.items()})

    def grade_many(self, answers: Sequence[str], rows: Sequence[Row]) -> list[Grade]:
        """Return the combined grades; each part grades all answers at once."""
        columns = [grade_many(part, answers, rows) for part in self.parts.values()]
        return [self._combine(dict(zip(self.parts, grades, strict=True))) for grades in zip(*columns, strict=True)]

    def _combine(self, grades: Mapping[str, Grade]) -> Grade:
        scores = {name: grade.score for name, grade in grades.items() if grade.score is not None}
        booked: dict[str, Any] = {
            "sub_scores": scores,
            "seconds": sum(grade.seconds for grade in grades.values()),
            "tokens": sum(grade.tokens for grade in grades.values()),
            "cost_usd": sum(grade.cost_usd for grade in grades.values()),
            "cut": any(grade.cut for grade in grades.values()),
            "tokens_by_model": _tokens(grades.values()),
        }
        for name in self.formula.names:
            error = grades[name].error
            if error is not None:
                return Grade.failed(error.kind, f"{name}: {error.detail}", **booked)
        try:
            score = self.formula(scores)
        except FormulaError as error:
            return Grade.failed("formula_parse_error", str(error), **booked)
        return Grade(score, ", ".join(f"{name} {value:.3g}" for name, value in scores.items()), **booked)


def _tokens(grades: Any) -> dict[str, TokenUsage]:
    total: dict[str, TokenUsage] = {}
    for grade in grades:
        for model, usage in grade.tokens_by_model.items():
            total[model] = total.get(model, TokenUsage()) + usage
    return total


def from_spec(spec: Spec, context: Context) -> Multi:
    """Return the grader of a spec."""
    parts = {name: build(part, context) for name, part in spec.graders.items()}
    return Multi(spec.name, parts, parse_formula(spec.calculate_output, list(parts)))

r"""Grader `code_tests`: the answer's Python is run on the row's inputs, and its results are compared here.

The tests stand in the row, as data. Either a function and its cases, or texts for a script:

    {"entry": "add", "cases": [[[1, 2], 3], [[0, 0], 0]]}      arguments, then what must come back (a JSON value)
    {"stdin": [["1 2\n", "3\n"]]}                              stdin, then what must be printed

Only the inputs go where the code runs. Assertions as text are not accepted: they would have to run beside the code
that they judge, which can then make them pass. Code that fails, runs too long or attacks is wrong: score 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tunewright.graders.base import SampleGrader
from tunewright.graders.code import code_of, concurrently, same, sandbox_for
from tunewright.graders.protocol import Grade, Row, Sample
from tunewright.graders.sandbox import Outcome, Sandbox
from tunewright.graders.spec import Context, GraderSpec
from tunewright.graders.template import Unscored

MAX_CASES = 2000
SHOWN_FAILURES = 3
Case = Annotated[tuple[list[Any], Any], Field(description="arguments, and what must come back")]


class Tests(BaseModel):
    """The tests of one row."""

    __test__ = False  # no class of tests, whatever pytest makes of its name
    model_config = ConfigDict(frozen=True, extra="forbid")

    entry: str | None = Field(None, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$")
    cases: list[Case] | None = Field(None, min_length=1, max_length=MAX_CASES)
    stdin: list[tuple[str, str]] | None = Field(None, min_length=1, max_length=MAX_CASES)

    @model_validator(mode="after")
    def _one_of_both(self) -> Tests:
        if (self.cases is None) == (self.stdin is None):
            raise ValueError("expected either `entry` and `cases`, or `stdin`")
        if self.cases is not None and self.entry is None:
            raise ValueError("`cases` needs `entry`, the function to call")
        return self


class Spec(GraderSpec):
    """A `code_tests` grader file."""

    type: Literal["code_tests"] = "code_tests"
    tests: str = Field("tests", description="the row's key that holds the tests")
    score: Literal["share", "all"] = Field("share", description="share of the cases that pass, or 1 only if all do")
    timeout_seconds: float = Field(10.0, gt=0, le=3600, description="wall clock for all cases of an answer together")
    tolerance: float = Field(
        1e-6, ge=0, description="how far a number with a fraction may be off, absolute or relative"
    )


class CodeTestsGrader(SampleGrader):
    """Runs the code of an answer on the inputs of its row.

    Args:
        spec: which tests, how they make a score.
        sandbox: where the code runs; None: one that all graders share.
        require: the least level of isolation, by name.
    """

    type = "code_tests"

    def __init__(self, spec: Spec, sandbox: Sandbox | None = None, require: str | None = None):
        super().__init__(spec.name or spec.type)
        self.spec = spec
        self.sandbox = sandbox_for(sandbox, require)

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return the grade of one answer. Raises Unscored if the row's tests cannot be used."""
        tests = self._tests(item)
        if tests.cases is not None and tests.entry is not None:
            outcomes, passed = self._call(sample.text, tests.entry, tests.cases)
        else:
            outcomes, passed = self._print(sample.text, tests.stdin or [])
        if broken := next((outcome for outcome in outcomes if outcome.kind == "sandbox_failed"), None):
            raise Unscored("other_error", f"sandbox_failed: {broken.error}")
        share = sum(passed) / len(passed)
        return Grade(share if self.spec.score == "share" else float(share == 1), _reason(outcomes, passed))

    def grade_many(self, answers: Sequence[str], rows: Sequence[Row]) -> list[Grade]:
        """Grade on all cores."""
        return concurrently(self.grade, answers, rows, self.sandbox)

    def _tests(self, item: Mapping[str, Any]) -> Tests:
        if self.spec.tests not in item:
            raise Unscored("invalid_variable_error", f"the row has no `{self.spec.tests}`")
        try:
            return Tests.model_validate(item[self.spec.tests])
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(map(str, (self.spec.tests, *first["loc"])))
            raise Unscored("invalid_variable_error", f"{path}: {first['msg']}") from None

    def _call(self, text: str, entry: str, cases: Sequence[Case]) -> tuple[list[Outcome], list[bool]]:
        code = code_of(text, f"{'class' if '.' in entry else 'def'} {entry.partition('.')[0]}")
        outcomes = self.sandbox.run_calls(code, entry, [args for args, _ in cases], self.spec.timeout_seconds)
        wanted = (expected for _, expected in cases)
        return outcomes, [o.ok and same(o.value, w, self.spec.tolerance) for o, w in zip(outcomes, wanted, strict=True)]

    def _print(self, text: str, cases: Sequence[tuple[str, str]]) -> tuple[list[Outcome], list[bool]]:
        code, left = code_of(text), self.spec.timeout_seconds
        outcomes: list[Outcome] = []
        for stdin, _ in cases:
            outcomes.append(self.sandbox.run_script(code, stdin, left))
            left -= outcomes[-1].seconds
        wanted = (_lines(expected) for _, expected in cases)
        return outcomes, [o.ok and _lines(o.value) == w for o, w in zip(outcomes, wanted, strict=True)]


def from_spec(spec: Spec, context: Context) -> CodeTestsGrader:
    """Return the grader of a spec."""
    return CodeTestsGrader(spec, context.sandbox, context.require_sandbox)


def _lines(text: str) -> list[str]:
    """Return printed text for comparison: what stands at the end of lines and of the text is no difference."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _reason(outcomes: Sequence[Outcome], passed: Sequence[bool]) -> str:
    failures = [
        f"case {number}: " + ("another result" if outcome.ok else f"{outcome.kind}: {outcome.error}")
        for number, (outcome, good) in enumerate(zip(outcomes, passed, strict=True), 1)
        if not good
    ]
    more = [f"and {len(failures) - SHOWN_FAILURES} more"] if len(failures) > SHOWN_FAILURES else []
    return "; ".join([f"{sum(passed)} of {len(passed)} cases pass", *failures[:SHOWN_FAILURES], *more])

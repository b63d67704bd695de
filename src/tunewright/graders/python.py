"""Grader `python`: OpenAI's, a source with `grade(sample, item) -> float`. It runs in the sandbox.

The source is the user's, what it is fed with is a model's. It sees `sample` and `item` as OpenAI's graders do. A
number outside `range`, no number, an exception or running out of time is an error, never a score.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from tunewright.graders.base import SampleGrader
from tunewright.graders.code import concurrently, sandbox_for, too_deep
from tunewright.graders.protocol import ErrorKind, Grade, Row, Sample
from tunewright.graders.sandbox import Limits, Outcome, Sandbox
from tunewright.graders.spec import Context, GraderSpec

# What OpenAI's image has, and graders written for it import. Those that are not installed are not there.
PACKAGES = ("numpy", "scipy", "pandas", "sklearn", "rapidfuzz", "jsonschema", "sympy", "nltk", "rouge_score")
_NO_ANSWER = ("timeout", "memory", "crash", "sandbox_failed")


def _is_a_grader(source: str) -> str:
    """Return `source`. Raises ValueError if it is too long, does not parse or defines no `grade`."""
    if (size := len(source.encode(errors="replace"))) > Limits().source_bytes:
        raise ValueError(f"{size} bytes; at most {Limits().source_bytes} are run")
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise ValueError("nested too deep to be read") from None
    grades = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "grade"]
    if not grades:
        raise ValueError("defines no function `grade(sample, item)`")
    arguments = grades[-1].args
    if len(arguments.posonlyargs) + len(arguments.args) != 2 and arguments.vararg is None:
        raise ValueError("`grade` must take two arguments: sample, item")
    return source


class Spec(GraderSpec):
    """A `python` grader file."""

    type: Literal["python"] = "python"
    source: Annotated[str, AfterValidator(_is_a_grader)] = Field(description="Python with `grade(sample, item)`")
    image_tag: str | None = Field(None, description="OpenAI's container image; kept, and of no effect here")
    range: tuple[float, float] = Field((0.0, 1.0), description="lowest and highest score; outside is an error")
    timeout_seconds: float = Field(120.0, gt=0, le=3600, description="wall clock of one grade")

    def notes(self) -> list[str]:
        """Say that the image is not used."""
        return ["image_tag has no effect: the source runs in this machine's Python"] if self.image_tag else []


class PythonGrader(SampleGrader):
    """Runs a user's `grade` on each sample.

    Args:
        name: in results.
        source: defines `grade(sample, item)`.
        range: lowest and highest score.
        timeout_seconds: of one grade.
        sandbox: where it runs; None: one that all graders share.
        require: the least level of the shared one, by name.
    """

    type = "python"

    def __init__(
        self,
        name: str,
        source: str,
        range: tuple[float, float] = (0.0, 1.0),
        timeout_seconds: float = 120.0,
        sandbox: Sandbox | None = None,
        require: str | None = None,
    ):
        super().__init__(name)
        self.source, self.range, self.timeout_seconds = source, range, timeout_seconds
        self.sandbox = sandbox_for(sandbox, require, PACKAGES)

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return the grade of one sample."""
        seen = sample.as_json()
        if too_deep(seen["output_json"]):  # else nesting could make grading fail, which is better than a score of 0
            seen["output_json"] = None
        outcome = self.sandbox.run_python(self.source, "grade", [seen, dict(item)], self.timeout_seconds)
        return _as_grade(outcome, self.range)

    def grade_many(self, answers: Sequence[str], rows: Sequence[Row]) -> list[Grade]:
        """Grade on all cores."""
        return concurrently(self.grade, answers, rows, self.sandbox)


def from_spec(spec: Spec, context: Context) -> PythonGrader:
    """Return the grader of a spec."""
    return PythonGrader(
        spec.name, spec.source, spec.range, spec.timeout_seconds, context.sandbox, context.require_sandbox
    )


def _as_grade(outcome: Outcome, range: tuple[float, float]) -> Grade:
    if not outcome.ok:
        kind: ErrorKind = "python_grader_server_error" if outcome.kind in _NO_ANSWER else "python_grader_runtime_error"
        return Grade.failed(kind, f"{outcome.kind}: {outcome.error}", seconds=outcome.seconds)
    value, (low, high) = outcome.value, range
    if not isinstance(value, int | float):
        return Grade.failed("python_grader_runtime_error", f"`grade` returned {str(value)[:80]!r}, no number")
    if not low <= value <= high:
        return Grade.failed(
            "python_grader_runtime_error", f"`grade` returned {value!s:.80}; expected {low:g} to {high:g}"
        )
    return Grade(float(value), f"grade returned {value:g}", seconds=outcome.seconds)

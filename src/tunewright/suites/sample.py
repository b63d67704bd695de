"""Suite `sample`: the user's own rows, scored by any grader.

reads    the option `grader`: a grader object, the path of its file, or `module:name`; what it needs of a row stands in
         the row's meta

    score    the grader's score; rows it could not grade are unscored, not 0
    passed   1 if the score is at least the option `pass_threshold`; only with that option
    NAME     for each name in the option `sub_scores`: that part of a `multi` grader's score
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import UserError
from tunewright.suites import MAIN_METRIC
from tunewright.suites.options import Options, read_options
from tunewright.suites.protocol import Metric, Scored, Suite

if TYPE_CHECKING:
    from tunewright.graders.protocol import Grade, Grader

ROWS: Final = "rows that the grader could grade"


class SampleOptions(Options):
    """Options of the suite."""

    grader: dict[str, Any] | str = Field(description="a grader, the path of its file, or `module:name`")
    pass_threshold: float | None = Field(default=None, description="the least score that passes; adds `passed`")
    sub_scores: tuple[str, ...] = Field(default=(), description="parts of the grader's score that are metrics too")


@dataclass(frozen=True)
class Graded:
    """Scores with a grader."""

    grader: Grader
    pass_threshold: float | None = None
    sub_scores: tuple[str, ...] = ()

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Grade `answer`."""
        return self.score_all([answer], [row])[0]

    def score_all(self, answers: Sequence[str], rows: Sequence[ChatRow]) -> list[Scored]:
        """Grade every answer; judges are asked about several at a time, code runs in all workers."""
        from tunewright.graders.protocol import grade_many

        return [
            scored_of(grade, self.pass_threshold, self.sub_scores) for grade in grade_many(self.grader, answers, rows)
        ]


def scored_of(grade: Grade, pass_threshold: float | None = None, sub_scores: tuple[str, ...] = ()) -> Scored:
    """Return a grade as a suite's score; an error stays one."""
    if grade.score is None:
        kind = grade.error.kind if grade.error else "other_error"
        return Scored({}, "unscored", error=f"{kind}: {grade.reason}")
    scores = {"score": grade.score}
    if pass_threshold is not None:
        scores["passed"] = float(grade.score >= pass_threshold)
    scores |= {name: grade.sub_scores[name] for name in sub_scores if name in grade.sub_scores}
    full = grade.score >= (1.0 if pass_threshold is None else pass_threshold)
    failure = "" if full else "no score" if grade.score <= 0 else "partial score"
    return Scored(scores, grade.reason, grade.sub_scores or None, failure)


def find_grader(spec: Mapping[str, Any] | str, folder: Path = Path()) -> Grader:
    """Return the grader that `spec` names; a path is relative to `folder`.

    Raises:
        UserError: the spec is wrong.
    """
    from tunewright.graders.protocol import load_grader

    is_file = isinstance(spec, str) and spec.endswith((".json", ".yaml", ".yml"))
    return load_grader(folder / str(spec) if is_file else spec)


def make_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite.

    Raises:
        SuiteError: an option is wrong. UserError: the grader is.
    """
    told = read_options(SampleOptions, options, f"suite {name}")
    own = ["score", *(["passed"] if told.pass_threshold is not None else [])]
    if taken := {*own} & {*told.sub_scores}:
        raise UserError(f"`sub_scores` names {', '.join(taken)}, which is a metric already", where=f"suite {name}")
    grader = find_grader(told.grader)
    return Suite(
        name=name,
        metrics=tuple(Metric(metric, ROWS, binary=metric == "passed") for metric in (*own, *told.sub_scores)),
        score=Graded(grader, told.pass_threshold, told.sub_scores),
        main_metric=MAIN_METRIC[name],
        graders=(grader,),
    )

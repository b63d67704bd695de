"""Faults of evaluation and statistics: the numbers are made, and do not say what is claimed."""

from __future__ import annotations

from tunewright.faults.fault import Change, Fault, both, grouped, recipe
from tunewright.faults.project import Project

_NO_CHECK = "TRL compares no systems"


def _fault(name: str, what: str, plant: Change, real: str = "", trl: str = _NO_CHECK) -> Fault:
    return Fault(name, what, plant, real=real, promise="statistics", trl=trl)


def _broken_suite(project: Project) -> None:
    """Score with a function that fails on every answer."""
    (project.folder / "broken_suite.py").write_text(
        "from tunewright.suites.protocol import Metric, Scored, Suite\n\n"
        "def score(answer, row):\n    return Scored({'ok': 1 / 0}, '')\n\n"
        "SUITE = Suite(name='broken', metrics=(Metric('ok', 'all rows'),), score=score, main_metric='ok')\n",
        encoding="utf-8",
    )
    for name in ("before", "after"):
        project.set(f"{name}.suite", "broken_suite:SUITE")
    project.stage("compare").pop("require")


FAULTS = grouped(
    "evaluation and statistics",
    _fault(
        "asked-differently",
        "the candidate gets a system text that the baseline does not get",
        recipe(after__system="Answer with the department."),
        real="lm-evaluation-harness#3831",
    ),
    _fault("other-rows-scored", "the candidate answers the first five rows only", recipe(after__limit=5)),
    _fault(
        "answers-cut",
        "answers may have two tokens: every one is cut",
        recipe(before__max_new_tokens=2, after__max_new_tokens=2),
    ),
    _fault(
        "no-better-than-before",
        "one step of training: the candidate is the baseline",
        recipe(sft__steps=1, sft__learning_rate=1e-6),
    ),
    _fault(
        "base-evaluated-again",
        "the second evaluation forgets `model: sft`: the base is compared with itself",
        lambda project: project.stage("after").__delitem__("model"),
    ),
    _fault(
        "compared-with-itself",
        "baseline and candidate are one evaluation",
        recipe(compare__baseline="after"),
    ),
    _fault(
        "baseline-and-candidate-swapped",
        "the tuned model is the baseline, so that every gain is a loss",
        recipe(compare__baseline="after", compare__candidate="before"),
    ),
    _fault(
        "metric-that-is-not-there",
        "`require` names a metric that the suite does not have",
        recipe(compare__require={"metric": "args_exact", "better_by": 0.2}),
    ),
    _fault(
        "too-few-rows-to-show-it",
        "four test rows: no difference could be significant",
        recipe(data__split={"test": 4}),
    ),
    _fault("scorer-that-fails", "the suite's own scorer fails on every answer", _broken_suite),
    _fault(
        "drawn-against-greedy",
        "the candidate's answers are drawn at temperature 1, the baseline's are greedy",
        recipe(after__temperature=1.0),
    ),
    _fault(
        "suite-of-another-task",
        "answers in words are scored as tool calls",
        both(
            recipe(before__suite="tool-calls", after__suite="tool-calls"),
            recipe(compare__require={"metric": "args_exact", "better_by": 0.2}),
        ),
    ),
)

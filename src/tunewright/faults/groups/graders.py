"""Faults of graders: a reward that teaches nothing, or the wrong thing. Each is a change of one sound `grade`."""

from __future__ import annotations

import json

from tunewright.faults.clean import GRADE
from tunewright.faults.drive import RUN, STATIC
from tunewright.faults.fault import Change, Fault, each_row, grouped
from tunewright.faults.project import Project
from tunewright.faults.rows import Row

_LAST = "    return float(said == item["


def _grading(old: str, new: str) -> Change:
    """Return a change of the grader's source."""

    def plant(project: Project) -> None:
        assert old in GRADE, old
        source = GRADE.replace(old, new)
        (project.folder / "grader.json").write_text(json.dumps({"type": "python", "source": source}), encoding="utf-8")

    return plant


def _returning(text: str) -> Change:
    return _grading('    return float(said == item["reference"].strip())', f"    {text}")


_RIGHT = 'said == item["reference"].strip()'


def _with_reference_of_another(row: Row, place: int) -> Row:
    """Give every row an answer that is not its own, as a shifted column does."""
    desks = {"shipping": "billing", "billing": "repairs", "repairs": "shipping"}
    question, answer = row["messages"]
    name = answer["content"].split()[-1].rstrip(".")
    return {**row, "messages": [question, {**answer, "content": f"Department: {desks[name]}."}]}


def _fault(name: str, what: str, plant: Change) -> Fault:
    return Fault(name, what, plant, shape="graded", commands=(STATIC, RUN), promise="grader", trl="grpo")


FAULTS = grouped(
    "graders and rewards",
    _fault(
        "grader-swallows-its-errors",
        "the grader looks for a column that is not there and returns 0 for the error",
        _returning('return float(said == item.get("expected_answer", ""))'),
    ),
    _fault(
        "grader-upside-down",
        "right answers score 0 and wrong ones 1",
        _returning('return 1.0 - float(said == item["reference"].strip())'),
    ),
    _fault(
        "grader-rewards-silence",
        "an empty answer scores full",
        _returning(f"return float({_RIGHT} or len(sample['output_text'].strip()) < 2)"),
    ),
    _fault(
        "grader-rewards-length",
        "half of the score is the length of the answer",
        _returning(f"return 0.5 * float({_RIGHT}) + 0.5 * min(1.0, len(sample['output_text']) / 400)"),
    ),
    _fault(
        "grader-looks-at-the-form-alone",
        "whatever says `Department:` scores full",
        _returning("return float('Department:' in sample['output_text'])"),
    ),
    _fault(
        "grader-of-ten",
        "scores go from 0 to 10 where 0 to 1 was agreed",
        _returning(f"return 10.0 * float({_RIGHT})"),
    ),
    _fault(
        "grader-raises",
        "the grader fails on every second answer",
        _returning(f"return float({_RIGHT}) if len(said) % 2 else 1 / 0"),
    ),
    _fault(
        "grader-by-chance",
        "four fifths of the score are chance: the same answer graded twice differs",
        _returning(f"import os; return 0.2 * float({_RIGHT}) + 0.8 * os.urandom(1)[0] / 255"),
    ),
    _fault(
        "grader-nobody-satisfies",
        "the whole answer, thinking included, must equal the reference",
        _returning('return float(sample["output_text"] == item["reference"])'),
    ),
    _fault(
        "grader-everybody-satisfies",
        "any word of the reference is enough",
        _returning('return float(any(word in sample["output_text"] for word in item["reference"].split()))'),
    ),
    _fault(
        "references-shifted",
        "every reference belongs to another row, as in a shifted column",
        each_row(_with_reference_of_another),
    ),
    _fault(
        "grader-without-grade",
        "the grader's source defines no function `grade`",
        _grading("def grade(", "def score("),
    ),
)

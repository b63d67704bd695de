from typing import ClassVar

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import UserError
from tunewright.graders.protocol import Grade
from tunewright.suites.protocol import find_suite
from tunewright.suites.sample import Graded, scored_of

CHECK = {
    "type": "string_check", "name": "same", "input": "{{ sample.output_text }}", "reference": "{{ item.reference }}",
    "operation": "eq",
}  # fmt: skip


def row(reference="yes", **meta):
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": reference}]
    return ChatRow(id="r", messages=messages, meta=meta)


class Length:
    name = "length"

    def grade(self, answer, row):
        if not answer:
            return Grade.failed("other_error", "nothing there")
        return Grade(len(answer) / 10, "its length", sub_scores={"words": float(len(answer.split()))})


def test_any_grader_scores_the_users_rows():
    suite = find_suite("sample", {"grader": CHECK})
    assert suite.score("yes", row()).scores == {"score": 1.0}
    assert suite.score("no", row()).scores == {"score": 0.0}
    assert suite.score("no", row()).failure == "no score"


def test_an_answer_that_cannot_be_graded_is_unscored_and_not_zero():
    scored = Graded(Length())("", row())
    assert scored.scores == {}
    assert scored.error == "other_error: nothing there"


def test_a_threshold_adds_a_metric_of_0_and_1():
    suite = find_suite("sample", {"grader": CHECK, "pass_threshold": 0.5})
    assert [(metric.name, metric.binary) for metric in suite.metrics] == [("score", False), ("passed", True)]
    assert Graded(Length(), 0.5)("12345", row()).scores == {"score": 0.5, "passed": 1.0}
    assert Graded(Length(), 0.5)("1234", row()).failure == "partial score"


def test_parts_of_a_score_can_be_metrics():
    assert Graded(Length(), None, ("words", "lines"))("one two", row()).scores == {"score": 0.7, "words": 2.0}


def test_a_part_cannot_have_the_name_of_the_whole():
    with pytest.raises(UserError, match="a metric already"):
        find_suite("sample", {"grader": CHECK, "sub_scores": ["score"]})


@pytest.mark.parametrize("options", [{}, {"grader": {"type": "string_chek"}}, {"grader": "missing.yaml"}])
def test_a_grader_that_is_wrong_is_a_clean_error(options):
    with pytest.raises(UserError):
        find_suite("sample", options)


def test_a_grade_of_full_marks_has_no_failure():
    assert scored_of(Grade(1.0, "right")).failure == ""


def test_a_grader_that_takes_many_answers_at_once_is_given_all_of_them():
    class Batched(Length):
        sizes: ClassVar[list[int]] = []

        def grade_many(self, answers, rows):
            self.sizes.append(len(answers))
            return [self.grade(answer, row) for answer, row in zip(answers, rows, strict=True)]

    scored = Graded(Batched()).score_all(["12345", "", "1"], [row(), row(), row()])
    assert Batched.sizes == [3]
    assert [one.scores.get("score") for one in scored] == [0.5, None, 0.1]
    assert scored[1].error

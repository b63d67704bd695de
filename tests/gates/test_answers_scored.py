import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.answers import answers_scored, references_are_right, references_fit


def test_references_that_a_suite_takes_for_right_pass_and_those_of_another_task_fail():
    right = {f"r{n}": 1.0 for n in range(20)}
    assert references_are_right("before", "exact-match", "exact_match", right).status is Status.PASSED
    verdict = references_are_right("before", "tool-calls", "args_exact", {f"r{n}": None for n in range(20)})
    assert verdict.status is Status.FAILED and "to 0 of 20 references, not to 20: r0, r1, r2, …" in verdict.measured
    assert references_are_right("before", "s", "m", {**right, "r0": 0.0, "r1": 0.0}).status is Status.WARNED


def test_references_that_the_metric_is_not_about_are_left_out_and_errors_are_not():
    right, outside = {f"r{n}": 1.0 for n in range(8)}, {f"none{n}": None for n in range(12)}
    verdict = references_are_right("before", "tool-calls", "args_exact", {**right, **outside})
    assert verdict.status is Status.PASSED
    assert "8 of 8 references; 12 more are none that args_exact is about" in verdict.measured
    failed = references_are_right("before", "s", "m", {**right, **outside}, dict.fromkeys(outside, "no gold value"))
    assert failed.status is Status.FAILED and "8 of 20" in failed.measured and "no gold value" in failed.measured


def test_references_longer_than_an_answer_may_be_warn_and_then_fail():
    assert references_fit("before", [10] * 20, 10).status is Status.PASSED
    assert references_fit("before", [10] * 18 + [40, 40], 10).status is Status.WARNED
    verdict = references_fit("before", [40] * 11 + [5] * 9, 10)
    assert verdict.status is Status.FAILED and "`max_new_tokens: 40`" in verdict.remedy


@pytest.mark.parametrize(("unscored", "total", "status"), [(0, 100, "PASSED"), (1, 100, "PASSED"), (2, 100, "FAILED")])
def test_more_than_one_answer_in_a_hundred_without_a_score_fails(unscored, total, status):
    verdict = answers_scored(unscored, total, "HTTP 500")
    assert verdict.status == status
    assert ("HTTP 500" in verdict.measured) == bool(unscored)


def test_the_bound_may_be_given():
    assert answers_scored(20, 100, "x", 0.25).status == "PASSED"

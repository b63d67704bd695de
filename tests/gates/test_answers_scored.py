import pytest

from tunewright.gates.answers import answers_scored


@pytest.mark.parametrize(("unscored", "total", "status"), [(0, 100, "PASSED"), (1, 100, "PASSED"), (2, 100, "FAILED")])
def test_more_than_one_answer_in_a_hundred_without_a_score_fails(unscored, total, status):
    verdict = answers_scored(unscored, total, "HTTP 500")
    assert verdict.status == status
    assert ("HTTP 500" in verdict.measured) == bool(unscored)


def test_the_bound_may_be_given():
    assert answers_scored(20, 100, "x", 0.25).status == "PASSED"

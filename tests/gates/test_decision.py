import pytest

from tunewright.artifacts.scores import MetricSummary
from tunewright.artifacts.verdict import Status
from tunewright.errors import UserError
from tunewright.gates.decision import score_required
from tunewright.recipe.sections import Decision


def summary(value, low, high, metric="args_exact"):
    return MetricSummary(metric=metric, value=value, low=low, high=high, num_rows=150, denominator="all", binary=True)


def test_a_base_that_can_do_the_task_already_stops_the_run():
    verdict = score_required([summary(0.5, 0.42, 0.58)], Decision(metric="args_exact", below=0.35))
    assert verdict.status is Status.FAILED
    assert "outside the interval" in verdict.measured and "already" in verdict.remedy


def test_a_base_that_cannot_yet_passes_in_silence():
    verdict = score_required([summary(0.02, 0.0, 0.06)], Decision(metric="args_exact", below=0.35))
    assert verdict.status is Status.PASSED and not verdict.remedy


@pytest.mark.parametrize(("value", "status"), [(0.58, Status.FAILED), (0.62, Status.PASSED)])
def test_a_bound_inside_the_interval_is_said_on_whichever_side_the_score_fell(value, status):
    verdict = score_required([summary(value, value - 0.08, value + 0.08)], Decision(above=0.6), "args_exact")
    assert verdict.status is status
    assert "0.6 inside the interval: not shown" in verdict.measured


def test_a_score_must_lie_between_two_bounds():
    require = Decision(above=0.2, below=0.8)
    assert score_required([summary(0.5, 0.4, 0.6)], require).status is Status.PASSED
    assert score_required([summary(0.9, 0.85, 0.95)], require).status is Status.FAILED
    assert score_required([summary(0.1, 0.05, 0.15)], require).status is Status.FAILED
    assert score_required([summary(0.8, 0.7, 0.9)], require).status is Status.FAILED  # below is below
    assert score_required([summary(0.2, 0.1, 0.3)], require).status is Status.PASSED  # above is at least


def test_a_decision_may_warn_and_let_the_run_go_on():
    assert score_required([summary(0.1, 0.0, 0.2)], Decision(above=0.6, on_fail="warn")).status is Status.WARNED


def test_a_metric_that_was_not_scored_is_named_with_those_that_were():
    with pytest.raises(UserError, match="args_exact"):
        score_required([summary(0.1, 0.0, 0.2)], Decision(metric="no_such", above=0.6))

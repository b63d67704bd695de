from tunewright.artifacts.verdict import Status
from tunewright.gates.answers import answers_complete
from tunewright.gates.training import loss_fell, loss_is_finite


def test_a_loss_that_is_no_number_fails_and_the_line_is_named():
    verdict = loss_is_finite([1.0, None, 0.5])
    assert verdict.status is Status.FAILED
    assert "line 2" in verdict.measured
    assert verdict.remedy


def test_finite_losses_pass_in_silence():
    verdict = loss_is_finite([1.0, 0.9])
    assert verdict.status is Status.PASSED
    assert verdict.remedy == ""


def test_a_loss_that_does_not_fall_warns():
    assert loss_fell(1.0, 1.2).status is Status.WARNED
    assert loss_fell(1.0, 0.4).status is Status.PASSED


def test_many_cut_answers_warn_and_a_few_do_not():
    assert answers_complete(20, 100, 64).status is Status.WARNED
    assert answers_complete(5, 100, 64).status is Status.PASSED

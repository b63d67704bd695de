import math

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.training import entropy_collapsed


def falling(first, last, steps=60):
    """A series that falls from `first` to `last` as training curves do."""
    return [last + (first - last) * math.exp(-8 * step / steps) for step in range(steps)]


def test_doubt_that_goes_while_mistakes_stay_warns_and_says_what_to_do():
    verdict = entropy_collapsed(falling(0.9, 0.002), falling(0.5, 0.9))
    assert verdict.status is Status.WARNED
    assert "0.00" in verdict.measured and "90.0%" in verdict.measured
    assert "learning_rate" in verdict.remedy and verdict.evidence == "metrics.jsonl"


@pytest.mark.parametrize(
    ("entropies", "accuracies"),
    [
        (falling(0.9, 0.05), falling(0.7, 0.985)),  # the tour
        (falling(1.06, 0.028), falling(0.7, 0.988)),  # two dozen steps on tool calls alone
        (falling(2.0, 1e-4), falling(0.6, 0.99999)),  # rows learned by heart: certain, and right
        (falling(2.0, 1e-5), [1.0] * 60),  # no mistake is left at all
        ([0.001] * 60, [0.9] * 60),  # it came like this: training took nothing away
        (falling(0.9, 0.7), falling(0.5, 0.7)),
    ],
)
def test_a_sound_training_is_silent(entropies, accuracies):
    verdict = entropy_collapsed(entropies, accuracies)
    assert verdict.status is Status.PASSED and verdict.remedy == ""


def test_one_noisy_step_at_the_end_is_no_collapse():
    assert entropy_collapsed([*falling(0.9, 0.1), 0.0], [*falling(0.5, 0.9), 0.9]).status is Status.PASSED


def test_runs_that_logged_none_and_steps_that_were_not_finite_pass():
    assert entropy_collapsed([], []).status is Status.PASSED
    assert entropy_collapsed([None, None], [0.5, None]).status is Status.PASSED
    assert entropy_collapsed([0.9, None, 0.8], [0.5, 0.6, 0.7]).status is Status.PASSED


def test_a_model_that_is_certain_and_never_right_warns():
    assert entropy_collapsed(falling(3.0, 1e-6), [0.0] * 60).status is Status.WARNED

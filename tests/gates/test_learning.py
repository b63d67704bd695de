import math
import random

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.training import (
    loss_is_finite,
    loss_is_learning,
    loss_spikes,
    train_dev_gap,
    weights_moved,
)


def noisy(first, last, steps=150, spread=0.6, seed=0):
    """A training curve as small batches give it: log-normal noise around an exponential fall."""
    rng = random.Random(seed)
    return [
        (last + (first - last) * math.exp(-8 * step / steps)) * math.exp(rng.gauss(0, spread) - spread**2 / 2)
        for step in range(steps)
    ]


def test_a_gradient_that_is_no_number_fails_and_what_was_kept_is_said():
    verdict = loss_is_finite([1.0, 0.9], [2.0, None], "training stopped at step 2 of 9; the adapter is that of step 1")
    assert verdict.status is Status.FAILED
    assert "line 2" in verdict.measured and "step 1" in verdict.measured
    assert loss_is_finite([1.0, 0.9], [2.0, 1.0]).status is Status.PASSED


@pytest.mark.parametrize("seed", range(30))
def test_noise_of_small_batches_is_no_spike(seed):
    assert loss_spikes(noisy(1.6, 0.5, seed=seed)).status is Status.PASSED


def test_a_few_steps_are_no_spike():
    assert loss_spikes([]).status is Status.PASSED
    assert loss_spikes([2.0, 1.0, 0.5]).status is Status.PASSED
    assert loss_spikes([None, 2.0, None]).status is Status.PASSED  # `loss_is_finite` is for those


def test_one_loss_far_above_the_start_warns_and_the_line_is_named():
    losses = noisy(1.6, 0.3, spread=0.1)
    losses[90] = 9.0
    verdict = loss_spikes(losses)
    assert verdict.status is Status.WARNED and "line 91" in verdict.measured


def test_a_loss_that_fell_and_climbs_back_for_good_warns():
    verdict = loss_spikes([*noisy(1.6, 0.1, 75, spread=0.1), *noisy(1.9, 2.2, 75, spread=0.1)])
    assert verdict.status is Status.WARNED and "climbed back" in verdict.measured


def test_an_adapter_that_is_as_it_began_fails():
    assert weights_moved(14, 14, [0.0, 0.0]).status is Status.FAILED
    assert weights_moved(0, 14, [0.0, 0.0]).status is Status.FAILED
    assert weights_moved(14, 14, [1.0, 0.5]).status is Status.FAILED


def test_an_adapter_that_moved_passes_also_where_a_part_of_it_cannot():
    assert weights_moved(0, 14, [1.0, 0.0]).status is Status.PASSED
    assert weights_moved(4, 14, [1.0, 0.5]).status is Status.PASSED
    assert weights_moved(0, 14, []).status is Status.PASSED


def test_a_loss_that_falls_while_the_score_stays_at_the_floor_fails():
    verdict = loss_is_learning((2.0, 0.3), [0.0, 0.0, 0.05], 20, "args_exact")
    assert verdict.status is Status.FAILED
    assert "args_exact 0% -> 0% -> 5%" in verdict.measured
    assert loss_is_learning((2.0, 0.3), [0.0, 0.0], 20, "args_exact", warn=True).status is Status.WARNED


@pytest.mark.parametrize(
    ("losses", "scores"),
    [
        ((2.0, 0.3), [0.0, 0.2, 0.5]),  # it learns
        ((2.0, 0.3), [0.6, 0.6, 0.6]),  # it could do the task before: nothing is gained, and nothing is at the floor
        ((2.0, 0.3), [0.6, 0.2, 0.0]),  # it forgets, which the evaluation shows
        ((2.0, 1.95), [0.0, 0.0]),  # the loss does not fall either: `loss_fell` is for that
        ((2.0, 0.3), []),
    ],
)
def test_a_score_above_the_floor_or_a_loss_that_does_not_fall_is_silent(losses, scores):
    assert loss_is_learning(losses, scores, 20, "args_exact").status is Status.PASSED


def test_a_dev_loss_that_rises_while_that_of_training_falls_warns_and_says_when_it_was_lowest():
    verdict = train_dev_gap(0.05, [2.0, 0.8, 0.9, 1.4])
    assert verdict.status is Status.WARNED
    assert "measurement 2 of 4" in verdict.remedy and "+1.350" in verdict.measured


def test_a_gap_that_does_not_grow_back_is_silent():
    assert train_dev_gap(0.3, [2.0, 0.8, 0.6, 0.6]).status is Status.PASSED
    assert train_dev_gap(0.3, [2.0, 0.60, 0.58, 0.61]).status is Status.PASSED
    assert train_dev_gap(0.001, [2.0, 0.010, 0.005, 0.02]).status is Status.PASSED  # nothing is left to gain
    assert train_dev_gap(0.3, []).status is Status.PASSED

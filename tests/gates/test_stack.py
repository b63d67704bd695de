import math

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.stack import (
    accumulation_invariant,
    checkpoint_room,
    merge_round_trips,
    not_drilled,
    resume_exact,
    rows_do_not_mix,
    weight_one_is_stock,
)

STEPS = [(2.0, 1.0), (1.9, 0.9)]


def nudged(by):
    return [(loss * (1 + by), norm * (1 + by)) for loss, norm in STEPS]


def test_losses_that_differ_by_rounding_are_the_stock_ones():
    assert weight_one_is_stock(nudged(2e-6), STEPS).status is Status.PASSED


@pytest.mark.parametrize("ours", [nudged(2e-3), [(math.nan, 1.0), STEPS[1]], STEPS[:1], []])
def test_losses_that_differ_are_not_nan_is_not_and_missing_steps_are_not(ours):
    verdict = weight_one_is_stock(ours, STEPS, "fused head")
    assert verdict.status is Status.FAILED
    assert "fused head" in verdict.measured and verdict.remedy


def test_a_gradient_of_another_size_is_found_where_the_losses_agree():
    assert weight_one_is_stock([(2.0, 2.0), (1.9, 1.8)], STEPS).status is Status.FAILED


def test_other_micro_batches_give_the_same_step():
    assert accumulation_invariant({"4 x 1": (2.0, 1.0), "1 x 4": (2.000001, 1.000002)}).status is Status.PASSED
    verdict = accumulation_invariant({"4 x 1": (2.0, 1.0), "2 x 2": (2.0, 1.0), "1 x 4": (2.02, 1.0)})
    assert verdict.status is Status.FAILED
    assert "1 x 4 2.020000" in verdict.measured


def test_a_layout_in_which_rows_cost_something_else_is_named():
    assert rows_do_not_mix(3.0, {"padded": 3.0000001, "packed": 2.9999999}).status is Status.PASSED
    verdict = rows_do_not_mix(3.0, {"padded": 3.0, "packed": 3.01})
    assert verdict.status is Status.FAILED and "packed" in verdict.remedy
    assert rows_do_not_mix(3.0, {"padded": math.nan, "packed": 3.0}).status is Status.FAILED


def test_a_resumed_run_has_all_steps_and_the_same_losses():
    assert resume_exact([1.9, 1.8], [1.9, 1.8]).status is Status.PASSED
    assert resume_exact([1.9, 1.8], [1.9, 1.81]).status is Status.FAILED
    assert resume_exact([1.9, 1.8], [1.9]).status is Status.FAILED


def test_a_merge_is_held_to_what_the_adapter_does():
    assert merge_round_trips(1.9, 1e-5, 1e-5).status is Status.PASSED
    assert merge_round_trips(1.9, 1.9, 1.9).status is Status.FAILED  # a no-op
    assert merge_round_trips(1.9, 1e-5, 0.2).status is Status.FAILED  # a save that lost something
    assert merge_round_trips(0.0, 0.0, 0.0).status is Status.FAILED  # an adapter that does nothing shows nothing


def test_checkpoints_need_room():
    assert checkpoint_room(100 << 20, 1 << 30, "runs", 3).status is Status.PASSED
    verdict = checkpoint_room(1 << 30, 1 << 30, "runs", 3)
    assert verdict.status is Status.FAILED and "1.0 GiB" in verdict.measured and "runs" in verdict.measured


def test_a_drill_that_could_not_be_held_is_no_pass():
    assert not_drilled("no tiny twin").status is Status.WARNED

import pytest
import torch

from tunewright.losses.weighting import linear_weights

ENTROPY = torch.tensor([[0.0, 1.0, 3.0, 9.0], [2.0, 2.0, 0.5, 0.0]])
MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 1]])


def test_floor_of_one_gives_the_mask_back():
    assert torch.equal(linear_weights(ENTROPY, MASK, floor=1.0), MASK.float())


def test_weights_of_trained_tokens_have_mean_one():
    weights = linear_weights(ENTROPY, MASK, floor=0.2)
    assert (weights.sum() / MASK.sum()).item() == pytest.approx(1.0, abs=1e-6)


def test_a_certain_token_weighs_the_floor():
    assert linear_weights(ENTROPY, MASK, floor=0.2)[0, 0].item() == pytest.approx(0.2)


def test_untrained_tokens_weigh_nothing_and_change_nothing():
    other = ENTROPY.clone()
    other[MASK == 0] = 100.0
    weights = linear_weights(other, MASK, floor=0.2)
    assert torch.equal(weights, linear_weights(ENTROPY, MASK, floor=0.2))
    assert not weights[MASK == 0].any()


def test_no_gradient_flows_through_the_entropy():
    entropy = ENTROPY.clone().requires_grad_()
    assert not linear_weights(entropy, MASK, floor=0.0).requires_grad


def test_weights_follow_the_formula():
    mean = (0 + 1 + 3 + 2 + 0.5 + 0) / 6
    weights = linear_weights(ENTROPY, MASK, floor=0.25)
    assert weights[0, 2].item() == pytest.approx(0.25 + 0.75 * 3 / mean, rel=1e-6)


def test_all_certain_tokens_weigh_one_each():
    assert torch.equal(linear_weights(torch.zeros(2, 4), MASK, floor=0.2), MASK.float())


def test_a_batch_without_trained_tokens_gives_zeros_and_no_nan():
    assert torch.equal(linear_weights(ENTROPY, torch.zeros(2, 4), floor=0.2), torch.zeros(2, 4))

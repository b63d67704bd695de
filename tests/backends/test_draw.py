import pytest
import torch
from scipy.stats import chisquare

from tunewright.backends.draw import Picker, draw, nucleus_floor
from tunewright.backends.protocol import Sampling


def shares(probs, temperature=1.0, top_p=1.0, draws=20_000):
    uniforms = torch.rand(draws, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = torch.tensor(probs).log().expand(draws, -1)
    found = draw(logits, uniforms, temperature, top_p)
    return torch.bincount(found, minlength=len(probs)).tolist()


def test_words_are_drawn_as_often_as_they_are_likely():
    probs = [0.5, 0.25, 0.15, 0.1]
    assert chisquare(shares(probs), [20_000 * p for p in probs]).pvalue > 0.001


def test_a_temperature_of_one_half_squares_the_probabilities():
    squares = torch.tensor([0.5, 0.25, 0.15, 0.1], dtype=torch.float64) ** 2
    expected = (20_000 * squares / squares.sum()).tolist()
    assert chisquare(shares([0.5, 0.25, 0.15, 0.1], temperature=0.5), expected).pvalue > 0.001


def test_words_outside_the_nucleus_are_never_drawn():
    found = shares([0.1, 0.5, 0.05, 0.35], top_p=0.8)
    assert found[0] == found[2] == 0
    assert chisquare([found[1], found[3]], [20_000 * 0.5 / 0.85, 20_000 * 0.35 / 0.85]).pvalue > 0.001


@pytest.mark.parametrize("top_p", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_the_nucleus_is_that_of_transformers(top_p):
    from transformers import TopPLogitsWarper

    logits = torch.randn(8, 1000, generator=torch.Generator().manual_seed(3)) * 2
    probs = logits.softmax(-1)
    kept = TopPLogitsWarper(top_p)(None, logits) > -torch.inf
    assert torch.equal(probs >= nucleus_floor(probs, top_p), kept)


def test_words_as_likely_as_the_last_one_of_the_nucleus_belong_to_it():
    probs = torch.tensor([[0.25, 0.25, 0.25, 0.25]])
    assert (probs >= nucleus_floor(probs, 0.3)).all()


def test_a_row_draws_its_own_numbers_whatever_stands_beside_it():
    sampling = Sampling(4, temperature=1.0, seed=5)
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(1))
    together, alone = Picker(["a", "b", "c"], sampling), Picker(["b"], sampling)
    for step in range(5):
        rows = [2, 1] if step > 2 else [0, 1, 2]  # "a" leaves, and the order changes
        picked = together.pick(logits[rows], rows)
        assert int(picked[rows.index(1)]) == int(alone.pick(logits[1:2], [0])[0])


def test_another_seed_and_another_row_draw_other_numbers():
    flat = torch.zeros(1, 10_000)
    picks = {
        int(Picker([name], Sampling(1, temperature=1.0, seed=seed)).pick(flat, [0])[0])
        for name in ("a", "b")
        for seed in (1, 2)
    }
    assert len(picks) == 4

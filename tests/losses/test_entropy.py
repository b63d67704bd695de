"""Entropy and its neighbours against plain softmax formulas in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.losses.entropy import high_entropy_mask, token_entropy, token_entropy_from_hidden, token_stats

VOCAB = 4096


def entropy64(logits):
    log_probs = logits.double().log_softmax(-1)
    return -(log_probs.exp() * log_probs).nan_to_num(0.0).sum(-1)


def seeded(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def peaked(height):
    logits = seeded(32, VOCAB)
    logits[:, 7] = height
    return logits


REGIMES = {
    "typical": 2 * seeded(32, VOCAB) + 15,
    "wide": 10 * seeded(32, VOCAB),
    "flat": torch.full((32, VOCAB), 7.0),
    "nearly flat": 1e-3 * seeded(32, VOCAB),
    "peaked": peaked(15.0),
    "very peaked": peaked(25.0),
    "certain": peaked(200.0),
    "offset 1e3": 2 * seeded(32, VOCAB) + 1e3,
    "offset 1e4": 2 * seeded(32, VOCAB) + 1e4,
    "offset -1e4": 2 * seeded(32, VOCAB) - 1e4,
    "two words": torch.cat([torch.zeros(32, 2), torch.full((32, VOCAB - 2), -50.0)], 1),
}


@pytest.mark.parametrize("regime", REGIMES)
def test_entropy_is_exact_to_1e_5_in_float32_and_never_negative(regime):
    logits = REGIMES[regime]
    entropy = token_entropy(logits)
    assert entropy.dtype == torch.float32
    assert (entropy.double() - entropy64(logits)).abs().max() < 1e-5
    assert entropy.min() >= 0


@pytest.mark.parametrize("height", [15.0, 20.0, 25.0])
def test_small_entropies_keep_their_digits(height):
    logits = peaked(height)
    exact = entropy64(logits)
    assert exact.max() < 0.3
    assert ((token_entropy(logits).double() - exact) / exact).abs().max() < 1e-5


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=50),
    st.sampled_from([0.0, 1e2, 1e3, 1e4]),
)
def test_entropy_of_any_logits_lies_between_zero_and_ln_v(row, offset):
    logits = torch.tensor([row], dtype=torch.float32) + offset
    entropy = token_entropy(logits)
    assert 0 <= entropy.item() <= math.log(len(row)) + 1e-5
    assert entropy.item() == pytest.approx(entropy64(logits).item(), abs=1e-5)


def test_flat_logits_have_the_logarithm_of_the_vocabulary():
    assert token_entropy(torch.zeros(3, 1000)).tolist() == pytest.approx([math.log(1000)] * 3, abs=1e-6)


def test_a_vocabulary_of_one_word_has_no_entropy():
    assert token_entropy(torch.full((3, 1), 5.0)).tolist() == [0, 0, 0]


def test_masked_words_take_no_part():
    logits = seeded(8, 20)
    masked = torch.cat([logits, torch.full((8, 5), -torch.inf)], 1)
    assert torch.allclose(token_entropy(masked), token_entropy(logits), atol=1e-7)
    only_one = torch.full((1, 20), -torch.inf).index_fill(1, torch.tensor(3), 1.0)
    assert token_entropy(only_one).item() == 0


def test_gradients_through_masked_words_are_finite():
    logits = torch.cat([seeded(4, 6), torch.full((4, 3), -torch.inf)], 1).requires_grad_()
    token_entropy(logits).sum().backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[:, 6:].any()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_nan_or_an_infinite_logit_makes_its_row_nan_and_no_other(bad):
    logits = seeded(4, 50)
    logits[2, 9] = bad
    assert token_entropy(logits).isnan().tolist() == [False, False, True, False]
    assert token_stats(logits, torch.arange(4)).entropy.isnan().tolist() == [False, False, True, False]


def test_bfloat16_logits_give_float32_entropy_of_their_values():
    logits = (3 * seeded(16, VOCAB)).bfloat16()
    entropy = token_entropy(logits)
    assert entropy.dtype == torch.float32
    assert (entropy.double() - entropy64(logits)).abs().max() < 1e-5


def test_leading_axes_are_kept_and_a_row_does_not_depend_on_its_neighbours():
    logits = seeded(2, 3, 100)
    assert token_entropy(logits).shape == (2, 3)
    assert torch.equal(token_entropy(logits)[1, 2], token_entropy(logits[1, 2]))
    assert token_entropy(torch.zeros(0, 10)).shape == (0,)


def test_the_gradient_of_entropy_is_exact():
    logits = (2 * seeded(3, 7, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(token_entropy, logits)
    (grad,) = torch.autograd.grad(token_entropy(logits).sum(), logits)
    p = logits.softmax(-1)
    mean = (p * logits).sum(-1, keepdim=True)
    assert torch.allclose(grad, -p * (logits - mean))


# ── all statistics ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("regime", REGIMES)
def test_the_statistics_are_the_plain_formulas(regime):
    logits, labels = REGIMES[regime], torch.arange(32) % 9
    stats = token_stats(logits, labels)
    log_probs = logits.double().log_softmax(-1)
    nll = -log_probs.gather(1, labels[:, None])[:, 0]
    assert torch.allclose(stats.nll.double(), nll, rtol=1e-6, atol=1e-5)
    assert torch.allclose(stats.p.double(), (-nll).exp(), rtol=1e-4, atol=1e-7)
    assert torch.allclose(stats.sum_sq.double(), log_probs.exp().square().sum(1), rtol=1e-5)
    assert stats.correct.tolist() == (logits.argmax(1) == labels).tolist()
    assert torch.equal(stats.entropy, token_entropy(logits))
    assert (stats.vocab_size, stats.num_tokens.item()) == (VOCAB, 32)
    assert stats.nll.min() >= 0


def test_normalised_entropy_lies_between_zero_and_one():
    for logits in REGIMES.values():
        hn = token_stats(logits, torch.zeros(32, dtype=torch.long)).normalized_entropy
        assert hn.min() >= 0
        assert hn.max() <= 1


def test_ignored_labels_give_zeros_and_are_not_counted():
    labels = torch.tensor([1, -100, 2, -100])
    stats = token_stats(seeded(4, 30), labels, top_k_entropy=20)
    for column in (stats.nll, stats.entropy, stats.sum_sq, stats.top20_entropy):
        assert (column != 0).tolist() == [True, False, True, False]
    assert not stats.correct[labels == -100].any()
    assert stats.num_tokens.item() == 2


def test_another_ignore_index_is_taken():
    assert token_stats(seeded(3, 30), torch.tensor([0, 1, 2]), ignore_index=0).valid.tolist() == [False, True, True]


@pytest.mark.parametrize("vocab", [20, 30, VOCAB, 7])
def test_top_20_entropy_is_that_of_the_renormalised_best_words(vocab):
    logits = 3 * seeded(16, vocab)
    stats = token_stats(logits, torch.zeros(16, dtype=torch.long), top_k_entropy=20)
    assert torch.allclose(stats.top20_entropy, entropy64(logits.topk(min(20, vocab)).values).float(), atol=1e-6)
    assert stats.top20_entropy.max() <= math.log(20) + 1e-6
    assert token_stats(logits, torch.zeros(16, dtype=torch.long)).top20_entropy is None


def test_nll_and_sum_of_squares_are_differentiable():
    logits = (2 * seeded(3, 7, dtype=torch.float64)).requires_grad_()
    labels = torch.tensor([0, 6, -100])
    assert torch.autograd.gradcheck(lambda z: token_stats(z, labels).nll, logits)
    assert torch.autograd.gradcheck(lambda z: token_stats(z, labels).sum_sq, logits)


def test_the_gradient_at_tied_logits_is_that_of_softmax():
    logits = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    token_stats(logits, torch.tensor([2])).nll.sum().backward()
    assert torch.allclose(logits.grad, torch.tensor([[0.25, 0.25, -0.75, 0.25]], dtype=torch.float64))


def test_some_rows_of_statistics_are_the_statistics_of_some_rows():
    logits, labels = seeded(6, 30), torch.tensor([1, 2, -100, 3, 4, 5])
    some = token_stats(logits, labels, top_k_entropy=20).rows(slice(1, 4))
    alone = token_stats(logits[1:4], labels[1:4], top_k_entropy=20)
    for name in ("nll", "entropy", "sum_sq", "correct", "top20_entropy", "valid"):
        assert torch.equal(getattr(some, name), getattr(alone, name)), name


def test_detached_statistics_have_no_history():
    stats = token_stats(seeded(3, 7).requires_grad_(), torch.tensor([0, 1, 2]))
    assert stats.nll.requires_grad
    assert not stats.detach().nll.requires_grad
    assert not stats.detach().entropy.requires_grad


# ── from hidden states ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("chunk_rows", [1, 5, 13, 100])
def test_entropy_from_hidden_states_is_that_of_the_logits_whatever_the_chunks(chunk_rows):
    hidden, weight, bias = seeded(13, 8), seeded(40, 8, seed=1), seeded(40, seed=2)
    logits = 5.0 * ((0.7 * (hidden.double() @ weight.double().T + bias)) / 5.0).tanh() / 1.5
    found = token_entropy_from_hidden(hidden, weight, bias, 5.0, 0.7, 1.5, chunk_rows)
    assert (found.double() - entropy64(logits)).abs().max() < 1e-5


def test_entropy_from_hidden_states_keeps_leading_axes():
    found = token_entropy_from_hidden(seeded(2, 3, 8), seeded(40, 8))
    assert found.shape == (2, 3)
    assert token_entropy_from_hidden(seeded(0, 8), seeded(40, 8)).shape == (0,)


# ── the high ones ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_mask_takes_the_top_fifth():
    entropy = seeded(1000).abs()
    mask = high_entropy_mask(entropy)
    assert mask.sum() == 200
    assert entropy[mask].min() > entropy[~mask].max()


def test_the_mask_counts_only_what_counts():
    entropy = seeded(4, 250).abs()
    counts = torch.arange(1000).reshape(4, 250) % 2 == 0
    entropy[~counts] = 100.0
    high = high_entropy_mask(entropy, counts.float(), quantile=0.9)
    assert high.sum() == 50
    assert not high[~counts].any()


def test_a_fixed_threshold_is_in_nats():
    entropy = torch.tensor([0.1, 0.672, 2.0])
    assert high_entropy_mask(entropy, threshold=0.672).tolist() == [False, True, True]
    assert high_entropy_mask(entropy, torch.tensor([1, 1, 0]), threshold=0.672).tolist() == [False, True, False]


def test_a_batch_in_which_nothing_counts_has_no_high_tokens():
    assert not high_entropy_mask(seeded(9).abs(), torch.zeros(9)).any()
    assert high_entropy_mask(torch.zeros(0)).shape == (0,)

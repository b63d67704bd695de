"""Thresholds: exact ones against torch.quantile, histograms against exact ones, and the scopes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.losses.selection import (
    Selector,
    Thresholds,
    exact_threshold,
    exact_thresholds,
    kept,
    sequence_thresholds,
)
from tunewright.recipe.sections import EntropyConfig

LEVELS = st.floats(0, 12, allow_subnormal=False) | st.sampled_from([0.0, 0.5, 1.0])  # so that there are ties
QUANTILES = st.floats(0.01, 0.99)


def entropies(n, seed=0):
    """As of a trained model: half of them small, a few large."""
    return (2 * torch.randn(n, generator=torch.Generator().manual_seed(seed)) - 3).exp().clamp(max=11)


# ── exact ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=200, deadline=None)
@given(st.lists(LEVELS, min_size=1, max_size=60), QUANTILES)
def test_the_exact_threshold_takes_what_torch_quantile_takes(levels, quantile):
    values = torch.tensor(levels, dtype=torch.float64)
    rank = quantile * (len(levels) - 1)
    if abs(rank - round(rank)) < 1e-6:  # there torch's own rounding decides
        return
    cut = exact_threshold(values, None, quantile)
    assert torch.equal(values >= cut.threshold, values >= torch.quantile(values, quantile))
    assert cut.threshold in values
    assert cut.share.item() == pytest.approx((values >= cut.threshold).double().mean().item())


@pytest.mark.parametrize(("n", "taken"), [(1, 1), (2, 1), (5, 1), (6, 2), (10, 2), (100, 20), (101, 21), (1001, 201)])
def test_the_top_fifth_of_n_distinct_values(n, taken):
    cut = exact_threshold(torch.randperm(n).float(), None, 0.8)
    assert cut.share.item() == pytest.approx(taken / n)


def test_ties_stay_together_and_the_realised_share_says_so():
    cut = exact_threshold(torch.tensor([0.0] * 5 + [1.0] * 5), None, 0.8)
    assert (cut.threshold.item(), cut.share.item()) == (1.0, 0.5)
    assert exact_threshold(torch.zeros(7), None, 0.8).share.item() == 1


def test_only_what_counts_is_counted():
    values, mask = torch.arange(20.0), torch.arange(20) < 10
    assert exact_threshold(values, mask, 0.8).threshold.item() == 8
    assert exact_threshold(values.reshape(4, 5), mask.reshape(4, 5).float(), 0.8).threshold.item() == 8


def test_where_nothing_counts_nothing_is_taken():
    for cut in (exact_threshold(torch.ones(5), torch.zeros(5), 0.8), exact_threshold(torch.zeros(0), None, 0.8)):
        assert (cut.threshold.item(), cut.share.item()) == (math.inf, 0)


def test_more_values_than_torch_quantile_takes_are_no_problem():
    values = torch.arange(2**24 + 1, dtype=torch.float32)
    with pytest.raises(RuntimeError, match="too large"):
        torch.quantile(values, 0.8)
    assert exact_threshold(values, None, 0.8).share.item() == pytest.approx(0.2, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(LEVELS, st.integers(0, 4), st.booleans()), min_size=1, max_size=60), QUANTILES)
def test_the_threshold_of_a_sequence_is_the_exact_one_of_its_tokens(tokens, quantile):
    levels, sequence, counts = zip(*tokens, strict=True)
    values, ids, mask = torch.tensor(levels), torch.tensor(sequence), torch.tensor(counts)
    found = sequence_thresholds(values, mask, ids, quantile)
    for one in ids.unique():
        exact = exact_threshold(values[ids == one], mask[ids == one], quantile).threshold
        assert (found[ids == one] == exact).all()


def test_sequence_thresholds_of_no_tokens_are_none():
    assert sequence_thresholds(torch.zeros(0), None, torch.zeros(0), 0.8).shape == (0,)


# ── masks of the quantile types ─────────────────────────────────────────────────────────────────────────────────────


def test_dropping_the_top_keeps_exactly_what_taking_it_leaves():
    values = entropies(1000)
    both = [EntropyConfig(type=name, quantile=0.3) for name in ("top_quantile", "drop_top_quantile")]
    top, rest = (kept(config, exact_thresholds(config, values), values, None) for config in both)
    assert torch.equal(rest, ~top)
    assert (top.sum(), rest.sum()) == (300, 700)
    assert exact_thresholds(both[0], values).share.item() == pytest.approx(0.3)
    assert exact_thresholds(both[1], values).share.item() == pytest.approx(0.7)


def test_the_conflict_mask_drops_what_is_low_in_both():
    config = EntropyConfig(type="conflict_mask", quantile=0.5)
    entropy, p = torch.tensor([1.0, 1.0, 5.0, 5.0]), torch.tensor([0.1, 0.9, 0.1, 0.9])
    found = exact_thresholds(config, entropy, p=p)
    assert (found.low_entropy.item(), found.low_p.item()) == pytest.approx((1.0, 0.1))
    assert kept(config, found, entropy, p).tolist() == [False, True, True, True]
    assert found.share.item() == 0.75


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(LEVELS, st.floats(0, 1)), min_size=1, max_size=40), QUANTILES)
def test_the_low_side_is_the_lowest_share_with_its_ties(tokens, quantile):
    entropy, p = torch.tensor(tokens).unbind(1)
    found = exact_thresholds(EntropyConfig(type="conflict_mask", quantile=quantile), entropy, p=p)
    number = math.floor(quantile * (len(tokens) - 1) + 1e-9) + 1
    assert found.low_entropy == entropy.sort().values[number - 1]
    assert found.low_p == p.sort().values[number - 1]


def test_a_missing_threshold_is_told():
    config = EntropyConfig(type="top_quantile")
    with pytest.raises(ValueError, match="Selector"):
        kept(config, Thresholds(), torch.ones(3), None)
    with pytest.raises(ValueError, match="p=p"):
        exact_thresholds(EntropyConfig(type="conflict_mask"), torch.ones(3))


def test_thresholds_of_some_rows_keep_what_holds_for_all():
    found = Thresholds(high_entropy=torch.arange(5.0), low_p=torch.tensor(0.1)).rows(slice(1, 3))
    assert found.high_entropy.tolist() == [1, 2]
    assert found.low_p.item() == pytest.approx(0.1)
    assert found.low_entropy is None


# ── selector ────────────────────────────────────────────────────────────────────────────────────────────────────────


def selector(scope="micro_batch", **fields):
    return Selector(EntropyConfig(type="top_quantile", scope=scope, **fields))


def test_a_micro_batch_is_cut_by_itself():
    values = entropies(50)
    found = selector().thresholds(values)
    assert found.high_entropy == exact_threshold(values, None, 0.8).threshold
    assert selector().current() is None


def test_each_row_of_a_batch_is_a_sequence_of_its_own():
    values, mask = entropies(40).reshape(4, 10), torch.arange(40).reshape(4, 10) % 3 > 0
    found = selector("sequence").thresholds(values, mask)
    for row in range(4):
        assert (found.high_entropy[row] == exact_threshold(values[row], mask[row], 0.8).threshold).all()
    packed = selector("sequence").thresholds(values.flatten(), mask.flatten(), torch.arange(4).repeat_interleave(10))
    assert torch.equal(packed.high_entropy.reshape(4, 10), found.high_entropy)
    assert packed.share == found.share


def test_flat_tokens_without_sequences_are_told():
    with pytest.raises(ValueError, match="sequence_ids"):
        selector("sequence").thresholds(entropies(10))


def test_the_global_batch_is_cut_by_all_its_micro_batches():
    chosen, parts = selector("global_batch"), entropies(900).split(300)
    for part in parts:
        chosen.observe(part)
    found = chosen.current()
    whole = exact_threshold(entropies(900), None, 0.8).threshold.item()
    assert found.high_entropy.item() == pytest.approx(whole, rel=0.004)
    assert found.share.item() == pytest.approx(0.2, abs=0.005)


def test_asking_for_thresholds_counts_the_tokens_too():
    one, other = selector("global_batch"), selector("global_batch")
    for part in entropies(900).split(300):
        one.observe(part)
        last = other.thresholds(part)
    assert one.current() == last


def test_a_step_that_ended_is_forgotten_by_the_global_batch():
    chosen = selector("global_batch")
    chosen.thresholds(100 * entropies(100))
    chosen.end_step()
    assert chosen.thresholds(entropies(100, 1)) == selector("global_batch").thresholds(entropies(100, 1))


def test_ema_cuts_by_the_steps_before_and_knows_it_before_the_forward_pass():
    chosen = selector("ema")
    assert chosen.is_lagged
    assert chosen.current() is None
    first = chosen.thresholds(entropies(1000))  # nothing before it: by itself
    exact = exact_threshold(entropies(1000), None, 0.8).threshold.item()
    assert first.high_entropy.item() == pytest.approx(exact, rel=0.004)
    chosen.end_step()
    assert chosen.current() == first
    assert chosen.thresholds(100 * entropies(1000)) == first
    chosen.end_step()
    assert chosen.current().high_entropy > first.high_entropy


def test_ema_follows_slowly():
    chosen = selector("ema")
    shares = []
    for step in range(60):
        values = entropies(2000, step) * (1 if step < 30 else 2)
        cut = chosen.thresholds(values)
        shares.append((values >= cut.high_entropy).float().mean().item())
        chosen.end_step()
    assert shares[30] > 0.25
    assert sum(shares[20:30]) / 10 == pytest.approx(0.2, abs=0.01)
    assert sum(shares[55:]) / 5 == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize(
    "config",
    [
        EntropyConfig(type="top_quantile", scope="ema"),
        EntropyConfig(type="conflict_mask", scope="ema"),
        EntropyConfig(type="top_quantile", scope="global_batch"),
        EntropyConfig(type="exponential"),
    ],
    ids=lambda config: f"{config.type}-{config.scope}",
)
def test_a_resumed_selector_goes_on_as_if_nothing_had_happened(config, tmp_path):
    whole, first = Selector(config), Selector(config)

    def step(one, number):
        values = entropies(200, number)
        found = one.thresholds(values, p=(-values).exp())
        one.end_step()
        return found

    for number in range(3):
        step(whole, number), step(first, number)
    first.observe(entropies(50), p=torch.full((50,), 0.5)), whole.observe(entropies(50), p=torch.full((50,), 0.5))
    torch.save(first.state_dict(), tmp_path / "state.pt")
    resumed = Selector(config)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert [step(resumed, number) for number in range(3, 6)] == [step(whole, number) for number in range(3, 6)]


def test_the_conflict_mask_of_a_histogram_is_near_the_exact_one():
    entropy = entropies(20_000)
    p = torch.rand(20_000, generator=torch.Generator().manual_seed(1))
    exact = exact_thresholds(EntropyConfig(type="conflict_mask"), entropy, p=p)
    found = Selector(EntropyConfig(type="conflict_mask", scope="global_batch")).thresholds(entropy, p=p)
    assert found.low_entropy.item() == pytest.approx(exact.low_entropy.item(), rel=0.004)
    assert found.low_p.item() == pytest.approx(exact.low_p.item(), rel=0.02)
    assert found.share is None


@pytest.mark.parametrize("name", ["none", "linear", "sigmoid", "dft", "deft", "focal", "threshold_p", "external"])
def test_types_that_cut_nowhere_get_empty_thresholds(name):
    chosen = Selector(EntropyConfig(type=name))
    assert chosen.thresholds(entropies(5)) == Thresholds()
    assert chosen.current() is None
    chosen.end_step()
    assert not chosen.is_accumulated


def test_a_fixed_threshold_needs_no_selector():
    assert selector(None, threshold=0.5).thresholds(entropies(5)) == Thresholds()


def test_the_running_mean_of_exponential_is_known_after_a_step():
    chosen = Selector(EntropyConfig(type="exponential"))
    chosen.thresholds(entropies(1000))
    chosen.end_step()
    assert chosen.current().mean_entropy.item() == pytest.approx(entropies(1000).mean().item(), rel=0.002)


@pytest.mark.parametrize("scope", ["sequence", "micro_batch", "global_batch", "ema"])
def test_a_batch_in_which_nothing_counts_selects_nothing(scope):
    values, mask = entropies(20).reshape(2, 10), torch.zeros(2, 10)
    found = selector(scope).thresholds(values, mask)
    assert not (values >= found.high_entropy).any()
    assert found.share.item() == 0

"""Metrics against plain formulas on all tokens at once."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.losses.entropy import TokenStats, token_stats
from tunewright.losses.metrics import EntropyMeter, histogram_edges

RANDOM = torch.Generator().manual_seed(0)
N = 2000
SPREAD = torch.linspace(0.05, 8, N)[torch.randperm(N, generator=RANDOM)]
LOGITS = torch.randn(N, 50, generator=RANDOM) * SPREAD[:, None]
LABELS = torch.randint(0, 50, (N,), generator=RANDOM)
LABELS[::5] = -100
STATS = token_stats(LOGITS, LABELS)
WEIGHTS = torch.rand(N, generator=RANDOM) * (torch.arange(N) % 3 > 0)
VALID = LABELS != -100


def metered(*batches):
    meter = EntropyMeter()
    for stats, weights in batches:
        meter.add(stats, weights)
    return meter.result()


def test_means_and_shares_are_those_of_the_counted_tokens():
    found = metered((STATS, WEIGHTS * VALID))
    h, nll, w = STATS.entropy[VALID].double(), STATS.nll[VALID].double(), WEIGHTS[VALID].double()
    p = (-nll).exp()
    assert found["tokens"] == VALID.sum()
    assert found["entropy"] == pytest.approx(h.mean().item(), rel=1e-6)
    assert found["nll"] == pytest.approx(nll.mean().item(), rel=1e-6)
    assert found["p"] == pytest.approx(p.mean().item(), rel=1e-6)
    assert found["accuracy"] == pytest.approx((LOGITS.argmax(1) == LABELS)[VALID].double().mean().item())
    assert found["mean_weight"] == pytest.approx(w.mean().item(), rel=1e-6)
    assert found["effective_tokens"] == pytest.approx((w.sum() ** 2 / w.square().sum()).item(), rel=1e-6)
    assert found["selected_share"] == pytest.approx((w > 0).double().mean().item())
    assert found["conflict_share"] == pytest.approx(((h < 0.5) & (p < 0.1)).double().mean().item())
    assert 0 < found["conflict_share"] < 0.5


def test_ignored_tokens_count_nowhere_whatever_their_weight():
    assert metered((STATS, WEIGHTS)) == metered((STATS, WEIGHTS * VALID))


def test_parts_add_up_to_the_whole():
    whole = metered((STATS, WEIGHTS))
    parts = metered(*((STATS.rows(rows), WEIGHTS[rows]) for rows in (slice(0, 3), slice(3, 1500), slice(1500, N))))
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value, rel=1e-9), name


def test_without_weights_every_token_weighs_one():
    found = metered((STATS, None))
    assert (found["mean_weight"], found["selected_share"]) == (1, 1)
    assert found["effective_tokens"] == pytest.approx(found["tokens"])


def test_the_metrics_do_not_depend_on_the_weights_but_for_the_weights():
    one, other = metered((STATS, None)), metered((STATS, WEIGHTS))
    same = set(one) - {"mean_weight", "effective_tokens", "selected_share"}
    assert {name: one[name] for name in same} == {name: other[name] for name in same}


def test_the_histogram_counts_every_token_once_in_64_bins():
    found, edges = metered((STATS, None))["entropy_histogram"], torch.tensor(histogram_edges())
    assert (len(found), len(edges)) == (64, 65)
    assert sum(found) == VALID.sum()
    expected = torch.histogram(STATS.entropy[VALID].clamp(min=1e-6), edges).hist
    assert found == expected.tolist()


def test_tiny_entropies_count_in_the_first_bin():
    stats = TokenStats(torch.ones(3), torch.tensor([0.0, 1e-8, 11.0]), torch.ones(3), torch.ones(3) > 0, 100_000)
    found = metered((stats, None))["entropy_histogram"]
    assert (found[0], sum(found)) == (2, 3)


def test_the_deciles_hold_the_nll_of_a_tenth_of_the_tokens_each():
    order = STATS.entropy[VALID].argsort()
    nll = STATS.nll[VALID].double()[order]
    expected = [part.sum().item() / nll.sum().item() for part in nll.chunk(10)]
    assert metered((STATS, None))["nll_by_entropy_decile"] == pytest.approx(expected, abs=2e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 11), st.floats(0, 20)), min_size=1, max_size=40))
def test_the_deciles_hold_all_of_the_nll(tokens):
    entropy, nll = torch.tensor(tokens).unbind(1)
    stats = TokenStats(nll, entropy, torch.ones_like(nll), nll < 1, 100_000)
    shares = metered((stats, None))["nll_by_entropy_decile"]
    assert min(shares) >= -1e-12
    assert sum(shares) == pytest.approx(1 if nll.sum() > 0 else 0)


def test_nothing_added_gives_zeros_and_no_nan():
    nothing = token_stats(LOGITS[:4], torch.full((4,), -100))
    for found in (metered(), metered((nothing, None)), metered((nothing, torch.ones(4)))):
        assert found["tokens"] == 0
        assert all(value == 0 for name, value in found.items() if not isinstance(value, list))
        assert sum(found["entropy_histogram"]) == sum(found["nll_by_entropy_decile"]) == 0


def test_a_nan_is_not_hidden():
    logits = LOGITS.clone()
    logits[1] = torch.nan
    assert metered((token_stats(logits, LABELS), None))["entropy"] != metered((STATS, None))["entropy"]
    assert metered((token_stats(logits, LABELS), None))["entropy"] != 0


def test_a_reset_forgets_everything():
    meter = EntropyMeter()
    meter.add(STATS, WEIGHTS)
    meter.reset()
    assert meter.result() == EntropyMeter().result()


def test_metrics_are_plain_json():
    assert json.loads(json.dumps(metered((STATS, WEIGHTS))))["tokens"] == VALID.sum()


def test_adding_keeps_no_history():
    logits = LOGITS.clone().requires_grad_()
    meter = EntropyMeter()
    meter.add(token_stats(logits, LABELS))
    assert not meter.sums.requires_grad
    assert not meter.nll_mass.requires_grad

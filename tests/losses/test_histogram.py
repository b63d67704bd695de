"""Histograms against exact thresholds."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.losses.test_selection import LEVELS, QUANTILES, entropies

from tunewright.losses.histogram import EntropyHistogram
from tunewright.losses.selection import exact_threshold, exact_thresholds
from tunewright.recipe.sections import EntropyConfig


@settings(max_examples=100, deadline=None)
@given(st.lists(LEVELS, min_size=1, max_size=60), QUANTILES)
def test_a_histogram_cuts_less_than_a_bin_below_the_exact_threshold(levels, quantile):
    values = torch.tensor(levels)
    exact = exact_threshold(values, None, quantile).threshold.item()
    cut = EntropyHistogram().add(values).threshold(quantile)
    assert cut.threshold.item() <= exact
    assert cut.threshold.item() >= exact / 1.004 or exact < 1e-6
    assert cut.share.item() == pytest.approx((values >= cut.threshold).double().mean().item())


@settings(max_examples=100, deadline=None)
@given(st.lists(LEVELS, min_size=1, max_size=60), QUANTILES)
def test_a_histogram_cuts_less_than_a_bin_above_the_exact_low_threshold(levels, quantile):
    values = torch.tensor(levels)
    exact = exact_thresholds(EntropyConfig(type="conflict_mask", quantile=quantile), values, p=values).low_entropy
    low = EntropyHistogram().add(values).low_threshold(quantile).item()
    assert exact.item() <= low <= max(exact.item() * 1.004, 1e-6)


@pytest.mark.parametrize("quantile", [0.5, 0.8, 0.9, 0.99])
def test_the_realised_share_of_real_entropies_is_right_to_half_a_percent(quantile):
    values = entropies(100_000)
    cut = EntropyHistogram().add(values).threshold(quantile)
    assert cut.share.item() == pytest.approx(1 - quantile, abs=0.005)
    assert cut.threshold.item() == pytest.approx(exact_threshold(values, None, quantile).threshold.item(), rel=0.004)


def test_histograms_add_up():
    values = entropies(999)
    whole = EntropyHistogram().add(values)
    parts = EntropyHistogram().add(values[:300]).merge(EntropyHistogram().add(values[300:]))
    assert torch.equal(whole.counts, parts.counts)
    assert whole.counts.sum() == 999
    with pytest.raises(ValueError, match="different bins"):
        whole.merge(EntropyHistogram(num_bins=10))


def test_what_does_not_count_and_what_is_no_number_is_left_out():
    values = torch.tensor([1.0, 2.0, torch.nan, 3.0])
    assert EntropyHistogram().add(values, torch.tensor([1, 0, 1, 1])).counts.sum() == 2


def test_values_outside_the_bins_count_at_their_ends():
    histogram = EntropyHistogram().add(torch.tensor([0.0, 1e-9, 50.0, torch.inf]))
    assert (histogram.counts[0], histogram.counts[-1]) == (2, 2)
    assert histogram.threshold(0.1).threshold.item() == 0


def test_an_empty_histogram_takes_nothing():
    histogram = EntropyHistogram()
    assert (histogram.threshold(0.8).threshold.item(), histogram.threshold(0.8).share.item()) == (math.inf, 0)
    assert histogram.low_threshold(0.15).item() == -math.inf
    assert histogram.mean().item() == 0


def test_every_edge_belongs_to_the_bin_above_it():
    histogram = EntropyHistogram()
    assert histogram.bins_of(histogram.edges[:-1]).tolist() == list(range(1, 4097))


def test_the_mean_is_right_to_a_fifth_of_a_percent():
    values = entropies(10_000)
    assert EntropyHistogram().add(values).mean().item() == pytest.approx(values.mean().item(), rel=0.002)


def test_saved_counts_are_a_copy_and_come_back():
    histogram = EntropyHistogram().add(entropies(100))
    state = histogram.state_dict()
    histogram.add(entropies(100))
    other = EntropyHistogram()
    other.load_state_dict(state)
    assert other.counts.sum() == 100
    other.add(entropies(5))
    assert state["counts"].sum() == 100


def test_reducing_one_process_gives_a_copy():
    histogram = EntropyHistogram().add(entropies(10))
    reduced = histogram.all_reduce()
    assert torch.equal(reduced.counts, histogram.counts)
    reduced.add(entropies(10))
    assert histogram.counts.sum() == 10

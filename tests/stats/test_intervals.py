import numpy as np
import pytest
from scipy.stats import binom, binomtest

from tunewright.stats.intervals import mean_interval, rate_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (5, 10), (10, 10), (148, 150), (1, 3)])
def test_rate_interval_is_wilsons_formula(successes, trials):
    z = 1.959963984540054
    p = successes / trials
    centre = (p + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    assert rate_interval(successes, trials) == pytest.approx((centre - half, centre + half), abs=1e-12)


def test_rate_interval_of_all_right_does_not_collapse_to_a_point():
    low, high = rate_interval(20, 20)
    assert low < 0.85
    assert high == 1.0


def test_rate_interval_refuses_more_successes_than_trials():
    with pytest.raises(ValueError, match="5 successes in 3"):
        rate_interval(5, 3)


@pytest.mark.parametrize(("trials", "rate"), [(20, 0.97), (50, 0.9), (200, 0.97), (200, 0.5)])
def test_wilson_covers_the_true_rate_by_exact_summation(trials, rate):
    counts = range(trials + 1)
    inside = [k for k in counts if rate_interval(k, trials)[0] <= rate <= rate_interval(k, trials)[1]]
    assert binom.pmf(inside, trials, rate).sum() >= 0.93


def test_mean_interval_of_single_rows_matches_the_standard_error():
    values = np.random.default_rng(1).random(400)
    low, high = mean_interval(list(values), [str(i) for i in range(400)], seed=3)
    half = 1.96 * values.std(ddof=1) / 20
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)


def test_mean_interval_widens_when_rows_come_in_groups_that_agree():
    values = [float(group % 2) for group in range(40) for _ in range(5)]
    alone = mean_interval(values, [str(i) for i in range(200)])
    grouped = mean_interval(values, [str(i // 5) for i in range(200)])
    assert grouped[1] - grouped[0] > 1.8 * (alone[1] - alone[0])


def test_mean_interval_is_the_same_for_the_same_seed():
    values, groups = [0.1, 0.5, 0.9, 0.3], ["a", "b", "c", "d"]
    assert mean_interval(values, groups, seed=5) == mean_interval(values, groups, seed=5)


def test_rate_interval_agrees_with_scipy_at_another_confidence():
    expected = binomtest(7, 31).proportion_ci(0.8, method="wilson")
    assert rate_interval(7, 31, 0.8) == pytest.approx((expected.low, expected.high), abs=1e-13)

import itertools
import math

import numpy as np
import pytest
from scipy.stats import norm, permutation_test, ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar

from tunewright.stats import paired
from tunewright.stats.intervals import rate_interval


def test_mcnemar_is_the_exact_binomial_of_the_discordant_rows():
    by_hand = 2 * sum(math.comb(42, k) for k in range(15)) / 2**42
    assert paired.mcnemar_exact(28, 14) == pytest.approx(by_hand, rel=1e-12)
    assert paired.mcnemar_exact(28, 14) == pytest.approx(0.0436, abs=5e-4)


def test_mcnemar_without_discordant_rows_shows_nothing():
    assert paired.mcnemar_exact(0, 0) == 1.0


def test_mcnemar_does_not_depend_on_which_side_is_which():
    assert paired.mcnemar_exact(3, 17) == paired.mcnemar_exact(17, 3)


def test_newcombe_gives_the_interval_of_his_worked_example():
    # Newcombe 1998, Statistics in Medicine 17:2635, method 10 for the table 36, 12, 2, 0
    assert paired.newcombe_paired(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_outcomes_that_exclude_each_other_add_their_uncertainties():
    low, high = paired.newcombe_paired(0, 29, 1, 0)  # phi is -1
    low_c, high_b = rate_interval(29, 30)[0], rate_interval(1, 30)[1]
    assert low == pytest.approx(28 / 30 - (29 / 30 - low_c) - (high_b - 1 / 30))
    assert high <= 1.0


def test_newcombe_contains_the_difference_and_turns_round_with_the_sides():
    low, high = paired.newcombe_paired(10, 30, 5, 55)
    assert low < 0.25 < high
    assert paired.newcombe_paired(10, 5, 30, 55) == pytest.approx((-high, -low))


def test_newcombe_covers_the_truth():
    rng = np.random.default_rng(2)
    p = np.array([0.3, 0.25, 0.05, 0.4])  # both, gained, lost, neither
    draws = rng.multinomial(150, p, size=500)
    inside = 0
    for counts in draws:
        low, high = paired.newcombe_paired(*map(int, counts))
        inside += low <= 0.2 <= high
    assert inside / 500 >= 0.93


def test_permutation_p_agrees_with_mcnemar_on_binary_rows():
    differences = [1.0] * 28 + [-1.0] * 14 + [0.0] * 178
    groups = [str(i) for i in range(len(differences))]
    assert paired.permutation_p(differences, groups, seed=1) == pytest.approx(0.0436, abs=0.008)


def test_permutation_p_of_no_difference_is_one_and_never_zero_otherwise():
    assert paired.permutation_p([0.0] * 9, list("abcdefghi")) == 1.0
    assert paired.permutation_p([1.0] * 50, [str(i) for i in range(50)]) == pytest.approx(1 / 10_001)


def test_rows_of_one_group_count_as_one_when_flipped():
    differences = [1.0] * 20
    assert paired.permutation_p(differences, ["same"] * 20) == 1.0


def test_false_alarms_of_the_permutation_test_stay_at_five_percent():
    rng = np.random.default_rng(4)
    groups = [str(i) for i in range(40)]
    alarms = sum(paired.permutation_p(list(rng.normal(size=40)), groups, seed=i) < 0.05 for i in range(200))
    assert alarms / 200 < 0.09


def test_mid_p_is_less_than_exact_by_what_was_seen():
    # Fagerland, Lydersen & Laake 2013, BMC Medical Research Methodology 13:91, airway data: 1 against 7
    assert paired.mcnemar_exact(1, 7) == pytest.approx(0.0703, abs=1e-4)
    assert paired.mcnemar_mid_p(1, 7) == pytest.approx(0.0391, abs=1e-4)
    assert paired.mcnemar_mid_p(3, 3) == pytest.approx(1 - math.comb(6, 3) / 2**7)
    assert paired.mcnemar_mid_p(0, 0) == 1.0


def signs(gained, lost, neither=5):
    return [1] * gained + [-1] * lost + [0] * neither


@pytest.mark.parametrize(("gained", "lost"), [(28, 14), (0, 5), (7, 7), (1, 0), (0, 0), (400, 320)])
def test_mcnemar_by_group_is_mcnemar_where_every_row_is_a_group(gained, lost):
    differences = signs(gained, lost)
    groups = [str(at) for at in range(len(differences))]
    assert paired.mcnemar_by_group(differences, groups) == pytest.approx(paired.mcnemar_exact(gained, lost), rel=1e-9)


def test_the_exact_test_is_that_of_statsmodels():
    assert paired.mcnemar_exact(28, 14) == pytest.approx(mcnemar([[100, 28], [14, 78]], exact=True).pvalue)


def test_mcnemar_by_group_counts_all_sign_patterns():
    rng = np.random.default_rng(6)
    differences = rng.integers(-1, 2, 30)
    groups = [str(at // 3) for at in range(30)]
    sums = np.array([differences[3 * at : 3 * at + 3].sum() for at in range(10)])
    totals = [abs(np.dot(pattern, sums)) for pattern in itertools.product((-1, 1), repeat=10)]
    assert paired.mcnemar_by_group(differences, groups) == pytest.approx(np.mean(np.array(totals) >= abs(sums.sum())))


def test_five_groups_cannot_show_anything_however_many_rows_they_have():
    differences, groups = [1] * 500, [str(at // 100) for at in range(500)]
    assert paired.mcnemar_by_group(differences, groups) == pytest.approx(2 / 2**5)
    assert paired.mcnemar_exact(500, 0) < 1e-100


def test_the_permutation_test_is_that_of_scipy():
    rng = np.random.default_rng(7)
    for size in (10, 60):  # all patterns; drawn ones
        differences = rng.normal(0.2, 1, size)
        oracle = permutation_test(
            (differences, np.zeros(size)), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples",
            vectorized=True, n_resamples=20_000, rng=np.random.default_rng(1),
        )  # fmt: skip
        found = paired.permutation_p(differences, [str(at) for at in range(size)], seed=3)
        assert found == pytest.approx(oracle.pvalue, abs=0.012 if size > 13 else 1e-9)


def test_the_permutation_test_draws_in_blocks_that_fit_into_memory():
    size = 5 * paired.BLOCK_CELLS // paired.PERMUTATIONS
    differences = np.random.default_rng(8).normal(0.05, 1, size)
    groups = [str(at) for at in range(size)]
    normal = 2 * norm.sf(abs(differences.sum()) / math.sqrt((differences**2).sum()))
    assert paired.permutation_p(differences, groups, seed=1) == pytest.approx(normal, abs=0.015)


def test_the_interval_of_a_rate_difference_is_newcombes_where_every_row_is_a_group():
    baseline = np.array([1.0] * 36 + [0.0] * 12 + [1.0] * 2)
    candidate = np.array([1.0] * 48 + [0.0] * 2)
    groups = [str(at) for at in range(50)]
    assert paired.difference_interval(baseline, candidate, groups) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_groups_that_agree_widen_the_interval_of_a_rate_difference():
    baseline, candidate = np.zeros(200), np.repeat([1.0, 0.0], 100)
    alone = paired.difference_interval(baseline, candidate, [str(at) for at in range(200)])
    grouped = paired.difference_interval(baseline, candidate, [str(at // 10) for at in range(200)])
    assert grouped[1] - grouped[0] > 2.5 * (alone[1] - alone[0])
    assert paired.difference_interval(baseline, candidate, ["one"] * 200) == (-1.0, 1.0)


def test_the_interval_of_a_mean_difference_is_students():
    differences = np.random.default_rng(9).normal(0.1, 0.2, 400)
    low, high = paired.difference_interval(np.zeros(400), differences, [str(at) for at in range(400)])
    oracle = ttest_1samp(differences, 0).confidence_interval()
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=5e-4)


def test_no_difference_seen_is_not_a_difference_known():
    same = np.full(50, 0.5)
    low, high = paired.difference_interval(same, same, [str(at) for at in range(50)])
    assert 0.03 < high < 0.08 and low == -high


def test_few_large_groups_among_many_small_ones_count_as_few():
    rng = np.random.default_rng(10)
    even, uneven = [str(at // 5) for at in range(100)], [str(max(0, at - 80)) for at in range(100)]
    difference = rng.normal(0, 0.2, 100)
    widths = [np.diff(paired.difference_interval(np.zeros(100), difference, groups)) for groups in (even, uneven)]
    assert len(set(even)) == len(set(uneven)) == 20 and widths[1] > 2 * widths[0]


def test_no_regression_needs_a_margin_and_rows_enough():
    few, many = (paired.newcombe_paired(8 * n, n, n, 10 * n) for n in (2, 100))
    assert not paired.is_not_worse(few, 0.05)
    assert paired.is_not_worse(many, 0.05) and not paired.is_not_worse(many, 0.01)

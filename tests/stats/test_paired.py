import math

import numpy as np
import pytest

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


def test_holm_by_hand():
    assert paired.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0]
    assert paired.holm([]) == []


def test_least_detectable_difference_matches_the_published_table():
    # 10 points at discordance 0.2 need 150 rows for 80% power
    assert paired.least_detectable_difference(150, 0.2 - 0.1**2) == pytest.approx(0.1, abs=0.002)
    # 5 points at discordance 0.1 need 307
    assert paired.least_detectable_difference(307, 0.1 - 0.05**2) == pytest.approx(0.05, abs=0.001)


def test_no_discordant_rows_do_not_make_every_difference_detectable():
    assert paired.discordance_variance(0, 0, 6) > 0
    assert paired.discordance_variance(72, 0, 150) == pytest.approx(0.48 - 0.48**2, abs=0.02)

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.power import NormalIndPower, TTestPower

from tunewright.stats import power


@pytest.mark.parametrize(("rows", "difference", "discordance"), [(150, 0.1, 0.2), (40, 0.2, 0.3), (60, 0.15, 0.15)])
def test_the_power_is_that_of_the_exact_mcnemar_test_by_simulation(rows, difference, discordance):
    rng = np.random.default_rng(1)
    gained, lost = (discordance + difference) / 2, (discordance - difference) / 2
    counts = rng.multinomial(rows, [gained, lost, 1 - gained - lost], size=4000)[:, :2]
    shown = {
        tuple(pair): pair[0] > pair[1] and binomtest(int(pair[0]), int(pair.sum())).pvalue < 0.05
        for pair in np.unique(counts, axis=0)
    }
    simulated = np.mean([shown[tuple(pair)] for pair in counts])
    assert power.paired_power(rows, difference, discordance) == pytest.approx(simulated, abs=0.025)


def test_the_normal_formula_promises_more_than_the_exact_test_holds():
    rows = power.normal_rows(0.1, 0.2 - 0.1**2)
    assert rows == 150  # the published table (Miller 2024's formula)
    assert 0.70 < power.paired_power(rows, 0.1, 0.2) < 0.79


@pytest.mark.parametrize(
    ("difference", "discordance", "rows"),
    [(0.01, 0.05, 3917), (0.05, 0.1, 307), (0.05, 0.2, 621), (0.1, 0.1, 71), (0.1, 0.3, 228)],
)
def test_the_normal_formula_gives_the_published_rows(difference, discordance, rows):
    assert power.normal_rows(difference, discordance - difference**2) == pytest.approx(rows, abs=1)


def test_the_rows_found_reach_the_power_and_one_less_rarely_does():
    rows = power.paired_rows(0.1, 0.2)
    assert 150 < rows < 190
    assert power.paired_power(rows, 0.1, 0.2) >= 0.8 > power.paired_power(rows - 20, 0.1, 0.2)


def test_unpaired_rows_are_those_of_statsmodels():
    assert power.normal_rows(0.1, 2 * 0.25) == 393
    solved = NormalIndPower().solve_power(effect_size=0.1 / 0.5, alpha=0.05, power=0.8)
    assert power.normal_rows(0.1, 2 * 0.25) == pytest.approx(solved, abs=1)


def test_the_least_detectable_mean_is_that_of_statsmodels():
    solved = TTestPower().solve_power(nobs=400, alpha=0.05, power=0.8)
    assert power.least_detectable(1 / 20) == pytest.approx(solved, rel=0.01)


def test_the_least_detectable_difference_has_the_power_it_says():
    least = power.least_detectable_paired(150, 0.2)
    assert power.paired_power(150, least, 0.2) == pytest.approx(0.8, abs=0.005)
    assert 0.1 < least < 0.115


def test_more_rows_and_fewer_discordant_rows_show_smaller_differences():
    assert power.least_detectable_paired(600, 0.2) < power.least_detectable_paired(150, 0.2)
    assert power.least_detectable_paired(600, 0.05) < power.least_detectable_paired(600, 0.2)


@pytest.mark.parametrize("rows", [1, 5])
def test_five_rows_can_show_no_difference_at_all(rows):
    assert power.least_detectable_paired(rows, 0.2) is None


def test_a_difference_cannot_be_larger_than_the_discordance_and_lifts_it():
    assert power.paired_power(100, 0.3, 0.1) == power.paired_power(100, 0.3, 0.3)


def test_groups_count_as_fewer_rows():
    assert power.kish_effect(1, 0.9) == 1
    assert power.kish_effect(5, 0.5) == 3


def test_before_an_evaluation_one_sentence_says_what_it_could_show():
    told = power.detectable_before(150)
    assert told.startswith("A paired comparison on 150 rows shows a true difference of 10.")
    assert told.endswith("points or more with 80% power, if the two sides disagree on 20% of the rows.")


def test_before_an_evaluation_groups_are_told_from_both_ends():
    told = power.detectable_before(150, 30)
    assert "150 rows in 30 groups" in told and "if the rows of a group stand and fall together" in told
    assert "no size" in power.detectable_before(4)

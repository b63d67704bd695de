import numpy as np
import pytest

from tunewright.stats.judge import Calibration, corrected_rate

KNOWN = Calibration(right_passed=90, right_failed=10, wrong_passed=15, wrong_failed=85)


def test_the_correction_undoes_the_errors_of_the_judge():
    # 60% right: the judge passes 0.6 * 0.9 + 0.4 * 0.15 = 60%; 80% right: 75%
    assert corrected_rate(600, 1000, KNOWN).value == pytest.approx(0.6)
    assert corrected_rate(750, 1000, KNOWN).value == pytest.approx(0.8)
    assert corrected_rate(750, 1000, KNOWN).judged == 0.75


def test_a_flawless_judge_that_was_checked_often_changes_little():
    known = Calibration(5000, 0, 0, 5000)
    found = corrected_rate(700, 1000, known)
    assert found.value == 0.7
    assert (found.low, found.high) == pytest.approx((0.671, 0.728), abs=0.002)


def test_few_labels_widen_the_interval():
    few = Calibration(9, 1, 2, 8)
    many = Calibration(900, 100, 200, 800)
    wide, narrow = corrected_rate(600, 1000, few), corrected_rate(600, 1000, many)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


@pytest.mark.parametrize(("truth", "sensitivity", "specificity"), [(0.5, 0.9, 0.8), (0.9, 0.95, 0.7), (0.2, 0.8, 0.95)])
def test_the_interval_covers_the_truth_with_the_noise_of_the_calibration(truth, sensitivity, specificity):
    rng, inside, naive = np.random.default_rng(1), 0, 0
    for _ in range(2000):
        passed = rng.binomial(300, truth * sensitivity + (1 - truth) * (1 - specificity))
        hits, rejections = rng.binomial(60, sensitivity), rng.binomial(60, specificity)
        found = corrected_rate(int(passed), 300, Calibration(hits, 60 - hits, 60 - rejections, rejections))
        inside += found.low <= truth <= found.high
        naive += abs(found.judged - truth) < 1.96 * np.sqrt(found.judged * (1 - found.judged) / 300)
    assert 0.93 <= inside / 2000 <= 0.985
    assert naive < inside


def test_a_judge_no_better_than_a_coin_is_refused():
    with pytest.raises(ValueError, match="no better than a coin"):
        corrected_rate(50, 100, Calibration(50, 50, 50, 50))
    with pytest.raises(ValueError, match="people labelled"):
        corrected_rate(50, 100, Calibration(50, 50, 0, 0))

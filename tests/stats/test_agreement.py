import math

import krippendorff
import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa

from tunewright.stats.agreement import cohen_kappa, krippendorff_alpha


def two_raters(num=100, seed=1, labels=3, noise=0.2):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, labels, num)
    second = np.where(rng.random(num) < noise, rng.integers(0, labels, num), first)
    return first.tolist(), second.tolist()


@pytest.mark.parametrize(("weights", "scikits"), [("nominal", None), ("linear", "linear"), ("quadratic", "quadratic")])
def test_kappa_is_that_of_scikit_learn(weights, scikits):
    first, second = two_raters()
    assert cohen_kappa(first, second, weights).value == pytest.approx(cohen_kappa_score(first, second, weights=scikits))


def test_labels_may_be_words():
    found = cohen_kappa(["pass", "fail", "pass", "pass"], ["pass", "fail", "fail", "pass"])
    assert found.value == pytest.approx(cohen_kappa_score([1, 0, 1, 1], [1, 0, 0, 1]))


def test_the_bootstrap_interval_of_kappa_is_close_to_the_asymptotic_one():
    first, second = two_raters(num=400)
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1)
    asymptotic = cohens_kappa(table)
    found = cohen_kappa(first, second, seed=3)
    assert (found.low, found.high) == pytest.approx((asymptotic.kappa_low, asymptotic.kappa_upp), abs=0.015)
    assert found.num_units == 400


def test_raters_who_agree_in_nine_of_ten_may_agree_by_chance_only():
    right = [1] * 90 + [0] * 10
    other = [1] * 81 + [0] * 9 + [1] * 9 + [0]
    assert cohen_kappa(right, other).value == pytest.approx(0, abs=1e-12)


def test_groups_widen_the_interval_of_kappa():
    first, second = two_raters(num=40)
    repeated = [label for label in first for _ in range(5)], [label for label in second for _ in range(5)]
    alone = cohen_kappa(*repeated)
    grouped = cohen_kappa(*repeated, groups=[str(at // 5) for at in range(200)])
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.8 * (alone.high - alone.low)


def test_one_label_only_is_no_agreement_and_no_crash():
    found = cohen_kappa([1, 1, 1], [1, 1, 1])
    assert math.isnan(found.value) and math.isnan(found.low)
    with pytest.raises(ValueError, match="against"):
        cohen_kappa([1], [1, 2])


def three_raters_with_holes(seed=2, num=40):
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 6, num)
    ratings = np.clip(truth + rng.integers(-1, 2, (3, num)), 1, 5).astype(float)
    ratings[rng.random((3, num)) < 0.2] = np.nan
    return ratings


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_that_of_the_package_krippendorff(level):
    ratings = three_raters_with_holes()
    oracle = krippendorff.alpha(reliability_data=ratings, level_of_measurement=level)
    found = krippendorff_alpha(_given(ratings), level)
    assert found.value == pytest.approx(oracle, abs=1e-12)
    assert found.low < found.value < found.high <= 1


def test_alpha_without_a_row_of_two_ratings_is_refused():
    with pytest.raises(ValueError, match="two ratings"):
        krippendorff_alpha([[1.0, None], [None, 2.0]])


def test_the_interval_of_alpha_covers_what_a_large_sample_shows():
    large = krippendorff_alpha(_given(three_raters_with_holes(num=1000)), "interval")
    inside = 0
    for seed in range(60):
        found = krippendorff_alpha(_given(three_raters_with_holes(seed=seed, num=60)), "interval", seed=seed)
        inside += found.low <= large.value <= found.high
    assert inside >= 51


def _given(ratings):
    return [[None if np.isnan(value) else value for value in rater] for rater in ratings]

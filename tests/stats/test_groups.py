import numpy as np
import pytest
import statsmodels.api as sm

from tunewright.stats.groups import design_effect, group_sums, standard_error


def clustered(seed=1, groups=30):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, groups)
    index = np.repeat(np.arange(groups), sizes)
    values = rng.normal(size=groups)[index] + rng.normal(size=len(index))
    return values, [f"g{at}" for at in index], index


def test_the_clustered_error_is_that_of_statsmodels():
    values, groups, index = clustered()
    fitted = sm.OLS(values, np.ones(len(values))).fit()
    robust = fitted.get_robustcov_results("cluster", groups=index, use_correction=True, df_correction=True)
    # statsmodels multiplies C/(C-1) by (n-1)/(n-k), which is 1 for a mean
    assert standard_error(values, groups) == pytest.approx(float(robust.bse[0]), rel=1e-12)


def test_the_error_of_rows_that_stand_alone_is_the_usual_one():
    values = np.random.default_rng(2).random(50)
    usual = values.std(ddof=1) / np.sqrt(50)
    assert standard_error(values, [str(at) for at in range(50)]) == pytest.approx(usual, rel=1e-12)


def test_one_group_says_nothing_of_others():
    assert standard_error([1.0, 0.0, 1.0], ["a"] * 3) == np.inf


def test_groups_that_agree_count_as_one_row_each():
    values = [float(group % 2) for group in range(40) for _ in range(5)]
    assert design_effect(values, [str(at // 5) for at in range(200)]) == pytest.approx(5, rel=0.03)


def test_a_design_effect_is_never_below_one():
    values = [0.0, 1.0] * 20  # every group disagrees with itself
    assert design_effect(values, [str(at // 2) for at in range(40)]) == 1.0
    assert design_effect([1.0] * 6, list("aabbcc")) == 1.0


def test_sums_stand_in_the_order_of_the_names():
    sums, sizes = group_sums([1.0, 2.0, 4.0], ["b", "a", "b"])
    assert (list(sums), list(sizes)) == ([2.0, 5.0], [1.0, 2.0])

import numpy as np
import pytest
from scipy.stats import bootstrap

from tunewright.stats.bootstrap import BLOCK_CELLS, bootstrap_interval, cluster_draws, macro_interval, macro_mean


def skewed(num=60):
    return np.random.default_rng(4).exponential(size=num)


def alone(values):
    return [str(at) for at in range(len(values))]


@pytest.mark.parametrize(("method", "scipys"), [("bca", "BCa"), ("percentile", "percentile")])
def test_the_interval_of_single_rows_is_that_of_scipy(method, scipys):
    values = skewed()
    oracle = bootstrap((values,), np.mean, n_resamples=20_000, method=scipys, rng=np.random.default_rng(1))
    found = bootstrap_interval(values, alone(values), seed=2, method=method)
    assert found == pytest.approx(tuple(oracle.confidence_interval), abs=0.012)  # noise of the draws


def test_bca_leans_to_the_side_of_the_skew():
    values = skewed()
    low, high = bootstrap_interval(values, alone(values))
    assert high - values.mean() > values.mean() - low


def test_groups_that_agree_widen_the_interval():
    values = [float(group % 2) for group in range(40) for _ in range(5)]
    single, grouped = (
        bootstrap_interval(values, groups) for groups in (alone(values), [str(at // 5) for at in range(200)])
    )
    assert grouped[1] - grouped[0] > 1.8 * (single[1] - single[0])


def test_equal_values_and_one_group_make_a_point():
    assert bootstrap_interval([0.5] * 4, list("abcd")) == (0.5, 0.5)
    assert bootstrap_interval([0.0, 1.0], ["a", "a"]) == (0.5, 0.5)


def test_draws_come_in_blocks_and_are_those_of_the_seed():
    num_groups = BLOCK_CELLS // 30
    blocks = list(cluster_draws(num_groups, seed=1, num_draws=70))
    assert [len(block) for block in blocks] == [30, 30, 10]
    assert all((block.sum(1) == num_groups).all() for block in blocks)
    again = next(iter(cluster_draws(num_groups, seed=1, num_draws=70)))
    assert (blocks[0] == again).all()


def macro_sample(rng):
    """One large and one small category, in groups of four that agree."""
    categories = np.repeat(["large", "small"], [240, 120])
    groups = np.arange(360) // 4
    latent = rng.normal(size=90)[groups] + rng.normal(size=360)
    return (
        (latent > np.where(categories == "large", 0.0, -1.0)).astype(float),
        categories.tolist(),
        [str(g) for g in groups],
    )


def test_a_macro_average_weighs_categories_alike():
    assert macro_mean([1, 1, 1, 0], ["a", "a", "a", "b"]) == 0.5


def test_the_macro_interval_covers_the_truth():
    rng, truth = np.random.default_rng(5), (0.5 + 0.7602) / 2  # P(N(0, 2) > -1) = 0.7602
    ends = [macro_interval(*macro_sample(rng), seed=at) for at in range(200)]
    assert 0.91 <= np.mean([low <= truth <= high for low, high in ends]) <= 0.985


def test_a_group_that_spans_categories_is_drawn_as_one():
    # Every group has one right row in `a` and one wrong row in `b`, or the other way round: the macro mean never moves.
    values = [1.0, 0.0, 0.0, 1.0] * 10
    categories = ["a", "b"] * 20
    groups = [str(at // 2) for at in range(40)]
    low, high = macro_interval(values, categories, groups)
    assert (low, high) == (0.5, 0.5)

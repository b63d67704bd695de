import numpy as np
import pytest
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from tunewright.stats.corrections import benjamini_hochberg, holm

CASES = [
    [0.01, 0.04, 0.03],
    [0.9, 0.8],
    [0.001, 0.001, 0.5, 0.02],
    [0.05],
    list(np.random.default_rng(3).random(40) ** 3),
]


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == [] == benjamini_hochberg([])


@pytest.mark.parametrize("p_values", CASES)
def test_holm_is_that_of_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-12)


@pytest.mark.parametrize("p_values", CASES)
def test_benjamini_hochberg_is_that_of_scipy(p_values):
    assert benjamini_hochberg(p_values) == pytest.approx(false_discovery_control(p_values), abs=1e-12)

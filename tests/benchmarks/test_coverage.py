"""The short twin of benchmarks/coverage.py: fewer draws, so bounds are three standard errors wider."""

import math

import numpy as np
import pytest
from benchmarks.coverage import (
    DESIGNS,
    LEAST,
    MOST,
    difference_coverage,
    false_alarms,
    graded,
    one_system,
    score_coverage,
    two_systems,
    zero_one,
)

from tunewright.stats.intervals import rate_interval
from tunewright.stats.paired import mcnemar_exact

ALONE, FOURS, TENS, UNEVEN = DESIGNS[0], *DESIGNS[2:]
SAMPLES, COMPARISONS = 400, 300


def noise(share, draws):
    return 3 * math.sqrt(share * (1 - share) / draws)


@pytest.mark.parametrize("kind", ["0/1", "graded"])
@pytest.mark.parametrize("of", [score_coverage, difference_coverage])
@pytest.mark.parametrize(
    ("design", "num_rows", "rate"),
    [(ALONE, 20, 0.97), (ALONE, 200, 0.9), (FOURS, 200, 0.5), (UNEVEN, 50, 0.9), (TENS, 200, 0.97)],
)
def test_printed_intervals_cover_what_they_say(kind, of, design, num_rows, rate):
    cell = of(kind, design, num_rows, rate, SAMPLES, np.random.default_rng(1))
    assert cell.coverage >= LEAST - noise(LEAST, SAMPLES)
    assert num_rows < 200 or cell.coverage <= MOST + noise(MOST, SAMPLES)


def test_intervals_that_take_every_row_by_itself_do_not():
    scores = zero_one(one_system(UNEVEN.groups(200), 0.3, SAMPLES, np.random.default_rng(1)), 0.5)
    ends = [rate_interval(int(row.sum()), 200) for row in scores]
    assert np.mean([low <= 0.5 <= high for low, high in ends]) < 0.88


@pytest.mark.parametrize(("design", "num_rows"), [(ALONE, 50), (FOURS, 50)])
def test_a_system_is_rarely_called_better_or_worse_than_itself(design, num_rows):
    alarms = false_alarms(design, num_rows, 0.7, COMPARISONS)
    assert alarms.any_verdict <= 0.05 + noise(0.05, COMPARISONS)
    assert alarms.gate_passed <= 0.025 + noise(0.025, COMPARISONS) >= alarms.gate_failed


def test_mcnemar_on_the_rows_of_groups_alarms_far_too_often():
    old, new = two_systems(TENS.groups(200), 0.3, SAMPLES, np.random.default_rng(2))
    differences = zero_one(new, 0.5) - zero_one(old, 0.5)
    alarms = [mcnemar_exact(int((row > 0).sum()), int((row < 0).sum())) < 0.05 for row in differences]
    assert np.mean(alarms) > 0.12


@pytest.mark.parametrize("mean", [0.5, 0.9, 0.97])
def test_graded_scores_have_the_mean_that_they_are_drawn_with(mean):
    drawn = graded(np.random.default_rng(3).normal(size=(200, 200)), mean)
    assert drawn.mean() == pytest.approx(mean, abs=0.008)
    assert 0 < np.mean((drawn > 0) & (drawn < 1)) < 0.5

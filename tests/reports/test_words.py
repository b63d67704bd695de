import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_run import paired, score_rows

from tunewright.reports import words


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.48, "48%"),
        (73 / 150, "48.7%"),
        (0.0004, "<0.1%"),
        (0.9996, ">99.9%"),
        (0.005, "0.5%"),
    ],
)
def test_a_rate_is_percent_and_never_rounded_to_none_or_all(rate, text):
    assert words.percent(rate) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [(0.48, "+48 points"), (-0.033, "−3.3 points"), (0.01, "+1 point"), (0.0, "0 points"), (-1e-9, "0 points")],
)
def test_a_difference_is_in_points_with_its_sign(difference, text):
    assert words.points(difference) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "p < 1e-12"),
        (1e-13, "p < 1e-12"),
        (3.2e-5, "p = 3e-5"),
        (0.0312, "p = 0.031"),
        (0.42, "p = 0.42"),
        (1.0, "p = 1"),
    ],
)
def test_a_p_value_has_the_digits_that_matter(p, text):
    assert words.p_value(p) == text


@given(st.floats(0, 1))
def test_no_p_value_above_the_least_is_printed_as_zero(p):
    assert words.p_value(p) not in ("p = 0", "p = 0.0")


def test_an_interval_below_zero_has_real_minus_signs():
    assert words.interval(-0.031, 0.05) == "−3.1 to 5"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.3124, "0.312"),
        (12.44, "12.4"),
        (1040.2, "1,040"),
        (2.5e-4, "2.5e-4"),
        (1e-5, "1e-5"),
        (-0.5, "−0.5"),
        (-3e-5, "−3e-5"),
        (-2000, "−2,000"),
        (999.4, "999"),
        (999.7, "1,000"),
        (1e300, "∞"),
        (-sys.float_info.max, "−∞"),
    ],
)
def test_a_number_of_any_size_is_short(value, text):
    assert words.significant(value) == text


def test_a_time_that_is_none_comes_back_as_it_is():
    assert words.moment("2026-11-21T05:28:00+00:00") == "21 November 2026, 05:28 UTC"
    assert words.moment("yesterday") == "yesterday"
    assert words.moment(None) == "–"


def test_the_verdict_says_metric_difference_interval_p_and_n():
    test = paired(score_rows(0.0, 1), score_rows(0.48, 3), "args_exact")
    told = words.claim(test, "better", model="hub/SmolLM2-135M", suite="tool-calls") + words.evidence(test, 0.95)
    assert told.startswith("SmolLM2-135M calls tools better: args exact 0% → 45.3%")
    assert told.endswith("+45.3 points, 95% interval 37.4 to 53.3, p < 1e-12, n = 150")


def test_what_is_not_shown_is_not_called_better_or_worse():
    test = paired(score_rows(0.0, 1), score_rows(0.01, 3), "args_exact")
    assert words.claim(test, "not shown", model="m", suite="tool-calls").startswith(
        "Not shown that m calls tools better"
    )


def test_what_a_terminal_would_obey_is_shown_by_name():
    assert words.printable("a\x1b[31m\u202eb\n\tc") == "a⟨U+001B⟩[31m⟨U+202E⟩b\n\tc"


def test_what_is_no_rate_is_said_as_a_number():
    rate, number = words.Unit.of((0.0, 0.48)), words.Unit.of((12.34, 9.1))
    assert [rate.value(0.48), rate.difference(-0.1), rate.interval(0.1, 0.2)] == ["48%", "−10 points", "10 to 20"]
    assert [number.value(12.34), number.difference(2.5), number.difference(-2.5)] == ["12.3", "+2.5", "−2.5"]
    assert number.interval(-3.21, 0.5) == "−3.21 to 0.5"

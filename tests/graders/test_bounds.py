import time

import pytest

from tunewright.graders.bounds import bounds_of
from tunewright.graders.formula import parse_formula

RANGES = {"a": (0.0, 1.0), "b": (0.0, 1.0), "c": (1.0, 7.0), "d": (-1.0, 1.0)}


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("0.8 * a + 0.2 * b", 0, 1), ("a - 0.2 * b", -0.2, 1), ("3 * a - b - 1", -2, 2), ("(c - 1) / 6 * a", 0, 1),
        ("1 / c", 1 / 7, 1), ("a ^ b", 0, 1), ("d ^ 2", 0, 1), ("d ^ 3", -1, 1), ("-d", -1, 1),
        ("abs(a - 0.3)", 0, 0.7), ("abs(c)", 1, 7),
        ("floor(a) + ceil(b) + exp(a - a) + sqrt(b) + log(c / c)", 1, 4),
    ],
)  # fmt: skip
def test_the_bounds_of_a_formula_are_its_lowest_and_highest_value(text, low, high):
    assert bounds(text) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("a - 0.2 * a * b", 0, 1), ("a * (1 - b) + b", 0, 1), ("a + a", 0, 2), ("a - a", 0, 0),
        ("min(a, b) - max(a, b)", -1, 0),
        ("4 * a * (1 - a)", 0, 1), ("max(a, 1.3 - a)", 0.65, 1.3), ("a * (1 - a) * b * (1 - b)", 0, 1 / 16),
        ("abs(a - b) * max(a, b) - a * b", -1, 1),
    ],
)  # fmt: skip
def test_a_part_that_stands_there_twice_does_not_widen_the_bounds(text, low, high):
    assert bounds(text) == pytest.approx((low, high), abs=1e-8)


@pytest.mark.parametrize(
    ("text", "found"),
    [("a / (a + b)", (0, 1)), ("sqrt(a - b)", (0, 1)), ("a / b", (0, 1)), ("log(a - 2)", None), ("exp(c * 1000)", None),
     ("d ^ a", (-1, 1))],
)  # fmt: skip
def test_scores_without_a_value_are_left_out(text, found):
    assert (bounds(text) or (None,)) == (pytest.approx(found) if found else (None,))


def test_many_parts_take_no_time():
    names = [f"p{n}" for n in range(60)]
    began = time.process_time()
    found = bounds_of(parse_formula(" + ".join(names), names), dict.fromkeys(names, (0.0, 1.0)))
    twice = bounds_of(parse_formula(" + ".join(f"{n} * {n}" for n in names), names), dict.fromkeys(names, (0.0, 1.0)))
    assert found == twice == (0.0, 60.0)
    assert time.process_time() - began < 10


def bounds(text):
    return bounds_of(parse_formula(text, list(RANGES)), RANGES)

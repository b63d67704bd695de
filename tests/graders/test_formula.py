import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.graders.formula import FUNCTIONS, FormulaError, parse_formula

VALUES = {"a": 0.5, "b": 0.25, "c": 4.0}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(a + b) / 2", 0.375),
        ("0.8 * a + 0.2 * b", 0.45),
        ("a + b ^ 2", 0.5625),
        ("2 ^ 3 ^ 2", 512.0),
        ("-c ^ 2", -16.0),
        ("c ^ -1", 0.25),
        ("min(a, b, c) + max(a, b)", 0.75),
        ("abs(-a) + floor(1.9) + ceil(1.1) + exp(0) + sqrt(c) + log(1)", 0.5 + 1 + 2 + 1 + 2 + 0),
        ("a ** 2", 0.25),
    ],
)
def test_formulas_have_the_value_of_arithmetic(text, value):
    assert parse_formula(text, list(VALUES))(VALUES) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    [
        "d", "a.real", "__import__('os')", "(lambda: 1)()", "a if b else c", "a and b", "a < b", "[a][0]", "a @ b",
        "a // b", "a % b", "'x' * 9", "True", "1j", "min(a)", "abs(a, b)", "max(*[a])", "pow(a, b)", "a := 1", "",
        "a b",
        "+".join(["a"] * 400), "(" * 300 + "a" + ")" * 300, "a" * 3000, "f'{a}'", "min(a, key=b)", "a; b", "~1",
    ],
)  # fmt: skip
def test_whatever_is_no_arithmetic_is_refused(text):
    with pytest.raises(FormulaError):
        parse_formula(text, list(VALUES))


@pytest.mark.parametrize(
    "text",
    ["a / (b - 0.25)", "sqrt(-a)", "log(0 * a)", "exp(c * 1000)", "10 ^ 400 * a", "(0 - a) ^ 0.5", "9e307 * c * c"],
)
def test_a_formula_without_a_value_is_an_error_and_not_a_number(text):
    with pytest.raises(FormulaError):
        parse_formula(text, list(VALUES))(VALUES)


def test_the_variables_come_in_the_order_of_their_use_and_functions_are_none():
    assert parse_formula("max(b, a) + min(b, 1)", list(VALUES)).names == ("b", "a")


# in whole numbers Python would compute 9 ^ 8 ^ 9 for days
LEAVES = st.one_of(st.sampled_from(list(VALUES)), st.integers(0, 9).map(lambda number: f"{number}.0"))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/^"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["abs", "sqrt"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
    ),
    max_leaves=12,
)


@given(TREES)
def test_every_formula_has_the_value_that_python_gives_it(text):
    formula = parse_formula(text, list(VALUES))
    names = {**VALUES, **FUNCTIONS, "__builtins__": {}}
    try:
        wanted = eval(text.replace("^", "**"), names)
    except (ArithmeticError, ValueError, TypeError):
        wanted = None
    if isinstance(wanted, int | float) and math.isfinite(wanted) and abs(wanted) < 1e300:
        assert formula(VALUES) == pytest.approx(wanted)

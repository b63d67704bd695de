import time

import pytest

from tunewright.suites.formula import is_formula, is_literal


@pytest.mark.parametrize(
    "text",
    ["3 + 4*(5 - 1)/2", "(8-4)*(7-1)", "x**2/2 + C", "-3*x*exp(-2*x) + sin(x)**2 + C", "x**(-1/2)",
     "2*x**5*y**4 + 3*x**4*y**5", "(x + 1)**3 - 4", "asin(x)/2 + log(x)", ".5*x"],
)  # fmt: skip
def test_plain_formulas_are_formulas(text):
    assert is_formula(text)


@pytest.mark.parametrize(
    "text",
    ["", "x = 4", "__import__('os').system('id')", "().__class__", "x.diff", "[1][0]", "{1}", "lambda x: x", "'a'",
     "9**9**9", "((9**99)**99)**99", "9**(9**9)", "9**exp(9)", "2**1000000", "9" * 30, "1e999999999", "open(x)", "x; y",
     "é", "9!", "x**", "2**(x"],
)  # fmt: skip
def test_nothing_that_reaches_further_or_never_ends_is_a_formula(text):
    assert not is_formula(text)


def test_a_formula_of_numbers_has_no_names():
    assert is_formula("(1 + 2)*3", names=False)
    assert not is_formula("exp(9)", names=False)


@pytest.mark.parametrize(
    "text", ["[1, 2, 3]", "[['Q', '_'], ['_', 'Q']]", "Q _\n_ Q", "1 2 3", "ABCD", "'ABCD'", "-1, 2"]
)
def test_literals_and_plain_words_are_literal(text):
    assert is_literal(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "[x for x in open('/etc/passwd')]",
        "f'{1}'",
        "().__class__",
        "9**9",
        "[0]*9999999999",
        "a.b",
        "print(1)",
    ],
)
def test_what_would_be_run_is_not(text):
    assert not is_literal(text)


def test_both_take_linear_time():
    began = time.process_time()
    for text in ("(" * 100_000, "1 " * 100_000, "x**" * 100_000, "[" * 100_000, " " * 100_000):
        assert not is_formula(text)
        is_literal(text)
    assert time.process_time() - began < 10

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.graders.linear_regex import LinearRegex, PatternError

ATOMS = st.one_of(
    st.sampled_from(
        [
            "a",
            "b",
            "ab",
            ".",
            r"\d",
            r"\w",
            r"\s",
            r"\W",
            "[ab]",
            "[^a]",
            "[a-c1]",
            r"\b",
            r"\B",
            "^",
            "$",
            r"\A",
            r"\Z",
            "",
        ]
    ),
)
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "*?", "+?", "??", "{2,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        inner.map(lambda text: f"({text})"),
    ),
    max_leaves=8,
)
TEXTS = st.text(alphabet="abAB1 \n_é", max_size=12)
FLAGS = st.sampled_from([0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.MULTILINE | re.DOTALL])


@given(PATTERNS, TEXTS, FLAGS)
@settings(max_examples=600, deadline=None)
def test_it_matches_exactly_where_python_s_own_engine_does(pattern, text, flags):
    ours, theirs = LinearRegex(pattern, flags), re.compile(pattern, flags)
    assert ours.search(text) == (theirs.search(text) is not None)
    assert ours.fullmatch(text) == (theirs.fullmatch(text) is not None)


@pytest.mark.parametrize(
    "pattern", [r"(a+)+b", r"(a|a)*b", r"(a*)*b", r"(.*)*,(.*)*,x", r"(\w+\s?)*:", r"a*a*a*a*a*a*b"]
)
def test_patterns_that_hang_other_engines_take_linear_time(pattern):
    began = time.process_time()
    assert not LinearRegex(pattern).search("a" * 20_000)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        r"(?=a)b",
        r"(?!a)b",
        r"(?<=a)b",
        r"(?P<x>a)(?P=x)",
        r"(?>a+)b",
        r"a++",
        r"(a",
        "[",
        r"(?a)\w",
        "a{1000}{1000}",
        "(" * 60 + "a" + "{9}" * 0 + "){9}" * 60,
    ],
)
def test_what_cannot_be_matched_in_linear_time_is_refused(pattern):
    with pytest.raises(PatternError):
        LinearRegex(pattern)


def test_a_text_that_is_too_long_for_the_pattern_is_refused_and_not_cut():
    with pytest.raises(ValueError, match="too many"):
        LinearRegex("a{500}b").search("a" * 1_000_000)

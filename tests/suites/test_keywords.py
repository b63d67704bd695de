import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.artifacts.dataset import ChatRow
from tunewright.suites.keywords import count_of
from tunewright.suites.protocol import find_suite


def score(answer, wanted=None, **options):
    meta = {} if wanted is None else {"keywords": wanted}
    return find_suite("keywords", options).score(answer, ChatRow(id="r", messages=[], meta=meta))


def test_all_any_and_none_must_hold_together():
    wanted = {"all": ["Paris"], "any": ["Seine", "Loire"], "none": ["London"]}
    assert score("paris lies on the SEINE", wanted).scores == {"keywords": 1.0, "keyword_share": 1.0}
    assert score("Paris", wanted).scores == {"keywords": 0.0, "keyword_share": pytest.approx(2 / 3)}
    assert score("Paris, Seine, London", wanted).failure == "forbidden word"
    assert score("", wanted).failure == "missing word"


def test_a_keyword_is_a_whole_word():
    assert score("a party", {"all": ["art"]}).scores["keywords"] == 0.0
    assert score("a party", {"all": ["art"]}, whole_words=False).scores["keywords"] == 1.0
    assert score("C++ is fast", {"all": ["C++"]}).scores["keywords"] == 1.0
    assert score("New\n  York", {"all": ["new york"]}).scores["keywords"] == 1.0


def test_case_matters_when_asked_for():
    assert score("paris", {"all": ["Paris"]}, case=True).scores["keywords"] == 0.0


def test_the_conditions_of_the_suite_hold_for_every_row():
    assert score("sorry, Paris", {"all": ["Paris"]}, none=["sorry"]).scores["keywords"] == 0.0


def test_a_row_that_asks_for_nothing_is_outside_the_denominator():
    scored = score("anything")
    assert (scored.scores, scored.error) == ({}, None)


def test_a_row_whose_conditions_are_broken_is_unscored():
    scored = score("Paris", {"every": ["Paris"]})
    assert scored.scores == {}
    assert "every" in scored.error


@given(st.text("ab .*+?(", max_size=40), st.text("ab.*+(", min_size=1, max_size=3))
def test_without_word_boundaries_it_counts_as_str_count_does(text, keyword):
    assert count_of(keyword, text, case=True, whole_words=False) == text.count(keyword)

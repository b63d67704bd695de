"""Words, runs of words, and JSON in one form."""

from __future__ import annotations

import json
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.sources.text import canonical, shingles, with_canonical_json, words


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(max_size=80) | st.text(alphabet=[chr(code) for code in range(128)], max_size=80))
def test_words_are_what_the_pattern_finds_in_ascii_too(text):
    assert words(text) == re.findall(r"\w+", text.lower())


def test_runs_of_words_overlap_and_a_short_text_is_one_run():
    assert shingles(["a", "b", "c", "d"], 3) == ["a b c", "b c d"]
    assert shingles(["a", "b"], 3) == ["a b"]
    assert shingles([], 3) == []


def test_json_that_says_the_same_is_the_same():
    assert canonical({"b": 1.0, "a": [2, {"d": None, "c": "x"}]}) == '{"a":[2,{"c":"x","d":null}],"b":1}'
    assert with_canonical_json('so { "b": 1, "a": 2 } and [1.0, 2]!') == 'so {"a":2,"b":1} and [1,2]!'


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(alphabet='{}[]",:1a ', max_size=60))
def test_broken_json_stays_as_it_is_and_whole_json_keeps_its_meaning(text):
    changed = with_canonical_json(text)
    assert with_canonical_json(changed) == changed
    try:
        value = json.loads(text)
    except ValueError:
        return
    if isinstance(value, str):
        return  # a quoted text is a text: JSON in it is read as JSON
    assert json.loads(changed) == value

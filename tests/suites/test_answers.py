import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.suites.answers import MAX_JSON_DEPTH, NoJSONError, json_of

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)  # fmt: skip


@pytest.mark.parametrize(
    "text", ['{"a": 1}', ' {"a": 1}\n', '```json\n{"a": 1}\n```', '```\n{"a": 1}\n```', '```{"a": 1}```']
)
def test_json_is_the_whole_text_or_the_inside_of_one_fence(text):
    assert json_of(text) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    ["", "Sure: {}", '{"a": 1', "{'a': 1}", "NaN", "[Infinity]", "1e999", '{"a": 1, "a": 2}', "```json", '"\\ud800"',
     "```json\n{}\n```\n```json\n{}\n```", "[" * 200_000, "[" * (MAX_JSON_DEPTH + 1) + "]" * (MAX_JSON_DEPTH + 1),
     "9" * 10_000, "{} {}"],
)  # fmt: skip
def test_everything_else_is_none_and_nothing_is_raised_but_that(text):
    with pytest.raises(NoJSONError):
        json_of(text)


@given(VALUES)
def test_what_json_writes_is_read_back(value):
    import json

    assert json_of(json.dumps(value)) == value


@given(st.text())
def test_no_text_breaks_the_reader(text):
    try:
        json_of(text)
    except NoJSONError as error:
        assert str(error)


def test_reading_takes_linear_time():
    began = time.process_time()
    for text in ("`" * 300_000, "```" + "\n" * 300_000 + "```", '{"a":' * 100_000):
        with pytest.raises(NoJSONError):
            json_of(text)
    assert time.process_time() - began < 10

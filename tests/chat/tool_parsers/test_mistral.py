"""Mistral's calls: an array behind a mark, or a mark and a name for each."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.chat.tool_parsers.mistral import MARK, parse
from tunewright.chat.tool_parsers.parsed import ToolCall

CALLS = [ToolCall("f", {"a": 1}), ToolCall("g", {})]
OLD = f'{MARK}[{{"name": "f", "arguments": {{"a": 1}}, "id": "abcdefghi"}}, {{"name": "g", "arguments": {{}}}}]'
NEW = f'{MARK}f[ARGS]{{"a": 1}}{MARK}g[ARGS]{{}}'
WITH_ID = f'{MARK}f[CALL_ID]abcdefghi[ARGS]{{"a": 1}}{MARK}g[CALL_ID]bcdefghij[ARGS]{{}}'


@pytest.mark.parametrize("text", [OLD, NEW, WITH_ID, OLD.replace("[{", " [ {").replace("}]", "} ]")])
def test_both_forms_are_read_in_order(text):
    parsed = parse(f"Sure. {text}")
    assert (parsed.calls, parsed.malformed, parsed.stray) == (CALLS, [], "Sure.")
    assert parsed.regions == 2


def test_marks_inside_strings_end_nothing():
    parsed = parse(
        f'{MARK}say.it[ARGS]{{"text": "{MARK}f[ARGS]{{}}"}}{MARK}[{{"name": "g", "arguments": {{"a": "]"}}}}]'
    )
    assert parsed.calls == [ToolCall("say.it", {"text": f"{MARK}f[ARGS]{{}}"}), ToolCall("g", {"a": "]"})]


def test_an_answer_in_words_has_no_region():
    assert parse('[{"name": "f", "arguments": {}}]').regions == 0
    assert parse(f"{MARK}[]").regions == 0


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (MARK, 0),
        (f"{MARK}f", 0),
        (f"{MARK}f[ARGS]", 0),
        (f"{MARK}f[ARGS]7", 0),
        (f"{MARK}f{{}}", 0),
        (f"{MARK}f g[ARGS]{{}}", 0),
        (f"{MARK}[", 0),
        (f'{MARK}[{{"name": "f"}}]', 0),
        (f'{MARK}{{"name": "f", "arguments": {{}}}}', 0),
        (f'{MARK}[{{"name": "f", "arguments": {{"a": 1}}}}', 1),
        (f'{MARK}[{{"name": "f", "arguments": {{"a": 1}}}},]', 1),
        (f'{MARK}[{{"name": "f", "arguments": {{"a": 1}}}} {{"name"', 1),
        (f"{MARK}[7, [7]]", 0),
        (MARK + "[" * 200_000, 0),
    ],
)
def test_what_is_no_call_is_malformed_and_the_next_mark_is_still_read(text, kept):
    parsed = parse(text + NEW)
    assert parsed.malformed
    assert parsed.calls == CALLS[:kept] + CALLS


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
names = st.text("abcXYZ019_.-", min_size=1, max_size=9)
values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3))


@given(st.lists(st.tuples(names, st.dictionaries(texts, values, max_size=3)), min_size=1, max_size=3), st.booleans())
@settings(max_examples=50)
def test_calls_that_are_written_are_read_back_as_they_were(calls, is_old):
    objects = [{"name": name, "arguments": args} for name, args in calls]
    new = "".join(f"{MARK}{name}[ARGS]{json.dumps(args)}" for name, args in calls)
    parsed = parse(MARK + json.dumps(objects) if is_old else new)
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert (parsed.malformed, parsed.stray) == ([], "")

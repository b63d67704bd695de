"""Llama's calls in JSON: marked by their place, joined by `;`."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.chat.tool_parsers.llama_json import TAG, parse
from tunewright.chat.tool_parsers.parsed import ToolCall

F = '{"name": "f", "parameters": {"a": 1}}'
G = '{"name": "g", "parameters": {}}'
CALLS = [ToolCall("f", {"a": 1}), ToolCall("g", {})]


@pytest.mark.parametrize("text", [f"{F}; {G}", f"{F};{G}", f"\n{F} ;\n{G}\n", f"{TAG}{F}; {G}", f"{TAG}{F}{TAG}{G}"])
def test_calls_joined_by_semicolons_are_read_in_order(text):
    parsed = parse(text)
    assert (parsed.calls, parsed.malformed, parsed.stray) == (CALLS, [], "")
    assert [json.loads(raw)["name"] for raw in parsed.raw] == ["f", "g"]


def test_a_semicolon_and_braces_inside_a_string_end_nothing():
    parsed = parse('{"name": "say", "parameters": {"text": "a}; {b", "deep": {"x": {"y": {"z": 1}}}}}')
    assert parsed.calls == [ToolCall("say", {"text": "a}; {b", "deep": {"x": {"y": {"z": 1}}}})]


def test_words_before_the_tag_and_behind_the_calls_are_stray():
    parsed = parse(f"Let me look. {TAG}{F} Done; thanks")
    assert (parsed.calls, parsed.malformed) == (CALLS[:1], [])
    assert parsed.stray == "Let me look.  Done; thanks"


@pytest.mark.parametrize("text", ["", "The area is 25.", f"I would write {F}", "[1]", '"x"'])
def test_an_answer_in_words_has_no_region(text):
    parsed = parse(text)
    assert (parsed.regions, parsed.stray) == (0, text)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "f", "arguments": {}}',
        '{"name": "f"}',
        '{"name": 1, "parameters": {}}',
        '{"name": "f", "parameters": "{}"}',
        '{"name": "f", "parameters": {"a": NaN}}',
        '{"name": "f", "parameters": {"a": 1, "a": 2}}',
        '{"name": "f", "parameters": {"a": 1}',
        "{",
        "{f}",
        f'{TAG}f.call(query="x")',
        TAG + "[" * 200_000,
    ],
)
def test_an_object_that_is_no_call_is_malformed(text):
    parsed = parse(text)
    assert (parsed.calls, parsed.regions, parsed.stray) == ([], 1, "")


def test_calls_before_a_broken_one_are_kept_and_all_behind_it_is_one_region():
    parsed = parse(f'{F}; {{"name": "g", "parameters": {{; {G}')
    assert parsed.calls == CALLS[:1]
    assert parsed.malformed == [f'{{"name": "g", "parameters": {{; {G}']


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
values = st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3))


@given(st.lists(st.tuples(texts, st.dictionaries(texts, values, max_size=3)), min_size=1, max_size=3))
@settings(max_examples=50)
def test_calls_that_are_written_are_read_back_as_they_were(calls):
    written = "; ".join(json.dumps({"name": name, "parameters": args}, ensure_ascii=False) for name, args in calls)
    parsed = parse(written)
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert (parsed.malformed, parsed.stray) == ([], "")

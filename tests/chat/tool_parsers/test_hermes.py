"""Calls in the Hermes form: strict, complete in its count, and unmoved by hostile text."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.chat.tool_parsers.hermes import CLOSE, OPEN, parse
from tunewright.chat.tool_parsers.parsed import ToolCall

GOOD = '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>'


def test_calls_are_read_in_order_and_the_rest_is_stray():
    parsed = parse(f'Sure.\n{GOOD}\n<tool_call>\n{{"name": "g", "arguments": {{}}}}\n</tool_call> done')
    assert parsed.calls == [ToolCall("f", {"a": 1}), ToolCall("g", {})]
    assert (parsed.regions, parsed.malformed) == (2, [])
    assert parsed.stray == "Sure.\n\n done"


def test_an_answer_without_a_region_is_all_stray():
    parsed = parse(' {"name": "f", "arguments": {}} ')
    assert (parsed.regions, parsed.calls, parsed.stray) == (0, [], '{"name": "f", "arguments": {}}')


def test_a_closing_tag_inside_a_string_ends_nothing():
    text = '<tool_call>{"name": "say", "arguments": {"text": "</tool_call> and <tool_call>"}}</tool_call>'
    parsed = parse(text + GOOD)
    assert [call.name for call in parsed.calls] == ["say", "f"]
    assert parsed.calls[0].arguments == {"text": "</tool_call> and <tool_call>"}


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "f(a=1)",
        "[]",
        "7",
        '{"name": "f"}',
        '{"name": 7, "arguments": {}}',
        '{"name": "f", "arguments": "{}"}',
        '{"name": "f", "arguments": null}',
        '{"name": "f", "arguments": {"a": NaN}}',
        '{"name": "f", "arguments": {"a": -Infinity}}',
        '{"name": "f", "arguments": {"a": 1e999}}',
        '{"name": "f", "arguments": {"a": "\\ud800"}}',
        '{"name": "f", "name": "g", "arguments": {}}',
        '{"name": "f", "arguments": {"a": 1, "a": 2}}',
        '{"name": "f", "arguments": {}} and more',
        '{"name": "f", "arguments": {}}}',
        "{'name': 'f', 'arguments': {}}",
        '{"name": "f", "arguments": {"a": ' + "9" * 5000 + "}}",
        '{"name": "f", "arguments": {"a": ' + "[" * 200_000 + "]" * 200_000 + "}}",
        "[" * 200_000,
    ],
)
def test_a_region_that_is_no_call_is_malformed_and_the_next_is_still_read(inner):
    parsed = parse(f"{OPEN}{inner}{CLOSE}{GOOD}")
    assert parsed.malformed == [f"{OPEN}{inner}{CLOSE}"]
    assert parsed.calls == [ToolCall("f", {"a": 1})]
    assert parsed.regions == 2


@pytest.mark.parametrize("text", ['<tool_call>{"name": "f", "arguments": {}}', "<tool_call>", '<tool_call>{"name": "f'])
def test_a_region_left_open_is_malformed(text):
    parsed = parse(text)
    assert (parsed.calls, parsed.malformed, parsed.stray) == ([], [text], "")


@pytest.mark.parametrize(
    "piece",
    [OPEN, OPEN + CLOSE, OPEN + '{"', OPEN + '"' + CLOSE, OPEN + "[" * 900, OPEN + " " * 500, OPEN + '{"a":"\\'],
)
def test_huge_hostile_answers_take_little_time(piece):
    start = time.process_time()
    parse(piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 5


pieces = st.sampled_from(
    [OPEN, CLOSE, '{"name": "f", "arguments": ', "{", "}", '"', "\\", "[", "]", "NaN", "1e9", " ", ","]
)


@given(st.lists(pieces | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_is_read_without_a_crash_and_every_region_is_counted(text):
    parsed = parse(text)
    assert parsed.regions == len(parsed.calls) + len(parsed.malformed)
    assert (OPEN in text) == (parsed.regions > 0)
    json.dumps([call.arguments for call in parsed.calls], allow_nan=False, ensure_ascii=False).encode()


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)  # no half surrogate pairs
plain_values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
json_values = st.recursive(
    plain_values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


@given(st.lists(st.tuples(texts, st.dictionaries(texts, json_values, max_size=3)), max_size=3))
@settings(max_examples=50)
def test_calls_that_we_write_are_read_back_as_they_were(calls):
    from tunewright.chat.tools import calls_text

    written = calls_text([{"function": {"name": name, "arguments": args}} for name, args in calls])
    parsed = parse(written)
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert (parsed.malformed, parsed.stray) == ([], "")

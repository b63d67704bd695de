"""Qwen3-Coder's calls in tags, whose values get their types from the tool's schema."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.chat.tool_parsers.parsed import ToolCall
from tunewright.chat.tool_parsers.qwen_coder import parse, typed

PROPERTIES = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "rate": {"type": "number"},
    "on": {"type": "boolean"},
    "items": {"type": "array"},
    "options": {"type": "object"},
    "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": PROPERTIES}}}]


def written(name, **arguments):
    values = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments.items())
    return f"<tool_call>\n<function={name}>\n{values}</function>\n</tool_call>"


def test_values_are_what_the_schema_says_they_are():
    values = {"text": "12", "count": "12", "rate": "1.5", "on": "True", "items": '[1, "a"]', "options": '{"k": null}'}
    parsed = parse("Sure.\n" + written("f", **values, maybe="null", other="12"), TOOLS)
    arguments = {"text": "12", "count": 12, "rate": 1.5, "on": True, "items": [1, "a"], "options": {"k": None}}
    assert parsed.calls == [ToolCall("f", {**arguments, "maybe": None, "other": "12"})]
    assert (parsed.malformed, parsed.stray) == ([], "Sure.")


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("ten", {"type": "integer"}, "ten"),
        ("1.5", {"type": "integer"}, "1.5"),
        ("true", {"type": "integer"}, "true"),
        ("1", {"type": "boolean"}, "1"),
        ("NaN", {"type": "number"}, "NaN"),
        ("3", {"type": "number"}, 3),
        ("[1", {"type": "array"}, "[1"),
        ("{}", {"type": "array"}, "{}"),
        ("7", {"type": ["integer", "string"]}, 7),
        ("x", {"type": ["integer", "string"]}, "x"),
        ("null", {"type": "string"}, "null"),
        (" 7 ", {"type": "integer"}, 7),
        (" a ", {"type": "string"}, " a "),
        ("7", {}, "7"),
        ("7", None, "7"),
        ("7", {"type": {"odd": 1}, "anyOf": [3, {"type": ["integer"]}]}, 7),
    ],
)
def test_a_value_that_does_not_fit_its_type_stays_text(text, schema, value):
    assert typed(text, schema) == value
    assert type(typed(text, schema)) is type(value)


def test_only_one_line_end_on_each_side_is_the_formats():
    assert parse(written("f", text="\n a\nb \n"), TOOLS).calls == [ToolCall("f", {"text": "\n a\nb \n"})]
    assert parse("<tool_call><function=f><parameter=text>a</parameter></function></tool_call>").calls == [
        ToolCall("f", {"text": "a"})
    ]


def test_a_function_that_was_not_offered_has_only_texts():
    assert parse(written("g", count="12"), TOOLS).calls == [ToolCall("g", {"count": "12"})]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call></tool_call>",
        '<tool_call>{"name": "f", "arguments": {}}</tool_call>',
        "<tool_call><function=f></tool_call>",
        "<tool_call><function=></function></tool_call>",
        "<tool_call><function=f></function> and </tool_call>",
        "<tool_call><function=f>words</function></tool_call>",
        "<tool_call><function=f><parameter=a>1</function></tool_call>",
        "<tool_call><function=f><parameter=a>1<parameter=b>2</parameter></function></tool_call>",
        "<tool_call><function=f><parameter=a>1</parameter><parameter=a>2</parameter></function></tool_call>",
        "<function=f><parameter=a>1</parameter></function>",
    ],
)
def test_a_region_that_is_no_call_is_malformed_and_the_next_is_still_read(text):
    parsed = parse(text + written("f", count="1"), TOOLS)
    assert parsed.malformed == [text]
    assert parsed.calls == [ToolCall("f", {"count": 1})]


@pytest.mark.parametrize("text", ["<tool_call>", "<tool_call><function=f></function>", "<function=f", "<function=f>"])
def test_a_region_left_open_is_malformed(text):
    parsed = parse(text)
    assert (parsed.calls, parsed.malformed, parsed.stray) == ([], [text], "")


keys = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=9).filter(lambda text: "<" not in text)
values = st.integers() | st.booleans() | st.lists(st.integers() | texts, max_size=3) | texts
KIND = {int: "integer", bool: "boolean", list: "array", str: "string"}


@given(st.lists(st.tuples(keys, st.dictionaries(keys, values, max_size=3)), max_size=3, unique_by=lambda call: call[0]))
@settings(max_examples=50)
def test_calls_that_the_template_writes_are_read_back_as_they_were(calls):
    kinds = [(name, {key: {"type": KIND[type(value)]} for key, value in args.items()}) for name, args in calls]
    tools = [{"function": {"name": name, "parameters": {"properties": types}}} for name, types in kinds]
    shown = [
        (name, {k: json.dumps(v) if isinstance(v, list) else str(v) for k, v in args.items()}) for name, args in calls
    ]
    parsed = parse("\n".join(written(name, **args) for name, args in shown), tools)
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert (parsed.malformed, parsed.stray) == ([], "")

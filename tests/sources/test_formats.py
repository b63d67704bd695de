"""Records of all known formats become chat rows; everything else is refused with the place and what to do."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.messages import check_messages
from tunewright.errors import DataError
from tunewright.sources.formats import to_row

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}


def read(record, **columns) -> ChatRow:
    return to_row(record, where="rows.jsonl:17", fallback_id="rows-17", source="rows.jsonl", columns=columns)


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [USER, ANSWER]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        {"conversations": [USER, ANSWER]},
        {"prompt": "Hi", "completion": "Hello"},
        {"prompt": [USER], "completion": [ANSWER]},
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "input": "", "output": "Hello"},
    ],
)
def test_every_format_gives_the_same_row(record):
    row = read(record)
    assert row.messages == [USER, ANSWER]
    assert (row.id, row.group, row.source, row.tools, row.meta) == ("rows-17", "rows-17", "rows.jsonl", None, {})


def test_alpacas_input_stands_below_the_instruction():
    row = read({"instruction": "Translate.", "input": "Haus", "output": "house"})
    assert row.messages[0]["content"] == "Translate.\n\nHaus"


def test_a_system_column_opens_the_conversation():
    system = {"role": "system", "content": "Be brief."}
    for record in ({"prompt": "Hi", "completion": "Hello"}, {"conversations": [USER, ANSWER]}):
        assert read({**record, "system": "Be brief."}).messages == [system, USER, ANSWER]


def test_own_id_group_and_meta_are_kept():
    row = read({"messages": [USER, ANSWER], "id": 7, "group": "g", "meta": {"a": 1}})
    assert (row.id, row.group, row.meta) == ("7", "g", {"a": 1})
    assert read({"messages": [USER, ANSWER], "id": "own"}).group == "own"


def test_tools_and_arguments_may_be_json_in_a_string():
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    wire = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    answer = {"role": "assistant", "content": None, "tool_calls": [wire]}
    row = read({"messages": [USER, answer], "tools": json.dumps([tool])})
    assert row.tools == [tool]
    assert row.answer["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    ]


def test_calls_may_be_json_in_a_string_too():
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    answer = {"role": "assistant", "content": None, "tool_calls": json.dumps([call])}
    assert read({"messages": [USER, answer]}).answer == {**answer, "tool_calls": [call]}


@pytest.mark.parametrize("nothing", [None, [], {}, "", "[]", "{}", "null"])
def test_no_calls_may_be_said_in_any_way(nothing):
    messages = [{**USER, "tool_calls": nothing}, {**ANSWER, "tool_calls": nothing}]
    assert read({"messages": messages, "tools": nothing}).messages == [USER, ANSWER]


def test_sharegpts_function_call_becomes_a_tool_call():
    turns = [
        {"from": "human", "value": "Hi"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"a": 1}}'},
        {"from": "observation", "value": "42"},
        {"from": "gpt", "value": "It is 42."},
    ]
    messages = read({"conversations": turns}).messages
    assert messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"a": 1}}
    assert messages[2] == {"role": "tool", "content": "42"}


def test_null_columns_of_columnar_files_are_as_good_as_none():
    messages = [{**USER, "tool_calls": None}, {**ANSWER, "tool_calls": None}]
    row = read({"messages": messages, "tools": None, "id": None, "group": None, "meta": None})
    assert row.messages == [USER, ANSWER]
    assert row.id == "rows-17"


def test_a_mapping_renames_columns():
    assert read({"dialogue": [USER, ANSWER]}, messages="dialogue").messages == [USER, ANSWER]
    assert read({"q": "Hi", "a": "Hello"}, prompt="q", completion="a").messages == [USER, ANSWER]
    swapped = read({"prompt": "Hello", "completion": "Hi"}, prompt="completion", completion="prompt")
    assert swapped.messages == [USER, ANSWER]


@pytest.mark.parametrize(
    ("record", "columns", "expected"),
    [
        ({"message": [USER, ANSWER]}, {}, ["there are: message", "columns: {messages: message}", "did you mean"]),
        ({"text": "x", "label": 1}, {}, ["there are: text, label", "columns:"]),
        ({}, {}, ["there are: none"]),
        ({"messages": [USER, ANSWER]}, {"messages": "mesages"}, ["no column 'mesages'", "did you mean 'messages'?"]),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, {}, ["message 1: role 'bot'", "assistant"]),
        ({"messages": [USER]}, {}, ["ends with the user"]),
        ({"messages": []}, {}, ["empty conversation"]),
        ({"messages": "hi"}, {}, ["messages is a str"]),
        ({"conversations": [{"from": "alien", "value": "x"}]}, {}, ["message 0: role 'alien'", "human"]),
        ({"conversations": [{"from": "human", "value": None}, ANSWER]}, {}, ["message 0: content is null"]),
        ({"prompt": 7, "completion": "x"}, {}, ["message 0: content is a int"]),
        ({"messages": [USER, ANSWER], "tools": "[{"}, {}, ["tools: broken JSON in a string"]),
        ({"messages": [USER, ANSWER], "tools": {"name": "f"}}, {}, ["tools is", "a list of function objects"]),
        ({"messages": [USER, ANSWER], "id": 1.5}, {}, ["id is a float"]),
        ({"messages": [USER, ANSWER], "meta": "x"}, {}, ["meta is a str"]),
        ({"messages": [USER, ANSWER], "meta": {"x": float("nan")}}, {}, ["JSON cannot hold"]),
        ({"messages": [USER, ANSWER], "group": "\ud800"}, {}, ["group has half of a surrogate pair"]),
        ({"messages": [USER, ANSWER], "tools": [{"name": "\ud800"}]}, {}, ["tools has half of a surrogate pair"]),
        ({"messages": [USER, ANSWER], "tools": 0}, {}, ["tools is 0", "a list of function objects"]),
        ({"messages": [USER, {**ANSWER, "tool_calls": "[{"}]}, {}, ["message 1: tool_calls: broken JSON in a string"]),
        ({"messages": [USER, {**ANSWER, "tool_calls": "call"}]}, {}, ["message 1: tool_calls: broken JSON"]),
        ({"messages": [USER, {**ANSWER, "tool_calls": '{"name": "f"}'}]}, {}, ["message 1: tool_calls is {'name'"]),
        ({"messages": [USER, {**ANSWER, "tool_calls": 7}]}, {}, ["message 1: tool_calls is 7", "a list of calls"]),
        ({"messages": [USER, {**ANSWER, "tool_calls": '["f"]'}]}, {}, ["message 1: tool call 0 is f"]),
    ],
)
def test_a_wrong_record_is_refused_with_its_line_and_the_fix(record, columns, expected):
    with pytest.raises(DataError) as caught:
        read(record, **columns)
    message = str(caught.value)
    assert message.startswith("rows.jsonl:17")
    assert all(words in message for words in expected), message


names = st.sampled_from(
    [
        "messages",
        "conversations",
        "prompt",
        "completion",
        "instruction",
        "input",
        "output",
        "tools",
        "system",
        "id",
        "meta",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("assistant"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "tool_calls", "function", "name", "arguments"]), inner
        )
    ),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(names, values, max_size=4))
def test_any_record_becomes_a_sound_row_or_a_clean_error(record):
    try:
        row = read(record)
    except DataError:
        return
    check_messages(row.messages)
    json.dumps(row.model_dump(), allow_nan=False, ensure_ascii=False).encode()


def test_a_row_nested_deeper_than_can_be_stored_is_refused():
    deep: object = 1
    for _ in range(400):
        deep = [deep]
    with pytest.raises(DataError, match="a value that JSON cannot hold"):
        read({"prompt": "a", "completion": "b", "meta": {"deep": deep}})


PLAIN_VALUES = st.one_of(st.text(max_size=5), st.sampled_from(["user", "assistant", "system", "\ud800"]), st.none())
PLAIN_MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "bot"]), "content": PLAIN_VALUES}),
    max_size=4,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.fixed_dictionaries({"messages": PLAIN_MESSAGES}, optional={"id": PLAIN_VALUES, "group": PLAIN_VALUES}))
def test_the_short_way_for_plain_rows_gives_what_the_long_way_gives(record):
    def outcome(given_record):
        try:
            return read(given_record)
        except DataError as error:
            return str(error)

    assert outcome(record) == outcome({**record, "tools": None})  # a further column takes the long way

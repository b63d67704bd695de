"""Formats beyond messages: Hermes' tags, preferences, texts; and the format that a source names."""

from __future__ import annotations

import json

import pytest

from tunewright.errors import DataError
from tunewright.sources.formats import FORMATS, detect_format, to_row

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
HERMES_SYSTEM = (
    "You are a function calling AI model. You are provided with function signatures within <tools> </tools> XML tags."
    f"\n<tools>\n{json.dumps([TOOL])}\n</tools>\nReturn a json object within <tool_call> </tool_call>."
)
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def read(record, **options):
    return to_row(record, where="rows.jsonl:17", fallback_id="rows-17", source="rows.jsonl", **options)


def hermes(system: str = HERMES_SYSTEM, answer: str = CALL, **more):
    turns = [
        {"from": "system", "value": system},
        {"from": "human", "value": "Weather in Rome?"},
        {"from": "gpt", "value": answer},
        {"from": "tool", "value": '<tool_response>\n{"temperature": 21}\n</tool_response>'},
        {"from": "gpt", "value": "It is 21 degrees."},
    ]
    return {"conversations": turns, **more}


def test_hermes_calls_tools_and_results_leave_their_tags():
    row = read({"conversations": hermes(HERMES_SYSTEM.replace("<tools> </tools> XML tags", "tags"))["conversations"]})
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Rome"}}}
    assert row.messages == [
        {"role": "user", "content": "Weather in Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": '{"temperature": 21}'},
        {"role": "assistant", "content": "It is 21 degrees."},
    ]
    assert row.tools == [TOOL]


def test_hermes_opening_that_speaks_of_its_own_tags_is_read_too():
    assert read(hermes()).tools == [TOOL]


def test_a_system_text_of_ones_own_stays_and_loses_only_the_tools():
    row = read(hermes(f"You serve travellers.\n<tools>{json.dumps([TOOL])}</tools>"))
    assert row.messages[0] == {"role": "system", "content": "You serve travellers."}
    assert row.tools == [TOOL]


def test_a_column_of_tools_comes_before_those_in_the_text_and_words_before_a_call_stay():
    other = {**TOOL, "function": {**TOOL["function"], "name": "other"}}
    row = read(hermes(answer=f"Let me look.\n{CALL}\n{CALL}", tools=json.dumps([other])))
    assert row.tools == [other]
    answer = next(message for message in row.messages if message.get("tool_calls"))
    assert answer["content"] == "Let me look."
    assert len(answer["tool_calls"]) == 2


@pytest.mark.parametrize("answer", ["<tool_call>\n{'name': 1}\n</tool_call>", "<tool_call>{"])
def test_a_broken_call_in_the_text_is_told_with_its_message(answer):
    with pytest.raises(DataError, match=r"rows.jsonl:17: message 2: a <tool_call> that is no JSON call"):
        read(hermes(answer=answer))


def test_a_preference_keeps_the_chosen_answer_and_carries_the_other():
    row = read({"prompt": "Hi", "chosen": "Hello!", "rejected": "What?"})
    assert [message["content"] for message in row.messages] == ["Hi", "Hello!"]
    assert [message["content"] for message in row.meta["rejected"]] == ["What?"]


def test_preferences_in_messages_may_hold_their_prompt_or_not():
    asked, good, bad = ({"role": role, "content": text} for role, text in
                        (("user", "Hi"), ("assistant", "Hello"), ("assistant", "No")))  # fmt: skip
    for record in (
        {"chosen": [asked, good], "rejected": [asked, bad]},
        {"prompt": "Hi", "chosen": [asked, good], "rejected": [asked, bad]},
        {"prompt": "Hi", "chosen": [good], "rejected": [bad]},
        {"prompt": [asked], "chosen": [good], "rejected": [bad]},
        {"prompt": [asked], "chosen": "Hello", "rejected": "No"},
    ):
        row = read(record)
        assert (row.messages, row.meta) == ([asked, good], {"rejected": [bad]}), record
    with pytest.raises(DataError, match="there is no prompt"):
        read({"chosen": "Hello", "rejected": "No"})


def test_a_text_needs_a_question():
    row = read({"title": "The sea", "text": "It is blue."}, columns={"prompt": "title"})
    assert [message["content"] for message in row.messages] == ["The sea", "It is blue."]
    with pytest.raises(DataError, match="no columns that make a conversation"):
        read({"text": "It is blue."})


def test_the_format_is_found_by_columns_and_a_source_may_name_another():
    assert detect_format({"messages": [], "prompt": "", "completion": ""}) == "messages"
    assert detect_format({"prompt": "", "chosen": "", "rejected": "", "completion": ""}) == "preference"
    assert detect_format(hermes()) == "hermes"
    both = {"prompt": "Hi", "completion": "Hello", "instruction": "Greet", "output": "Good day"}
    assert read(both).answer["content"] == "Hello"
    assert read(both, format="alpaca").answer["content"] == "Good day"
    with pytest.raises(DataError, match="no column 'instruction', which the format 'alpaca' needs"):
        read({"prompt": "Hi", "completion": "Hello"}, format="alpaca")
    with pytest.raises(DataError, match="format 'csv'"):
        read(both, format="csv")


def test_question_and_answer_are_prompt_and_completion():
    row = read({"question": "How many eggs?", "answer": "9 * 2 = 18\n#### 18", "level": "easy"})
    assert [message["content"] for message in row.messages] == ["How many eggs?", "9 * 2 = 18\n#### 18"]
    assert detect_format({"question": "", "answer": "", "prompt": "", "completion": ""}) == "prompt"


@pytest.mark.parametrize("beside", ["passages", "context", "choices"])
def test_a_question_that_needs_what_stands_beside_it_is_no_row(beside):
    with pytest.raises(DataError, match="no columns that make a conversation") as caught:
        read({"question": "Who?", "answer": "Ada", beside: ["Ada wrote it."]})
    assert "--column" in str(caught.value.fix)


def test_the_section_knows_every_format():
    from typing import get_args

    from tunewright.recipe.data_sections import FormatName

    assert set(get_args(FormatName)) == {"auto", *FORMATS}


def test_ranking_records_are_sent_where_they_are_read():
    with pytest.raises(DataError, match="a query with passages"):
        read({"query": "x", "passages": {}})

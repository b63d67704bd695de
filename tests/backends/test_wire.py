"""What a response means: text, tool calls in Hermes form, or an error; never an empty answer for a missing one."""

import json

import pytest

from tunewright.backends.wire import BadAnswer, hermes_call, prompt_hash, read_answer, row_seed, wire_messages


def call(name, arguments):
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def response(message, finish="stop", **more):
    return {"choices": [{"index": 0, "finish_reason": finish, "message": message}], **more}


def test_served_tool_calls_stand_behind_the_text_in_hermes_form():
    message = {"content": "Let me look.", "tool_calls": [call("f", '{"a": 1}'), call("g", "{}")]}
    assert read_answer(response(message, "tool_calls")).text == (
        'Let me look.\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'
    )


def test_calls_without_text_are_an_answer():
    text = read_answer(response({"content": None, "tool_calls": [call("f", "{}")]}, "tool_calls")).text
    assert text == '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


@pytest.mark.parametrize("raw", ["{'a': 1}", '{"a": 1', "", "a, b", '{}, "name": "g"', '{"a": 1}}', '1}, {"b": 2'])
def test_arguments_that_are_no_json_stay_and_make_the_call_malformed(raw):
    inner = hermes_call(call("f", raw)).removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert raw in inner
    with pytest.raises(ValueError):
        json.loads(inner)


def test_arguments_that_end_the_region_inside_a_string_do_not_end_it():
    arguments = json.dumps({"text": "</tool_call><tool_call>"})
    written = hermes_call(call("f", arguments))
    inner = written.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert "</tool_call>" not in inner and json.loads(inner)["arguments"] == json.loads(arguments)


@pytest.mark.parametrize(
    "bad",
    [
        [], "text", None, {}, {"choices": []}, {"choices": [None]}, {"choices": [{"finish_reason": "stop"}]},
        response("text"), response({"content": 5}), response({"tool_calls": [{"function": {}}]}),
        response({"tool_calls": {"a": 1}}), response({"content": "x"}, "error"), response({"content": None}, None),
        {"error": {"message": "no"}}, {"error": "no"}, response({"content": "x"}, "content_filter"),
    ],
)  # fmt: skip
def test_a_response_without_an_answer_is_an_error(bad):
    with pytest.raises(BadAnswer):
        read_answer(bad)


def test_an_answer_that_is_empty_on_purpose_is_an_answer():
    assert read_answer(response({"content": ""})).text == ""
    assert read_answer(response({"content": None, "reasoning_content": "hm"}, "length")).finish == "length"
    assert read_answer(response({"content": None, "refusal": "I will not."})).text == "I will not."


def test_usage_is_read_and_nonsense_in_it_is_no_usage():
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    assert read_answer(response({"content": "x"}, usage=usage)).usage.cached == 4
    for bad in (None, 5, {}, {"prompt_tokens": -1}, {"prompt_tokens": "9"}):
        assert read_answer(response({"content": "x"}, usage=bad)).usage is None


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read_answer(response({"content": parts})).text == "ab"


def test_every_call_and_its_result_get_the_same_id():
    calls = [{"function": {"name": name, "arguments": {}}} for name in ("f", "g")]
    results = [{"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}]
    sent = wire_messages([{"role": "assistant", "tool_calls": calls}, *results, {"role": "assistant", "content": "x"}])
    assert [c["id"] for c in sent[0]["tool_calls"]] == [m["tool_call_id"] for m in sent[1:3]] == ["call_0", "call_1"]
    assert prompt_hash([{"role": "assistant", "tool_calls": calls}, *results]) == prompt_hash(sent[:3])


def test_a_rows_seed_is_its_own():
    assert row_seed(1, "a") == row_seed(1, "a") != row_seed(1, "b") != row_seed(2, "b")

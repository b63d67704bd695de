"""Rows that are too long because of tools that they do not call."""

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.fewer_tools import with_fewer_tools
from tunewright.chat.render import Renderer


@pytest.fixture(scope="module")
def renderer(smollm2_folder):
    return Renderer.from_folder(smollm2_folder)


def row_of(answer, *names):
    tools = [{"type": "function", "function": {"name": name, "description": "does things " * 9}} for name in names]
    return ChatRow(id="r", messages=[{"role": "user", "content": "Do it."}, answer], tools=tools, meta={"kept": 1})


def call(*names):
    calls = [{"type": "function", "function": {"name": name, "arguments": {}}} for name in names]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def tokens(row, renderer):
    return len(renderer.conversation(row.messages, row.tools).token_ids)


def names(row):
    return [tool["function"]["name"] for tool in row.tools]


def test_the_last_tools_that_are_not_called_go_and_no_more_than_must(renderer):
    row = row_of(call("c"), "a", "b", "c", "d", "e")
    whole = tokens(row, renderer)
    one_less = with_fewer_tools(row, whole - 1, renderer)
    assert names(one_less) == ["a", "b", "c", "d"]
    assert one_less.meta == {"kept": 1, "tools_dropped": 1} and one_less.messages == row.messages
    at_least = tokens(one_less, renderer)
    assert names(with_fewer_tools(row, at_least - 1, renderer)) == ["a", "b", "c"]
    assert names(row) == ["a", "b", "c", "d", "e"] and "tools_dropped" not in row.meta


def test_all_tools_that_are_called_stay(renderer):
    row = row_of(call("e", "b"), "a", "b", "c", "d", "e")
    least = tokens(row_of(call("e", "b"), "b", "e"), renderer)
    shortest = with_fewer_tools(row, least, renderer)
    assert names(shortest) == ["b", "e"] and shortest.meta["tools_dropped"] == 3
    assert with_fewer_tools(row, least - 1, renderer) is None


def test_where_none_is_called_the_first_stays(renderer):
    row = row_of({"role": "assistant", "content": "None of these can."}, "a", "b")
    assert names(with_fewer_tools(row, tokens(row, renderer) - 1, renderer)) == ["a"]
    assert with_fewer_tools(row, 10, renderer) is None


def test_a_row_without_tools_has_none_to_lose(renderer):
    row = ChatRow(id="r", messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    assert with_fewer_tools(row, 1, renderer) is None


def test_tools_without_a_wrapper_are_read_too(renderer):
    row = row_of(call("b"), "a", "b", "c")
    bare = row.model_copy(update={"tools": [tool["function"] for tool in row.tools]})
    shorter = with_fewer_tools(bare, tokens(row, renderer) - 1, renderer)
    assert [tool["name"] for tool in shorter.tools] == ["a", "b"]


def test_a_tool_whose_call_is_text_stays(renderer):
    row = row_of(
        {"role": "assistant", "content": '<tool_call>{"name": "c", "arguments": {}}</tool_call>'}, "a", "b", "c"
    )
    shorter = with_fewer_tools(row, tokens(row, renderer) - 1, renderer)
    assert names(shorter) == ["a", "c"]


def test_of_many_tools_as_few_go_as_must(renderer):
    row = row_of(call("t0"), *(f"t{n}" for n in range(40)))
    for kept in (39, 20, 2, 1):
        limit = tokens(row.model_copy(update={"tools": row.tools[:kept]}), renderer)
        assert len(with_fewer_tools(row, limit, renderer).tools) == kept
    assert with_fewer_tools(row, limit - 1, renderer) is None

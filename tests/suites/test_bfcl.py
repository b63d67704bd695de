"""BFCL's verdict on rows as the data stage makes them; tests/benchmarks/test_bfcl_parity.py compares it with theirs."""

from __future__ import annotations

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.tool_calls import ParsedAnswer, ToolCall, parse_answer
from tunewright.sources.bfcl import CALL_CATEGORIES, NO_CALL_CATEGORIES, read_bfcl
from tunewright.suites.bfcl import CATEGORIES, Verdict, bfcl_verdict, check_calls
from tunewright.suites.tool_calls import score_tool_calls


def test_the_references_of_the_rows_are_right_by_bfcls_rules_but_for_the_known_few():
    """A row's reference leaves an argument out wherever that is allowed first, also a required one."""
    rows = [row for row in read_bfcl(CALL_CATEGORIES) if isinstance(row, ChatRow)]
    verdicts = {row.id: bfcl_verdict(reference(row), row) for row in rows}
    assert len(rows) == 2349
    assert {row_id for row_id, verdict in verdicts.items() if not verdict.valid} == {
        "simple_python_200", "parallel_multiple_26", "live_multiple_144-56-0", "live_multiple_507-149-4",
        "live_multiple_834-178-9", "live_multiple_862-181-3", "live_multiple_964-207-0",
    }  # fmt: skip


def reference(row):
    calls = [ToolCall(call["function"]["name"], call["function"]["arguments"]) for call in row.answer["tool_calls"]]
    return ParsedAnswer(calls, [], "", [""] * len(calls))


def test_on_a_row_that_wants_no_call_only_a_call_that_can_be_read_is_wrong():
    row = next(row for row in read_bfcl(NO_CALL_CATEGORIES) if isinstance(row, ChatRow))
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert bfcl_verdict(parse_answer(call), row) == Verdict("irrelevance_error:decoder_success")
    for answer in ("No.", "", "<tool_call>{f}</tool_call>"):
        assert bfcl_verdict(parse_answer(answer), row) == Verdict()
    assert score_tool_calls(call, row).scores == {"no_call": 0.0, "args_bfcl": 0.0}
    assert score_tool_calls("<tool_call>{f}</tool_call>", row).scores == {"no_call": 0.0, "args_bfcl": 1.0}


def test_an_answer_that_cannot_be_read_is_wrong_where_a_call_is_wanted():
    row = next(row for row in read_bfcl(["simple_python"]) if isinstance(row, ChatRow))
    for answer in ("No.", "<tool_call>{f}</tool_call>"):
        assert bfcl_verdict(parse_answer(answer), row) == Verdict("ast_decoder:decoder_failed")


@pytest.mark.parametrize(
    "meta", [{}, {"category": "simple_python"}, {"category": "billing", "possible_answer": {"f": {"a": [1]}}}]
)
def test_a_row_that_is_not_bfcls_has_no_verdict(meta):
    row = ChatRow(id="r", messages=[{"role": "assistant", "content": "x"}], meta=meta)
    assert bfcl_verdict(parse_answer("x"), row) is None


def test_the_categories_that_are_read_are_those_that_are_judged():
    assert {*CALL_CATEGORIES, *NO_CALL_CATEGORIES} == set(CATEGORIES)


ODD = [
    ({"type": "string"}, [""], "x", "value_error:string"),
    ({"type": "number"}, [1.0], 10**400, "type_error:simple"),
    ({"type": "array"}, [[1]], [1], ""),
    ({"type": "array", "items": {"type": "object"}}, [[{"k": [1]}], [7]], [7], "value_error:dict_key"),
    ({"type": "array", "items": {"type": "object"}}, [""], [], ""),
    ({"type": "object"}, ["", {"k": 3}], {"k": 3}, "value_error:dict_value"),
    ({"type": "object"}, [""], {}, "dict_checker:unclear"),
    ({"type": ["string", "null"]}, ["x"], "X", ""),
    ({}, [{"k": 1}], {"k": 1}, ""),
]


@pytest.mark.parametrize(("schema", "acceptable", "value", "error"), ODD)
def test_odd_schemas_and_values_get_a_verdict_and_no_exception(schema, acceptable, value, error):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": schema}}}}]
    answers = [{"f": {"a": acceptable}}]
    assert check_calls([ToolCall("f", {"a": value})], tools, answers, "simple_python") == error

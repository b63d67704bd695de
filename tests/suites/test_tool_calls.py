import json

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.suites import METRICS
from tunewright.suites.protocol import find_suite
from tunewright.suites.tool_calls import score_tool_calls


def row(*calls):
    tool_calls = [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    answer = {"role": "assistant", "tool_calls": tool_calls} if calls else {"role": "assistant", "content": "No."}
    return ChatRow(id="r", messages=[{"role": "user", "content": "?"}, answer])


def said(*calls):
    return "\n".join(f"<tool_call>{json.dumps({'name': n, 'arguments': a})}</tool_call>" for n, a in calls)


AREA = ("area", {"base": 10, "height": 5, "unit": "cm"})


def test_the_gold_answer_scores_full():
    assert set(score_tool_calls(said(AREA), row(AREA)).scores.values()) == {1.0}


@pytest.mark.parametrize(
    "answer", ["", "The area is 25.", '{"name": "area", "arguments": {}}', "<tool_call></tool_call>"]
)
def test_empty_and_canned_answers_score_nothing(answer):
    scored = score_tool_calls(answer, row(AREA))
    assert set(scored.scores.values()) == {0.0}


def test_key_order_and_the_form_of_a_number_do_not_matter():
    other = '<tool_call>{"arguments": {"unit":"cm","height":5.0,"base":1e1},"name":"area"}</tool_call>'
    assert score_tool_calls(other, row(AREA)).scores["args_exact"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"base": 10, "height": 5}, "wrong arguments: missing unit"),
        ({"base": 10, "height": 5, "unit": "cm", "x": 1}, "wrong arguments: extra x"),
        ({"base": 10, "height": 6, "unit": "cm"}, "wrong arguments: value of height"),
        ({"base": "10", "height": 5, "unit": "cm"}, "wrong arguments: value of base"),
        ({"base": 10, "height": 5, "unit": "CM"}, "wrong arguments: value of unit"),
    ],
)
def test_wrong_arguments_keep_the_name_and_say_what_differs(arguments, reason):
    scored = score_tool_calls(said(("area", arguments)), row(AREA))
    assert scored.scores == {"valid_json": 1.0, "name_match": 1.0, "args_exact": 0.0, "call_f1": 0.0}
    assert scored.reason == reason


def test_true_is_not_one():
    assert score_tool_calls(said(("f", {"x": True})), row(("f", {"x": 1}))).scores["args_exact"] == 0.0


def test_another_function_matches_no_name():
    scored = score_tool_calls(said(("volume", AREA[1])), row(AREA))
    assert scored.scores == {"valid_json": 1.0, "name_match": 0.0, "args_exact": 0.0, "call_f1": 0.0}
    assert scored.reason == "wrong function: volume"


def test_one_malformed_region_spoils_the_answer_but_not_the_calls_that_parse():
    scored = score_tool_calls(said(AREA) + "<tool_call>{broken</tool_call>", row(AREA))
    assert scored.scores["valid_json"] == 0.0
    assert scored.scores["args_exact"] == 0.0
    assert scored.scores["call_f1"] == pytest.approx(2 / 3)
    assert scored.reason == "malformed call"


def test_parallel_calls_are_compared_as_multisets():
    two = (("f", {"x": 1}), ("f", {"x": 2}))
    assert score_tool_calls(said(*reversed(two)), row(*two)).scores["args_exact"] == 1.0
    once = score_tool_calls(said(two[0]), row(*two))
    assert once.scores["call_f1"] == pytest.approx(2 / 3)
    assert once.scores["name_match"] == 0.0
    twice = score_tool_calls(said(two[0], two[0]), row(*two))
    assert twice.scores["args_exact"] == 0.0


def test_rows_that_expect_no_call_are_outside_every_denominator():
    assert score_tool_calls("No.", row()).scores == {}


@pytest.mark.parametrize("value", ["NaN", "1e999", "-Infinity", "9" * 5000])
def test_hostile_numbers_are_scored_and_not_raised(value):
    answer = '<tool_call>{"name": "area", "arguments": {"base": ' + value + "}}</tool_call>"
    assert score_tool_calls(answer, row(AREA)).scores["args_exact"] == 0.0


@pytest.mark.parametrize("name", list(METRICS))
def test_every_suite_scores_exactly_the_metrics_it_declares(name):
    suite = find_suite(name)
    assert tuple(metric.name for metric in suite.metrics) == METRICS[name]
    assert suite.main_metric in METRICS[name]
    answer = {"role": "assistant", "content": "x", "tool_calls": row(AREA).answer["tool_calls"]}
    example = ChatRow(id="r", messages=[{"role": "user", "content": "?"}, answer])
    assert tuple(suite.score("x", example).scores) == METRICS[name]

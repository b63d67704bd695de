import json
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.tool_calls import FORMATS, ParsedAnswer, ToolCall
from tunewright.errors import UserError
from tunewright.suites import METRICS
from tunewright.suites.protocol import find_suite
from tunewright.suites.tool_calls import FAILURES, score_tool_calls, tool_calls_suite


def row(*calls, tools=None, **meta):
    tool_calls = [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in calls]
    answer = {"role": "assistant", "tool_calls": tool_calls} if calls else {"role": "assistant", "content": "No."}
    return ChatRow(id="r", messages=[{"role": "user", "content": "?"}, answer], tools=tools, meta=meta)


def said(*calls):
    return "\n".join(f"<tool_call>{json.dumps({'name': n, 'arguments': a})}</tool_call>" for n, a in calls)


def first_four(scored):
    return tuple(scored.scores[name] for name in ("valid_json", "name_match", "args_exact", "call_f1"))


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
    assert first_four(scored) == (1.0, 1.0, 0.0, 0.0)
    assert scored.reason == reason


def test_true_is_not_one():
    assert score_tool_calls(said(("f", {"x": True})), row(("f", {"x": 1}))).scores["args_exact"] == 0.0


def test_another_function_matches_no_name():
    scored = score_tool_calls(said(("volume", AREA[1])), row(AREA))
    assert first_four(scored) == (1.0, 0.0, 0.0, 0.0)
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


@pytest.mark.parametrize("answer", ["No.", "", '{"name": "f", "arguments": {}}'])
def test_rows_that_expect_no_call_count_only_in_no_call(answer):
    scored = score_tool_calls(answer, row())
    assert (scored.scores, scored.reason, scored.failure) == ({"no_call": 1.0}, "no call expected", "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(said(AREA), "unexpected call: area"), ("<tool_call>{broken</tool_call>", "unexpected call: malformed")],
)
def test_a_call_where_none_is_wanted_is_wrong_also_when_it_is_malformed(answer, reason):
    scored = score_tool_calls(answer, row())
    assert (scored.scores, scored.reason, scored.failure) == ({"no_call": 0.0}, reason, "unexpected call")


@pytest.mark.parametrize(("answer", "called"), [("No.", 0.0), (said(("other", {})), 1.0), ("<tool_call>{", 0.0)])
def test_any_call_that_can_be_read_is_one_where_one_is_wanted(answer, called):
    assert score_tool_calls(answer, row(AREA)).scores["called"] == called


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "area",
            "parameters": {
                "type": "object",
                "properties": {"base": {"type": "integer"}, "unit": {"enum": ["cm", "m"]}},
                "required": ["base"],
            },
        },
    },
    {"type": "function", "function": {"name": "volume"}},
]


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        (said(("area", {"base": 1})), 1.0),
        (said(("area", {"base": 2.0, "unit": "m", "more": []})), 1.0),
        (said(("volume", {"x": 1})), 1.0),
        (said(("area", {"base": 1.5})), 0.0),
        (said(("area", {"base": 1, "unit": "km"})), 0.0),
        (said(("area", {"unit": "m"})), 0.0),
        (said(("other", {"base": 1})), 0.0),
        (said(("area", {"base": 1})) + "<tool_call>", 0.0),
        (said(("area", {"base": 1}), ("area", {})), 0.0),
        ("No.", 0.0),
    ],
)
def test_calls_fit_the_schemas_of_the_tools_that_were_offered(answer, fits):
    assert score_tool_calls(answer, row(AREA, tools=TOOLS)).scores["schema_valid"] == fits


def test_without_tools_there_is_no_schema_to_fit():
    assert "schema_valid" not in score_tool_calls(said(AREA), row(AREA)).scores


@pytest.mark.parametrize(
    ("answer", "f1"),
    [
        (said(AREA), 1.0),
        (said(("area", {"base": 10, "height": 5})), 2 * 2 / 5),
        (said(("area", {"base": 10, "height": 5, "unit": "cm", "more": 1})), 2 * 3 / 7),
        (said(("area", {"base": 10, "height": 6, "unit": "cm"})), 2 * 2 / 6),
        (said(("volume", AREA[1])), 0.0),
        (said(AREA, AREA), 2 * 3 / 9),
        (said(("area", {})), 0.0),
        ("No.", 0.0),
    ],
)
def test_the_f1_of_arguments_counts_triples_of_name_key_and_value(answer, f1):
    assert score_tool_calls(answer, row(AREA)).scores["arg_f1"] == pytest.approx(f1)


def test_arguments_of_different_calls_are_not_mixed():
    reference = row(("f", {"a": 1, "b": 1}), ("f", {"a": 2, "b": 2}))
    crossed = score_tool_calls(said(("f", {"a": 1, "b": 2}), ("f", {"a": 2, "b": 1})), reference)
    assert crossed.scores["arg_f1"] == 0.5


def test_calls_are_assigned_so_that_most_arguments_agree():
    """Taking the best partner for the first call leaves the second with none."""
    reference = row(("f", {"a": 1, "b": 2, "c": 0}), ("f", {"a": 1, "b": 2, "c": 9}))
    answer = said(("f", {"a": 1, "b": 2, "c": 9}), ("f", {"a": 1, "b": 7, "c": 0}))
    assert score_tool_calls(answer, reference).scores["arg_f1"] == pytest.approx(2 * (3 + 2) / 12)


calls = st.tuples(st.sampled_from("fg"), st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), max_size=3))


@given(st.lists(calls, min_size=1, max_size=4), st.lists(calls, max_size=4))
def test_the_assignment_is_the_best_of_all(reference, made):
    def agree(one, other):
        return sum(other[1].get(key) == value for key, value in one[1].items()) if one[0] == other[0] else 0

    small, large = sorted((reference, made), key=len)
    best = max(sum(map(agree, small, chosen)) for chosen in permutations(large, len(small)))
    triples = sum(len(arguments) for _, arguments in reference + made)
    scores = score_tool_calls(said(*made), row(*reference)).scores
    assert scores["arg_f1"] == pytest.approx(2 * best / triples if triples else scores["call_f1"])


def test_where_no_call_has_an_argument_the_calls_are_counted():
    assert score_tool_calls(said(("f", {})), row(("f", {}))).scores["arg_f1"] == 1.0
    assert score_tool_calls(said(("g", {})), row(("f", {}))).scores["arg_f1"] == 0.0


FAILED = {
    "no call": "No.",
    "malformed call": "<tool_call>",
    "too few calls": said(("area", {"base": 1})),
    "too many calls": said(*[("area", {"base": 1})] * 3),
    "unknown function": said(("area", {"base": 1}), ("other", {})),
    "wrong function": said(("area", {"base": 1}), ("volume", {})),
    "missing argument": said(("area", {"base": 1}), ("area", {"unit": "m"})),
    "extra argument": said(("area", {"base": 1}), ("area", {"base": 2, "unit": "m", "x": 1})),
    "wrong type": said(("area", {"base": 1}), ("area", {"base": "2", "unit": "m"})),
    "wrong value": said(("area", {"base": 1}), ("area", {"base": 3, "unit": "m"})),
    "": said(("area", {"base": 2, "unit": "m"}), ("area", {"base": 1.0})),
}


@pytest.mark.parametrize(("failure", "answer"), FAILED.items())
def test_every_wrong_answer_is_of_one_class_of_a_closed_list(failure, answer):
    reference = row(("area", {"base": 1}), ("area", {"base": 2, "unit": "m"}), tools=TOOLS)
    assert score_tool_calls(answer, reference).failure == failure


def test_the_list_of_failure_classes_is_closed_and_each_is_shown_above():
    assert {*FAILED, "unexpected call"} - {""} == set(FAILURES)


@pytest.mark.parametrize("format", FORMATS)
def test_the_suite_reads_the_format_it_is_told(format):
    written = {
        "hermes": said(("f", {"a": "x"})),
        "llama-json": '{"name": "f", "parameters": {"a": "x"}}',
        "pythonic": "[f(a='x')]",
        "mistral": '[TOOL_CALLS]f[ARGS]{"a": "x"}',
        "qwen-coder": "<tool_call><function=f><parameter=a>x</parameter></function></tool_call>",
    }
    suite = find_suite("tool-calls", {"format": format})
    for other, answer in written.items():
        assert suite.score(answer, row(("f", {"a": "x"}))).scores["args_exact"] == float(other == format)


def test_a_format_that_is_not_there_is_refused():
    with pytest.raises(UserError, match="hermes"):
        find_suite("tool-calls", {"format": "hermess"})


def test_a_parser_of_ones_own_is_taken():
    def parse(text, tools=()):
        return ParsedAnswer([ToolCall(text, {})], [], "", [text])

    assert tool_calls_suite(parse).score("f", row(("f", {}))).scores["args_exact"] == 1.0


BFCL = {"category": "simple_python", "possible_answer": {"area": {"base": [10], "unit": ["cm", ""]}}}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(said(("area", {"base": 10})), 1.0), (said(("area", {"base": 10, "unit": "C m"})), 1.0), (said(AREA), 0.0)],
)
def test_bfcls_own_verdict_stands_beside_ours(answer, verdict):
    scored = score_tool_calls(answer, row(AREA, tools=TOOLS, **BFCL))
    assert scored.scores["args_bfcl"] == verdict


@pytest.mark.parametrize("value", ["NaN", "1e999", "-Infinity", "9" * 5000])
def test_hostile_numbers_are_scored_and_not_raised(value):
    answer = '<tool_call>{"name": "area", "arguments": {"base": ' + value + "}}</tool_call>"
    assert score_tool_calls(answer, row(AREA)).scores["args_exact"] == 0.0


def test_deep_arguments_are_scored_and_not_raised():
    deep = "[" * 500 + "]" * 500
    answer = '<tool_call>{"name": "area", "arguments": {"base": ' + deep + "}}</tool_call>"
    assert score_tool_calls(answer, row(AREA)).reason == "malformed call"


@given(st.text() | st.lists(st.sampled_from(["<tool_call>", "</tool_call>", said(AREA), "{", "x"])).map("".join))
def test_any_answer_is_scored_with_numbers_from_0_to_1(answer):
    for reference in (row(AREA, tools=TOOLS, **BFCL), row(tools=TOOLS), row(category="irrelevance")):
        scores = score_tool_calls(answer, reference).scores
        assert scores
        assert all(0 <= score <= 1 for score in scores.values())


def test_the_suite_scores_the_metrics_it_declares_in_their_order():
    suite = find_suite("tool-calls")
    declared = tuple(metric.name for metric in suite.metrics)
    assert declared == METRICS["tool-calls"]
    assert suite.main_metric == "args_exact"
    with_call = suite.score("x", row(AREA, tools=TOOLS, **BFCL)).scores
    without = suite.score("x", row(tools=TOOLS)).scores
    assert (*with_call, *without) == declared
    binary = {metric.name for metric in suite.metrics if metric.binary}
    assert set(declared) - binary == {"call_f1", "arg_f1"}

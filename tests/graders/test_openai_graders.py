"""OpenAI's own files are read as they are: these are the examples of their guide and API reference."""

import json

import pytest

from tunewright.graders.protocol import ERROR_FIELDS, load_grader, run, validate
from tunewright.graders.self_check import range_of, share_of_range
from tunewright.graders.spec import GraderError, module_of

TOOL_CALLS = {
    "type": "multi",
    "graders": {
        "function_name": {
            "name": "function_name", "type": "string_check", "input": "get_acceptors",
            "reference": "{{sample.output_tools[0].function.name}}", "operation": "eq",
        },
        "arguments": {
            "name": "arguments", "type": "string_check", "input": "{\"smiles\": \"{{item.smiles}}\"}",
            "reference": "{{sample.output_tools[0].function.arguments}}", "operation": "eq",
        },
    },
    "calculate_output": "0.5 * function_name + 0.5 * arguments",
}  # fmt: skip
CONTACT = {
    "type": "multi",
    "graders": {
        "name": {
            "name": "name_grader", "type": "text_similarity", "input": "{{sample.output_json.name}}",
            "reference": "{{item.name}}", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.9,
        },
        "email": {
            "name": "email_grader", "type": "string_check", "input": "{{sample.output_json.email}}",
            "reference": "{{item.email}}", "operation": "eq",
        },
    },
    "calculate_output": "(name + email) / 2",
}  # fmt: skip
CHECK = {"type": "string_check", "name": "c", "input": "{{ sample.output_text }}", "reference": "{{ item.x }}"}


def test_the_guide_s_tool_call_grader_gives_half_for_the_name_and_half_for_the_arguments():
    item = {"smiles": "CCO"}
    right = '<tool_call>\n{"name": "get_acceptors", "arguments": {"smiles": "CCO"}}\n</tool_call>'
    assert run(TOOL_CALLS, right, item)["reward"] == 1.0
    assert run(TOOL_CALLS, right.replace("CCO", "CCC"), item)["reward"] == 0.5
    found = run(TOOL_CALLS, "no call at all", item)
    assert found["reward"] is None
    assert found["metadata"]["errors"]["sample_parse_error"] is True


def test_the_guide_s_contact_grader_averages_its_parts():
    item = {"name": "John Doe", "email": "john.doe@gmail.com"}
    found = run(CONTACT, json.dumps({"name": "John Doe", "email": "j@x"}), item)
    assert found["reward"] == 0.5
    assert found["sub_rewards"] == {"name": 1.0, "email": 0.0}


@pytest.mark.parametrize(
    ("operation", "answer", "score"),
    [
        ("eq", "Paris", 1), ("eq", "paris", 0), ("ne", "Rome", 1), ("neq", "Paris", 0), ("like", "In Paris!", 1),
        ("like", "in paris", 0), ("ilike", "in PARIS", 1), ("ilike", "Rome", 0),
    ],
)  # fmt: skip
def test_string_checks_compare_as_their_names_say(operation, answer, score):
    assert run({**CHECK, "operation": operation}, answer, {"x": "Paris"})["reward"] == score


def test_a_response_has_the_shape_and_the_fourteen_error_fields_of_the_api():
    found = run({**CHECK, "operation": "eq"}, "Paris", {"x": "Paris"})
    assert set(found) == {"reward", "metadata", "sub_rewards", "model_grader_token_usage_per_model"}
    fields = {"name", "type", "errors", "execution_time", "scores", "token_usage", "sampled_model_name"}
    assert fields < set(found["metadata"])
    assert set(found["metadata"]["errors"]) == set(ERROR_FIELDS) and len(ERROR_FIELDS) == 14
    assert not any(found["metadata"]["errors"].values())
    assert found["metadata"]["type"] == "string_check"


@pytest.mark.parametrize(
    ("spec", "answer", "item", "field"),
    [
        ({**CHECK, "operation": "eq"}, "a", {}, "invalid_variable_error"),
        ({**CHECK, "operation": "eq", "input": "{{ sample.output_json.a }}"}, "a", {"x": "1"}, "sample_parse_error"),
        ({**CHECK, "operation": "eq"}, "a" * 1_000_001, {"x": "1"}, "truncated_observation_error"),
        (
            {"type": "multi", "name": "m", "graders": {"a": {**CHECK, "operation": "eq"}}, "calculate_output": "1 / a"},
            "b", {"x": "1"}, "formula_parse_error",
        ),
        ({"type": "callable", "target": "tests.graders.some_graders:nothing"}, "a", {}, "unresponsive_reward_error"),
        ({"type": "callable", "target": "tests.graders.some_graders:raises"}, "a", {}, "python_grader_runtime_error"),
        ({"type": "callable", "target": "tests.graders.some_graders:not_a_number"}, "a", {}, "other_error"),
    ],
)  # fmt: skip
def test_each_error_sets_its_own_field_and_never_becomes_a_zero(spec, answer, item, field):
    found = run(spec, answer, item)
    assert found["reward"] is None
    assert [name for name, value in found["metadata"]["errors"].items() if value is True] == [field]
    assert found["metadata"]["error_detail"]


def test_the_details_of_code_that_raised_stand_in_their_field():
    found = run({"type": "callable", "target": "tests.graders.some_graders:raises"}, "a", {})
    assert found["metadata"]["errors"]["python_grader_runtime_error_details"] == "ZeroDivisionError: division by zero"


def test_validate_fills_in_defaults_and_reads_neq_as_ne():
    found = validate({**CHECK, "operation": "neq"})
    assert found == {**CHECK, "operation": "ne"}
    assert validate({"grader": CONTACT})["graders"]["name"]["pass_threshold"] == 0.9


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"operation": "equals"}, "operation"),
        ({"operation": "eq", "input": "{{ output }}"}, "input"),
        ({"operation": "eq", "refrence": "x"}, "did you mean `reference`"),
        ({"operation": "eq", "type": "string_chek"}, "did you mean `string_check`"),
        ({}, "operation: is missing"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_path(change, told):
    with pytest.raises(GraderError) as caught:
        validate({**CHECK, **change})
    assert told in str(caught.value)


def test_all_mistakes_of_a_file_come_in_one_go():
    with pytest.raises(GraderError) as caught:
        validate({"type": "string_check", "input": "{{", "operation": "no"})
    assert {problem.path for problem in caught.value.problems} == {"input", "operation", "reference"}


@pytest.mark.parametrize(
    ("graders", "formula", "told"),
    [
        ({"m": {"type": "multi", "graders": {}, "calculate_output": "1"}}, "m", "multi grader inside"),
        ({"a": {**CHECK, "operation": "eq"}}, "b", "no grader"),
        ({"a": {**CHECK, "operation": "eq"}}, "1", "none of the graders"),
        ({"max": {**CHECK, "operation": "eq"}}, "max", "named by letters"),
        ({"a": {**CHECK, "operation": "oops"}}, "a", "operation"),
        ({}, "1", "graders"),
    ],
)
def test_a_wrong_multi_grader_is_refused(graders, formula, told):
    with pytest.raises(GraderError, match=told):
        validate({"type": "multi", "name": "m", "graders": graders, "calculate_output": formula})


def test_a_part_that_the_formula_does_not_use_cannot_spoil_the_score():
    part = {**CHECK, "operation": "eq"}
    spec = {
        "type": "multi",
        "graders": {"a": part, "b": {**part, "reference": "{{ item.y }}"}},
        "calculate_output": "a",
    }
    found = run(spec, "1", {"x": "1"})
    assert found["reward"] == 1.0 and found["sub_rewards"] == {"a": 1.0}


def test_a_multi_grader_s_range_is_that_of_its_formula():
    part = {**CHECK, "operation": "eq"}
    grader = load_grader({"type": "multi", "graders": {"a": part, "b": part}, "calculate_output": "3 * a - b - 1"})
    assert grader.range == (-2.0, 2.0)


def test_a_penalty_takes_away_and_does_not_put_the_right_answer_out_of_the_range():
    wordy = {"type": "regex", "pattern": "because"}
    graders = {"right": {**CHECK, "operation": "like"}, "wordy": wordy}
    grader = load_grader({"type": "multi", "graders": graders, "calculate_output": "right - 0.2 * wordy"})
    assert grader.range == (-0.2, 1.0)
    shares = [share_of_range(grader.grade(said, {"x": "4"}).score, range_of(grader)) for said in ("4", "5, because")]
    assert shares == [1.0, 0.0]


def test_cosine_needs_an_embedder():
    spec = {
        "type": "text_similarity",
        "input": "{{ sample.output_text }}",
        "reference": "b",
        "evaluation_metric": "cosine",
    }
    with pytest.raises(GraderError, match="embedder"):
        load_grader(spec)
    grader = load_grader(spec, embed=lambda texts: [[len(text), 1.0] for text in texts])
    assert grader.grade("a", {}).score == pytest.approx(1.0)


# ── the official client's own types ─────────────────────────────────────────────────────────────────────────────────

SDK_TYPES = {
    "string_check": "StringCheckGrader", "text_similarity": "TextSimilarityGrader", "score_model": "ScoreModelGrader",
    "label_model": "LabelModelGrader", "python": "PythonGrader", "multi": "MultiGrader",
}  # fmt: skip


@pytest.mark.parametrize("kind", SDK_TYPES)
def test_every_field_of_the_official_client_s_graders_is_read(kind):
    graders = pytest.importorskip("openai.types.graders")
    theirs = getattr(graders, SDK_TYPES[kind]).model_fields
    ours = module_of(kind).Spec.model_fields
    assert set(theirs) <= set(ours)
    required = {name for name, field in ours.items() if field.is_required()} - {"type"}
    assert required <= {name for name, field in theirs.items() if field.is_required()}


def test_every_similarity_and_operation_of_the_official_client_is_known():
    from typing import get_args

    graders = pytest.importorskip("openai.types.graders")
    for kind, sdk, name in (
        ("text_similarity", graders.TextSimilarityGrader, "evaluation_metric"),
        ("string_check", graders.StringCheckGrader, "operation"),
    ):
        ours = get_args(module_of(kind).Spec.model_fields[name].annotation)
        assert set(get_args(sdk.model_fields[name].annotation)) <= set(ours)


def test_the_official_client_reads_our_response():
    responses = pytest.importorskip("openai.types.fine_tuning.alpha")
    found = run(CONTACT, json.dumps({"name": "John Doe", "email": "a@b"}), {"name": "John Doe", "email": "a@b"})
    read = responses.GraderRunResponse.model_validate(found)
    assert read.reward == 1.0 and read.sub_rewards == {"name": 1.0, "email": 1.0}
    fields = type(read.metadata.errors).model_fields
    assert {field.alias or name for name, field in fields.items()} == set(ERROR_FIELDS)

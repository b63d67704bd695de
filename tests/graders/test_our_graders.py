import json
import time

import pytest
from tests.graders import some_graders

from tunewright.artifacts.dataset import ChatRow
from tunewright.graders.callables import AT_ONCE
from tunewright.graders.number import find_number
from tunewright.graders.protocol import Grade, Grader, grade_many, load_grader, validate
from tunewright.graders.spec import MODULES, GraderError, module_of


def grade(spec, answer, row=None):
    found = load_grader(spec).grade(answer, row or {})
    return found.score if found.error is None else found.error.kind


# ── number ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "where", "number"),
    [
        ("first 3, then 4", "last", 4), ("it is -12.5 degrees", "last", -12.5), ("5-3", "last", 3),
        ("GPT-4", "last", 4), ("1,234,567.8", "last", 1234567.8), ("costs $1,000.", "last", 1000), ("-$5", "last", -5),
        ("3e-2", "last", 0.03), ("3/4", "last", 0.75), ("1 / 4", "last", 0.25), (".5", "last", 0.5),
        (r"\frac{3}{4}", "last", 0.75), ("12%", "last", 12), ("none", "last", None),
        (r"\boxed{7} and 9", "boxed", 7), (r"\boxed{\frac{1}{2}}", "boxed", 0.5), (r"\boxed{7", "boxed", None),
        ("1+1\n#### 2\n3", "hashes", 2), ("no hashes 3", "hashes", None), ("<answer> 8 </answer> 9", "tag", 8),
        (r"5 \boxed{6} #### 7", "auto", 6), ("5 #### 7 8", "auto", 8), ("5 and 9", "auto", 9),
        (" 42. ", "only", 42), ("42 apples", "only", None), ("$42", "only", 42), ("", "auto", None),
        ("1" * 400, "last", None),
        ("#### Step 1: Add\n2 + 2 = 4\n<answer>4</answer>", "auto", 4), ("#### 1. Add\nIt is 4", "auto", 4),
        ("#### Conclusion\nThe answer is 42.", "auto", 42), ("#### 3 apples\n#### Check\n1 + 2", "auto", 3),
        (r"#### $\frac{1}{2}$", "auto", 0.5), ("#### **-$1,000**\n7", "auto", -1000), ("7\n#### 3.5 m", "auto", 3.5),
        (r"\boxed{x} is <answer>6</answer> of 9", "auto", 6), ("#### Step 1: Add\n9", "hashes", 1),
    ],
)  # fmt: skip
def test_the_number_of_an_answer_is_found_where_it_stands(text, where, number):
    assert find_number(text, where) == (None if number is None else pytest.approx(number))


def test_numbers_are_compared_within_the_tolerance():
    spec = {"type": "number", "tolerance": 0.01}
    assert grade(spec, "about 3.141", {"reference": "3.14159"}) == 1.0
    assert grade(spec, "about 3.1", {"reference": "3.14159"}) == 0.0
    assert grade({"type": "number"}, "0.3", {"reference": 0.1 + 0.2}) == 1.0
    assert grade(spec, "no idea", {"reference": "3"}) == 0.0
    assert grade(spec, "3", {"reference": "three"}) == "invalid_variable_error"


@pytest.mark.parametrize(
    "text",
    [
        "#### 1. a\n" * 100_000,
        "#### " + "1" * 1_000_000,
        "#### " + "\\a" * 500_000,
        "1" * 1_000_000,
        "1," * 500_000,
        "-" * 1_000_000,
        r"\boxed{" * 140_000,
        "1/" * 500_000,
        r"\frac{" * 160_000,
    ],
)
def test_hostile_texts_are_read_for_numbers_in_linear_time(text):
    began = time.process_time()
    for where in ("auto", "last", "boxed", "hashes", "tag", "only"):
        find_number(text, where)
    assert time.process_time() - began < 5


# ── regex, keyword, length ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_regex_is_searched_or_matched_as_a_whole():
    assert grade({"type": "regex", "pattern": r"\d+"}, "a 12 b") == 1.0
    assert grade({"type": "regex", "pattern": r"\d+", "match": "full"}, "a 12 b") == 0.0
    assert grade({"type": "regex", "pattern": "HI", "flags": ["ignore_case"]}, "hi") == 1.0
    assert grade({"type": "regex", "pattern": "hi", "negate": True}, "hi") == 0.0


def test_a_pattern_that_could_hang_is_refused_when_the_file_is_read():
    with pytest.raises(GraderError, match="linear time"):
        validate({"type": "regex", "pattern": r"(a)\1"})


def test_keywords_give_a_share_and_forbidden_ones_nothing():
    spec = {"type": "keyword", "required": ["cat", "dog"], "forbidden": ["cow"]}
    assert grade(spec, "A cat.") == 0.5
    assert grade(spec, "cat, dog") == 1.0
    assert grade(spec, "concatenate dogs") == 0.0
    assert grade(spec, "cat dog cow") == 0.0
    assert grade({**spec, "all": True}, "A cat.") == 0.0
    assert grade({"type": "keyword", "required": "{{ item.words }}"}, "x y", {"words": ["x", "z"]}) == 0.5
    assert grade({"type": "keyword", "required": "{{ item.words }}"}, "x y", {"words": 3}) == "invalid_variable_error"


def test_silence_is_no_achievement_where_words_are_only_forbidden():
    assert grade({"type": "keyword", "forbidden": ["cow"]}, " ") == 0.0


def test_the_length_score_falls_over_the_margin():
    spec = {"type": "length", "least": 2, "most": 4, "margin": 3}
    assert [grade(spec, " ".join("x" * count)) for count in range(9)] == [0, 0.75, 1, 1, 1, 0.75, 0.5, 0.25, 0]


# ── json_schema ─────────────────────────────────────────────────────────────────────────────────────────────────────

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "tag": {"type": "string", "pattern": "^[a-z]+$"}},
    "patternProperties": {"^x_": {"type": "number"}},
    "additionalProperties": False,
    "required": ["n"],
}


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"n": 1}', 1), ('{"n": 1, "tag": "ab", "x_1": 2.5}', 1), ('{"n": "1"}', 0), ("{}", 0), ("not json", 0),
        ('{"n": 1, "tag": "A"}', 0), ('{"n": 1, "y": 2}', 0), ('{"n": 1, "x_1": "a"}', 0),
        ('```json\n{"n": 1}\n```', 0),
        ('{"n": NaN}', 0), ("[" * 100_000, 0), ("null", 0),
    ],
)  # fmt: skip
def test_json_that_fits_the_schema_scores_one_and_all_else_zero(answer, score):
    assert grade({"type": "json_schema", "schema": SCHEMA}, answer) == score


def test_a_fence_is_accepted_only_on_request():
    assert grade({"type": "json_schema", "schema": SCHEMA, "allow_fence": True}, '```json\n{"n": 1}\n```') == 1.0


def test_a_schema_may_stand_in_the_row():
    spec = {"type": "json_schema", "schema": "{{ item.schema }}"}
    assert grade(spec, "3", {"schema": {"type": "integer"}}) == 1.0
    assert grade(spec, "3", {"schema": json.dumps({"type": "string"})}) == 0.0
    assert grade(spec, "3", {"schema": {"type": "strin"}}) == "invalid_variable_error"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"pattern": r"(a)\1"},
        {"patternProperties": {"(?=a)": {}}},
        {"properties": {"a": {"pattern": "("}}},
    ],
)
def test_a_wrong_or_unsafe_schema_is_refused_when_the_grader_is_loaded(schema):
    with pytest.raises(GraderError, match="schema"):
        load_grader({"type": "json_schema", "schema": schema})


def test_references_never_leave_the_schema():
    assert grade({"type": "json_schema", "schema": {"$ref": "http://127.0.0.1:9/x.json"}}, "{}") == "other_error"


def test_hostile_json_is_checked_in_linear_time():
    hang = {"type": "json_schema", "schema": {"items": {"pattern": "^(a+)+$"}, "uniqueItems": True}}
    began = time.process_time()
    assert grade(hang, json.dumps(["a" * 20_000 + "!"])) == 0.0
    assert grade(hang, json.dumps([{"k": n} for n in range(50_000)] + [{"k": 1.0}])) == 0.0
    assert time.process_time() - began < 5


@pytest.mark.parametrize("items", [[1, 1.0], [{"a": 1}, {"a": 1}], [True, 1], [0, False], [[1], [1, 2]], ["1", 1]])
def test_unique_items_are_what_jsonschema_says(items):
    from jsonschema import Draft202012Validator

    theirs = Draft202012Validator({"uniqueItems": True}).is_valid(items)
    assert grade({"type": "json_schema", "schema": {"uniqueItems": True}}, json.dumps(items)) == float(theirs)


# ── tool_call, reasoning_gym ────────────────────────────────────────────────────────────────────────────────────────


def call(name="look", **arguments):
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


@pytest.mark.parametrize(
    ("credit", "answer", "score"),
    [
        ("exact", call(a=1, b="x"), 1), ("exact", call(b="x", a=1.0), 1), ("exact", call(a=True, b="x"), 0),
        ("exact", "no call", 0), ("exact", call(a=1, b="x") + "<tool_call>{", 0), ("name", call(a=9), 1),
        ("name", call("see"), 0), ("f1", call(a=1, b="x") + call(), 2 / 3), ("partial", call(a=1, b="y"), 2 / 3),
        ("partial", call("see", a=1, b="x"), 0), ("partial", call(a=1, b="x"), 1),
    ],
)  # fmt: skip
def test_tool_calls_earn_the_credit_that_the_spec_names(credit, answer, score):
    assert grade({"type": "tool_call", "credit": credit}, answer, {"reference": call(a=1, b="x")}) == pytest.approx(
        score
    )


def test_where_no_call_is_wanted_a_call_and_silence_are_both_wrong():
    spec = {"type": "tool_call"}
    assert [grade(spec, text, {"reference": "Hello."}) for text in ("Hi.", call(), " ")] == [1, 0, 0]


def test_the_reference_may_be_a_list_of_calls():
    row = {"calls": [{"function": {"name": "look", "arguments": '{"a": 1}'}}]}
    assert grade({"type": "tool_call", "reference": "{{ item.calls }}"}, call(a=1), row) == 1.0
    assert (
        grade({"type": "tool_call", "reference": "{{ item.calls }}"}, call(a=1), {"calls": [3]})
        == "invalid_variable_error"
    )


def test_a_chat_row_s_own_answer_is_the_reference():
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {"a": 1}}}],
    }
    row = ChatRow(id="r", messages=[{"role": "user", "content": "?"}, message], meta={"k": 1})
    assert load_grader({"type": "tool_call"}).grade(call(a=1), row).score == 1.0


def test_reasoning_gym_s_own_verifier_decides():
    pytest.importorskip("reasoning_gym")
    from tunewright.suites.reasoning_gym import entry_of

    origin = {"task": "chain_sum", "config": {}, "seed": 3, "index": 0, "size": 5}
    gold = entry_of(origin)["answer"]
    spec = {"type": "reasoning_gym"}
    assert grade(spec, f"so <answer>{gold}</answer>", {"reasoning_gym": origin}) == 1.0
    assert grade(spec, "<answer>-1</answer>", {"reasoning_gym": origin}) < 0.5
    assert grade(spec, "no tag", {"reasoning_gym": origin}) == 0.0
    assert (
        grade(spec, "<answer>1</answer>", {"reasoning_gym": {**origin, "task": "no_such"}}) == "invalid_variable_error"
    )


# ── callables ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "score"), [("right", 1.0), ("told", 0.5), ("graded", 0.25), ("slow", 1.0), ("words", "other_error")]
)
def test_python_functions_may_return_numbers_dicts_and_grades_and_be_async(name, score):
    assert grade(f"tests.graders.some_graders:{name}", "4", {"reference": "4"}) == score


def test_async_functions_are_awaited_together():
    grader = load_grader("tests.graders.some_graders:slow")
    grades = grade_many(grader, ["4"] * 64, [{"reference": "4"}] * 64)
    assert all(found.score == 1.0 for found in grades)
    assert some_graders.most_at_once == AT_ONCE


def test_an_async_function_works_inside_a_running_loop_as_in_a_notebook():
    import asyncio

    async def cell():
        return load_grader("tests.graders.some_graders:slow").grade("4", {"reference": "4"})

    assert asyncio.run(cell()).score == 1.0


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no_such_module:f", "no module"),
        ("json:no_such", "no function"),
        ("json:__doc__", "no function"),
        ("json:1x", "target"),
    ],
)
def test_a_target_that_is_not_there_is_told(target, told):
    with pytest.raises(GraderError, match=told):
        load_grader(target)


def test_a_module_of_the_current_folder_is_found(tmp_path, monkeypatch):
    (tmp_path / "my_own_grader.py").write_text("def grade(answer, row):\n    return len(answer) > 2\n")
    monkeypatch.chdir(tmp_path)
    assert grade("my_own_grader:grade", "four") == 1.0


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", sorted(set(MODULES) - {"python", "code_tests"}))
def test_every_type_has_a_spec_that_names_it_and_describes_its_fields(kind):
    spec = module_of(kind).Spec
    assert spec.model_fields["type"].annotation.__args__ == (kind,)
    assert all(field.description for name, field in spec.model_fields.items() if name not in ("type",)), kind


def test_grades_and_graders_have_the_form_that_others_count_on():
    grader = load_grader({"type": "number"})
    assert isinstance(grader, Grader)
    found = grader.grade("4", {"reference": "4"})
    assert isinstance(found, Grade) and found.seconds > 0 and found.error is None


def test_files_in_json_and_yaml_are_read(tmp_path):
    (tmp_path / "g.json").write_text('{"type": "number"}')
    (tmp_path / "g.yaml").write_text("type: number\ntolerance: 1\n")
    (tmp_path / "broken.json").write_text("{")
    assert grade(tmp_path / "g.json", "4", {"reference": "4"}) == 1.0
    assert grade(str(tmp_path / "g.yaml"), "4.5", {"reference": "4"}) == 1.0
    with pytest.raises(GraderError, match="broken"):
        load_grader(tmp_path / "broken.json")

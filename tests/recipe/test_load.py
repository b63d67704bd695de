"""Loading: what a good recipe becomes, and where each kind of mistake is told."""

import os
from pathlib import Path

import pytest
from tests.recipe.conftest import GOOD, SIX, replaced

from tunewright.errors import RecipeError, UserError
from tunewright.recipe.load import load_recipe


def place(problem):
    return problem.line, problem.column


def test_a_good_recipe_is_resolved_with_ids_model_and_seed(good):
    recipe = load_recipe(good)
    assert recipe.ids() == ["data", "before", "sft", "after", "compare"]
    sections = {section.id: section for _, section in recipe.stages}
    assert sections["before"].model == "smollm2-135m-instruct"
    assert sections["after"].model == "sft"
    assert sections["sft"].seed == 7
    assert sections["sft"].learning_rate == 2e-4


def test_six_mistakes_are_told_at_once_each_with_place_and_suggestion(problems):
    found = {place(problem): problem.suggestion for problem in problems(SIX)}
    assert found == {
        (2, 1): "seed",
        (5, 49): "data.split.test",
        (6, 5): "evaluate",
        (7, 41): None,
        (7, 48): "sft.lora.rank",
        (9, 26): "before",
    }


def test_the_problems_come_in_the_order_of_the_file(problems):
    places = [place(problem) for problem in problems(SIX)]
    assert places == sorted(places)


def test_a_message_holds_place_finding_expectation_and_example(problems):
    [text] = [problem.render() for problem in problems(replaced("steps: 60", "steps: sixty"))]
    assert 'recipe.yaml:7:41: `sft.steps` is the text "sixty"' in text
    assert "expected: a whole number, at least 1" in text
    assert "example: " in text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("steps: yes", "a whole number"),
        ("steps: true", "a whole number"),
        ("steps: 1.5", "a whole number"),
        ("steps: '60'", "a whole number"),
        ("steps: [60]", "a whole number"),
        ("steps: 0", "at least 1"),
        ("steps: 60, learning_rat: 1", "a number, above 0, at most 1"),
        ("steps: 60, schedule: cosin", "one of cosine, linear, constant"),
        ("steps: 60, lora: 8", "a mapping with rank, alpha, dropout, lr_ratio, targets"),
        ("steps: 60, lora: {targets: [a, 3]}", "text"),
        ("steps: 60, trackers: wandb", "a list (one of trackio, wandb, mlflow)"),
        ("steps: 60, lora: {dropout: .inf}", "a number that has an end"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(problems, change, expected):
    [problem] = problems(replaced("steps: 60", change))
    assert expected in problem.expected
    told = problem.render().lower()
    assert not any(term in told for term in ("input", "valid", "literal", "discriminator", "tuple", "bool_"))


@pytest.mark.parametrize("test", ["2.7", "1.0", "1e2", "0", "-3", "true", "'150'"])
def test_rows_to_hold_out_are_a_share_below_one_or_a_whole_number(problems, test):
    [problem] = problems(replaced("test: 150", f"test: {test}"))
    assert problem.path == "data.split.test"
    assert problem.expected == "a number, above 0, below 1, or a whole number, at least 1"


@pytest.mark.parametrize("test", [150, 1, 0.2, 0.999])
def test_a_share_and_a_number_of_rows_stay_what_they_are(load, test):
    held_out = load(replaced("test: 150", f"test: {test}")).stages[0][1].split.test
    assert (held_out, type(held_out)) == (test, type(test))


def test_a_misspelt_type_of_a_source_gets_the_nearest_one_and_does_not_hide_the_rest(problems):
    found = problems(replaced("{type: bfcl}", "{type: bfc, categoris: [multiple]}"))
    assert [(problem.path, problem.suggestion) for problem in found] == [
        ("data.sources.0.type", "bfcl"),
        ("data.sources.0.categoris", "data.sources.0.categories"),
    ]


def test_a_key_of_another_type_names_that_type(problems):
    [problem] = problems(replaced("{type: bfcl}", "{type: bfcl, path: rows.jsonl}"))
    assert problem.suggestion == "data.sources.0.type: jsonl"


def test_a_missing_type_is_told_where_the_mapping_stands(problems):
    [problem] = problems(replaced("{type: linear, floor: 0.2}", "{floor: 0.2}"))
    assert problem.path == "sft.weighting.type"
    assert problem.expected.startswith("one of none, linear, ")


def test_a_missing_key_is_told_at_its_stage(problems):
    [problem] = problems(replaced("suite: tool-calls, rows: data.test}\n  - sft", "rows: data.test}\n  - sft"))
    assert (problem.path, place(problem)) == ("before.suite", (6, 5))


@pytest.mark.parametrize(
    ("word", "value"), [("on", "on"), ("off", "off"), ("no", "no"), ("2020-01-01", "2020-01-01"), ("0o7 x", "0o7 x")]
)
def test_words_that_older_yaml_turned_into_something_else_stay_text(load, word, value):
    assert load(f"hypothesis: {word}\n" + GOOD).hypothesis == value


@pytest.mark.parametrize(("number", "value"), [("1e-4", 1e-4), ("2E-4", 2e-4), (".5", 0.5), ("1_0.0e-2", 0.1)])
def test_numbers_with_an_exponent_are_numbers(load, number, value):
    recipe = load(replaced("2e-4", number))
    assert recipe.stages[2][1].learning_rate == value


def test_anchors_may_be_used(load):
    text = replaced("rows: data.test}\n  - sft", "rows: &held data.test}\n  - sft").replace(
        "rows: data.test}", "rows: *held}"
    )
    assert load(text).stages[3][1].rows == "data.test"


# ── files that are no recipe ────────────────────────────────────────────────────────────────────────────────────────


def only_problem(path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert isinstance(caught.value, UserError)
    [problem] = caught.value.problems
    return problem


def test_a_missing_file_is_told_with_the_nearest_name(good):
    problem = only_problem(good.with_name("god.yaml"))
    assert problem.where == str(good.with_name("god.yaml"))
    assert problem.suggestion == "good.yaml"


def test_a_folder_is_no_recipe(good):
    assert "folder" in only_problem(good.parent).seen


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "null\n"])
def test_an_empty_file_is_told(tmp_path, text):
    path = tmp_path / "empty.yaml"
    path.write_text(text)
    assert "empty" in only_problem(path).seen


@pytest.mark.parametrize("text", ["- a\n", "text\n", "3\n"])
def test_a_file_that_holds_no_mapping_is_told_with_an_example(tmp_path, text):
    path = tmp_path / "list.yaml"
    path.write_text(text)
    assert "stages:" in only_problem(path).example


def test_a_byte_that_is_not_utf8_is_told_with_line_and_column(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"recipe: a\nhypothesis: \xc3\xa4 \xe4\n")
    assert place(only_problem(path)) == (2, 15)


def test_a_byte_order_mark_is_no_mistake(good):
    good.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_recipe(good).recipe == "good"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: [1, 2\nb: 3\n", (2, 2)),
        ("a: 1\n\tb: 2\n", (2, 1)),
        ("a: b: c\n", (1, 5)),
        ("a: 1\n---\nb: 2\n", (2, 1)),
        ("a: *nothing\n", (1, 4)),
        ("a: \x01\n", (1, 4)),
    ],
)
def test_broken_yaml_is_told_with_line_and_column(tmp_path, text, where):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    assert place(only_problem(path)) == where


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "[" * 2000, "a: " + "[" * 100 + "]" * 100])
def test_endless_nesting_ends_in_an_error(tmp_path, text):
    path = tmp_path / "deep.yaml"
    path.write_text(text)
    assert "nested" in only_problem(path).seen


def test_anchors_that_multiply_end_in_an_error(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = tmp_path / "laughs.yaml"
    path.write_text("\n".join(lines))
    assert "more than" in only_problem(path).seen


def test_a_key_that_stands_twice_is_told_at_its_second_place(problems):
    [problem] = problems(GOOD + "seed: 8\n")
    assert (place(problem), problem.path) == ((10, 1), "seed")


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_recipe_without_stages_is_told(problems):
    [problem] = problems("recipe: a\nmodel: a/b\n")
    assert "`stages` is missing" in problem.seen
    [problem] = problems("recipe: a\nmodel: a/b\nstages: []\n")
    assert "a list of 0" in problem.seen


@pytest.mark.parametrize("item", ["sft", "3", "[sft]", "{}", "sft: 3", "sft: [a]"])
def test_a_stage_of_the_wrong_shape_is_told_with_an_example(problems, item):
    [problem] = problems(f"recipe: a\nmodel: a/b\nstages:\n  - {item}\n")
    assert problem.line == 4
    assert problem.example


def test_a_stage_whose_fields_are_not_indented_is_told_so(problems):
    [problem] = problems("recipe: a\nmodel: a/b\nstages:\n  - sft:\n    rows: data.train\n    steps: 3\n")
    assert "the fields of `sft` stand further in" in problem.seen


def test_two_stages_of_one_kind_need_ids(problems):
    found = problems(
        replaced("id: after, ", "")
        .replace("id: before, ", "")
        .replace("baseline: before, candidate: after", "baseline: evaluate, candidate: data")
    )
    assert "a second stage is called `evaluate`" in found[0].seen
    assert place(found[0]) == (8, 5)


# ── references ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new", "seen", "suggestion"),
    [
        ("rows: data.train", "rows: data", "several parts: data.train, data.test", "data.train or data.test"),
        ("rows: data.train", "rows: data.tran", "no part `tran`", "data.train"),
        ("rows: data.train", "rows: dta.train", "names no stage above", "data.train"),
        ("rows: data.train", "rows: before", "makes scores, not rows", None),
        ("baseline: before", "baseline: befor", "names no stage above", "before"),
        ("baseline: before", "baseline: before.x", "has no parts", "before"),
        ("baseline: before", "baseline: data", "makes rows, not scores", None),
        ("model: sft", "model: sfd", "names no stage above, and no model", "sft"),
        ("model: sft", "model: data", "makes rows, not an adapter", None),
        ("model: sft", "model: smollm2-135m-instuct", "and no model", "smollm2-135m-instruct"),
        ("tool-calls, rows: data.test}\n  - sft", "tool-calls, model: sft, rows: data.test}\n  - sft", "below", None),
        ("candidate: after", "candidate: after, beside: [after, befor]", "names no stage above", "before"),
    ],
)
def test_a_reference_that_cannot_be_is_told(problems, old, new, seen, suggestion):
    [problem] = problems(replaced(old, new))
    assert seen in problem.seen
    assert problem.suggestion == suggestion or suggestion is None


def test_a_reference_in_a_list_is_told_at_its_own_place(problems):
    [problem] = problems(replaced("candidate: after", "candidate: after, beside: [before, befor]"))
    assert problem.path == "compare.beside.1"
    assert place(problem) == (9, 69)


@pytest.mark.parametrize("model", ["owner/name", "owner/name@main", "some.gguf", ".", "smollm2-135m-instruct"])
def test_what_has_the_form_of_a_model_is_taken(load, model):
    recipe = load(
        replaced("model: sft", f"model: {model}").replace("model: smollm2-135m-instruct", f"model: {model}", 1)
    )
    assert recipe.model == model


def test_an_unknown_alias_in_the_header_gets_the_nearest_one(problems):
    [problem] = problems(replaced("model: smollm2-135m-instruct", "model: smolm2-135m"))
    assert (problem.path, problem.suggestion, place(problem)) == ("model", "smollm2-135m-instruct", (3, 8))


def test_an_unknown_model_of_a_stage_is_told_there(problems):
    [problem] = problems(replaced("rows: data.train", "model: nothing, rows: data.train"))
    assert problem.path == "sft.model"


def test_a_mistake_inside_a_stage_does_not_hide_its_reference_to_nothing(problems):
    found = problems(replaced("rows: data.train, steps: 60", "rows: data.tain, stps: 60"))
    assert {problem.path for problem in found} == {"sft.rows", "sft.stps", "sft"}


# ── rules between fields ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("steps: 60", "steps: 60, epochs: 1", "`steps` and `epochs` are both given"),
        ("steps: 60, ", "", "neither `steps` nor `epochs` is given"),
        ("id: before", "id: before, shots: 3", "3 worked examples are asked for"),
        ("candidate: after", "candidate: before", "compared with itself"),
        ("id: after", "id: after, limit: 5", "`before` answers all rows, `after` the first 5 rows"),
        ("metric: args_exact", "metric: arg_exact", "no metric of the suite tool-calls"),
        ("id: after, model: sft, suite: tool-calls", "id: after, model: sft, suite: exact-match", "is scored by"),
    ],
)
def test_a_rule_between_fields_is_told_in_its_own_words(problems, old, new, seen):
    assert any(seen in problem.seen for problem in problems(replaced(old, new)))


def test_worked_examples_with_their_rows_are_right(load):
    assert load(replaced("id: before", "id: before, shots: 3, shots_from: data.train")).stages[1][1].shots == 3


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def jsonl_recipe(path: str) -> str:
    return replaced("{type: bfcl}", f"{{type: jsonl, path: {path}}}")


def test_a_source_file_is_taken_from_the_folder_of_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "rows.jsonl").write_text("{}\n")
    path = tmp_path / "recipes" / "a.yaml"
    path.write_text(jsonl_recipe("../rows.jsonl"))
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("recipes/a.yaml")).stages[0][1].sources[0].path == "rows.jsonl"
    monkeypatch.chdir(tmp_path / "recipes")
    assert load_recipe(Path("a.yaml")).stages[0][1].sources[0].path == str(tmp_path / "rows.jsonl")


def test_a_source_file_that_is_not_there_is_told_with_its_line(problems, tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    [problem] = problems(jsonl_recipe("row.jsonl"))
    assert (problem.path, problem.line, problem.suggestion) == ("data.sources.0.path", 5, "rows.jsonl")


@pytest.mark.parametrize("path", ['"\\0"', "x" * 5000, '""', "."])
def test_a_path_that_no_file_can_have_is_told(problems, path):
    [problem] = problems(jsonl_recipe(path))
    assert problem.path == "data.sources.0.path"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(good):
    good.chmod(0)
    assert "cannot be read" in only_problem(good).seen


@pytest.mark.parametrize(
    ("written", "file", "right"),
    [
        ("jsonl", "pc.csv", "csv"),
        ("jsonl", "pc.TSV", "csv"),
        ("jsonl", "pc.parquet", "parquet"),
        ("csv", "pc.json", "jsonl"),
    ],
)
def test_a_file_of_another_type_than_its_source_says_is_told_with_the_right_one(
    problems, tmp_path, written, file, right
):
    (tmp_path / file).write_text("prompt,completion\nHi,Hello\n")
    [problem] = problems(jsonl_recipe(file).replace("type: jsonl", f"type: {written}"))
    assert (problem.path, problem.suggestion) == ("data.sources.0.type", f"type: {right}")


def test_a_file_of_an_ending_that_says_nothing_may_be_of_any_type(load, tmp_path):
    (tmp_path / "rows.txt").write_text("{}")
    assert load(jsonl_recipe("rows.txt")).stages[0][1].sources[0].type == "jsonl"

"""Gates on a recipe's design: each fires on the planted fault and is silent on the good recipe."""

from __future__ import annotations

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.design import judge_design, judge_sizes, num_asked
from tunewright.recipe.load import load_recipe

GOOD = """\
recipe: good
model: smollm2-135m-instruct
stages:
  - data:     {sources: [{type: bfcl}], split: {test: 150}}
  - evaluate: {id: before, suite: tool-calls, rows: data.test}
  - evaluate: {id: shown, suite: tool-calls, rows: data.test, shots: 3, shots_from: data.train}
  - sft:      {rows: data.train, steps: 60, weighting: {type: linear, floor: 0.2}}
  - evaluate: {id: after, model: sft, suite: tool-calls, rows: data.test}
  - compare:  {baseline: before, candidate: after, beside: [shown], require: {metric: args_exact, better_by: 0.1}}
"""
FAULTS = [
    ("before, candidate: after", "after, candidate: before", "candidate_is_the_trained_one", "FAILED"),
    ("id: after,", "id: after, temperature: 0.7,", "answered_alike", "WARNED"),
    ("id: after,", "id: after, max_new_tokens: 16,", "answered_alike", "WARNED"),
    ("sft:      {rows: data.train", "sft:      {rows: data.test", "trained_rows_are_not_asked", "FAILED"),
    ("shots_from: data.train", "shots_from: data.test", "examples_are_not_asked", "FAILED"),
    ("steps: 60,", "steps: 60, learning_rate: 1.0,", "settings_can_train", "FAILED"),
    ("steps: 60,", "steps: 60, learning_rate: 1e-9,", "settings_can_train", "FAILED"),
    ("steps: 60,", "steps: 60, learning_rate: 0.1,", "settings_can_train", "WARNED"),
    ("steps: 60,", "steps: 60, max_grad_norm: 1e-12,", "settings_can_train", "FAILED"),
    ("steps: 60,", "steps: 60, lora: {alpha: 1e6},", "settings_can_train", "WARNED"),
    ("steps: 60,", "steps: 60, lora: {lr_ratio: 1e4},", "settings_can_train", "FAILED"),
    ("steps: 60,", "steps: 60, weight_decay: 1000,", "settings_can_train", "FAILED"),
    ("floor: 0.2", "floor: 0.2, scale: 1e-12", "settings_can_train", "FAILED"),
    ("floor: 0.2", "floor: 0.2, detach: false", "settings_can_train", "WARNED"),
]  # fmt: skip


def verdicts(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return judge_design(load_recipe(path, ()))


def test_a_good_recipe_passes_every_gate(tmp_path):
    found = verdicts(tmp_path, GOOD)
    assert {one.status for one in found} == {Status.PASSED}
    others = {"candidate_is_another_system", "trained_model_is_compared"}
    assert {one.name for one in found} == {name for _, _, name, _ in FAULTS} | others


@pytest.mark.parametrize(("old", "new", "gate", "status"), FAULTS)
def test_a_planted_fault_is_told_by_its_gate_alone_with_a_remedy(tmp_path, old, new, gate, status):
    assert old in GOOD
    found = [one for one in verdicts(tmp_path, GOOD.replace(old, new)) if one.status is not Status.PASSED]
    assert {(one.name, str(one.status)) for one in found} == {(gate, status)}
    assert all(one.remedy for one in found)


def test_a_recipe_that_compares_and_trains_nothing_is_not_judged(tmp_path):
    assert verdicts(tmp_path, "".join(GOOD.splitlines(keepends=True)[:4])) == []


def told(tmp_path, text):
    return {one.name: str(one.status) for one in verdicts(tmp_path, text) if one.status is not Status.PASSED}


@pytest.mark.parametrize("idle", ["", "precision: float32, ", "seed: 3, ", "temperature: 0, ", "top_p: 1, "])
def test_a_base_that_is_evaluated_again_is_found_whatever_idle_field_differs(tmp_path, idle):
    text = GOOD.replace("id: after, model: sft, ", f"id: after, {idle}")
    assert told(tmp_path, text) == {"candidate_is_another_system": "FAILED", "trained_model_is_compared": "FAILED"}


def test_one_model_under_two_spellings_of_its_place_is_one_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    place = tmp_path / "model"
    text = GOOD.replace("smollm2-135m-instruct", str(place)).replace("model: sft", f"model: {place}/../model")
    assert told(tmp_path, text)["candidate_is_another_system"] == "FAILED"


def test_worked_examples_against_training_are_a_question_and_no_swap(tmp_path):
    text = GOOD.replace("before, candidate: after, beside: [shown]", "after, candidate: shown")
    assert told(tmp_path, text) == {"candidate_is_the_trained_one": "WARNED"}


def test_training_rows_that_are_asked_beside_the_comparison_only_warn(tmp_path):
    text = GOOD + "  - evaluate: {id: gap, model: sft, suite: tool-calls, rows: data.train}\n"
    assert told(tmp_path, text) == {"trained_rows_are_not_asked": "WARNED"}


@pytest.mark.parametrize(("limit", "status"), [(5, "FAILED"), (11, "WARNED"), (12, None)])
def test_a_limit_says_at_once_how_little_can_be_shown(tmp_path, limit, status):
    text = GOOD.replace("rows: data.test", f"rows: data.test, limit: {limit}")
    assert told(tmp_path, text).get("rows_can_show_it") == status


def test_how_many_rows_are_held_out_is_judged_when_they_are_made(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD.replace("test: 150", "test: 5"))  # whole groups: at least five
    recipe = load_recipe(path, ())
    assert "rows_can_show_it" not in {one.name for one in judge_design(recipe)}
    for rows, status in ((5, Status.FAILED), (20, Status.PASSED)):
        (verdict,) = judge_sizes(recipe, num_asked(recipe, {"data.test": rows}))
        assert verdict.status is status
    bold = recipe.model_copy(update={"stages": [(kind, _sure(one)) for kind, one in recipe.stages]})
    (verdict,) = judge_sizes(bold, num_asked(bold, {"data.test": 12}))
    assert verdict.status is Status.FAILED and "at least 15 rows" in verdict.bound


def _sure(section):
    return section.model_copy(update={"confidence": 0.9999}) if hasattr(section, "confidence") else section

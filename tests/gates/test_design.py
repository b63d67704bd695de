"""Gates on a recipe's design: each fires on the planted fault and is silent on the good recipe."""

from __future__ import annotations

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.design import judge_design
from tunewright.recipe.load import load_recipe

GOOD = """\
recipe: good
model: smollm2-135m-instruct
stages:
  - data:     {sources: [{type: bfcl}], split: {test: 150}}
  - evaluate: {id: before, suite: tool-calls, rows: data.test, shots: 3, shots_from: data.train}
  - sft:      {rows: data.train, steps: 60, weighting: {type: linear, floor: 0.2}}
  - evaluate: {id: after, model: sft, suite: tool-calls, rows: data.test}
  - compare:  {baseline: before, candidate: after}
"""
FAULTS = [
    ("id: after, model: sft,", "id: after, shots: 3, shots_from: data.train,", "candidate_is_another_system", "FAILED"),
    ("before, candidate: after", "after, candidate: before", "candidate_is_the_trained_one", "FAILED"),
    ("id: after,", "id: after, temperature: 0.7,", "answered_alike", "WARNED"),
    ("id: after,", "id: after, max_new_tokens: 16,", "answered_alike", "WARNED"),
    ("test: 150", "test: 5", "rows_can_show_it", "FAILED"),
    ("test: 150", "test: 11", "rows_can_show_it", "WARNED"),
    ("sft:      {rows: data.train", "sft:      {rows: data.test", "trained_rows_are_not_asked", "FAILED"),
    ("shots_from: data.train", "shots_from: data.test", "examples_are_not_asked", "FAILED"),
    ("steps: 60,", "steps: 60, learning_rate: 1.0,", "settings_can_train", "FAILED"),
    ("steps: 60,", "steps: 60, learning_rate: 1e-9,", "settings_can_train", "FAILED"),
    ("steps: 60,", "steps: 60, learning_rate: 0.1,", "settings_can_train", "WARNED"),
    ("steps: 60,", "steps: 60, max_grad_norm: 1e-12,", "settings_can_train", "FAILED"),
    ("floor: 0.2", "floor: 0.2, detach: false", "settings_can_train", "WARNED"),
]  # fmt: skip


def verdicts(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return judge_design(load_recipe(path, ()))


def test_a_good_recipe_passes_every_gate(tmp_path):
    found = verdicts(tmp_path, GOOD)
    assert {one.status for one in found} == {Status.PASSED}
    assert {one.name for one in found} == {name for _, _, name, _ in FAULTS}


@pytest.mark.parametrize(("old", "new", "gate", "status"), FAULTS)
def test_a_planted_fault_is_told_by_its_gate_alone_with_a_remedy(tmp_path, old, new, gate, status):
    assert old in GOOD
    (told,) = [one for one in verdicts(tmp_path, GOOD.replace(old, new)) if one.status is not Status.PASSED]
    assert (told.name, str(told.status)) == (gate, status)
    assert told.remedy


def test_a_recipe_that_compares_and_trains_nothing_is_not_judged(tmp_path):
    assert verdicts(tmp_path, "".join(GOOD.splitlines(keepends=True)[:4])) == []


def test_how_many_rows_there_are_is_not_guessed_from_a_share(tmp_path):
    assert "rows_can_show_it" not in {one.name for one in verdicts(tmp_path, GOOD.replace("test: 150", "test: 0.2"))}

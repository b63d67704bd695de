"""What the fingerprints of a plan cover: everything that changes a result, and nothing else."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tunewright.planning import Planned, plan
from tunewright.recipe.load import load_recipe

RECIPE = """\
recipe: toy
model: smollm2-135m-instruct
stages:
  - data:
      sources: [{type: jsonl, path: rows.jsonl}]
      filters: [{type: quality}, {type: custom, function: "own_filter:check"}]
      decontaminate: {against: [held.jsonl]}
  - sft: {rows: data.train, steps: 2}
  - evaluate: {model: sft, suite: exact-match, rows: data.test}
"""
SUITE = "  - evaluate: {id: puzzles, model: sft, suite: reasoning-gym, options: {tasks: [chain_sum], rows: 5}}\n"


@pytest.fixture
def folder(tmp_path, smollm2_folder):
    """A folder with a recipe, its rows, evaluation rows and a filter of its own."""
    row = {"prompt": "Hi there", "completion": "Hello"}
    for name in ("rows.jsonl", "held.jsonl"):
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    (tmp_path / "own_filter.py").write_text("def check(row):\n    return True\n")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    here = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(here)
    sys.modules.pop("own_filter", None)
    sys.path[:] = [place for place in sys.path if place != str(tmp_path)]


def planned(folder: Path, *overrides: str) -> dict[str, Planned]:
    return {stage.id: stage for stage in plan(load_recipe(folder / "recipe.yaml", overrides))}


def marks(folder: Path, *overrides: str) -> tuple[str, str]:
    stages = planned(folder, *overrides)
    return stages["data"].fingerprint, stages["sft"].fingerprint


def test_a_filters_setting_and_the_code_of_a_custom_one_change_the_rows(folder):
    first = marks(folder)
    assert marks(folder) == first
    loosened = marks(folder, "data.filters.0.min_answer_chars=9")
    assert all(new != old for new, old in zip(loosened, first, strict=True))
    (folder / "own_filter.py").write_text("def check(row):\n    return 'hello' in str(row)\n")
    assert all(new != old for new, old in zip(marks(folder), first, strict=True))


def test_evaluation_rows_change_what_is_checked_and_train_nothing_again(folder):
    first = marks(folder)
    (folder / "held.jsonl").write_text(json.dumps({"prompt": "Bye then", "completion": "Bye"}) + "\n")
    other_file = marks(folder)
    assert other_file[0] != first[0]
    assert other_file[1] == first[1]
    (folder / "recipe.yaml").write_text(RECIPE + SUITE)
    one_more_suite = marks(folder)
    assert one_more_suite[0] != other_file[0]
    assert one_more_suite[1] == first[1]


def test_where_leaking_rows_are_removed_the_evaluation_rows_change_what_is_trained(folder):
    first = marks(folder, "data.decontaminate.action=remove")
    (folder / "held.jsonl").write_text(json.dumps({"prompt": "Bye then", "completion": "Bye"}) + "\n")
    assert all(new != old for new, old in zip(marks(folder, "data.decontaminate.action=remove"), first, strict=True))


def test_where_a_file_lies_is_no_difference(folder):
    first = marks(folder)
    (folder / "held.jsonl").rename(folder / "exam.jsonl")
    (folder / "recipe.yaml").write_text(RECIPE.replace("held.jsonl", "exam.jsonl"))
    assert marks(folder) == first


def test_a_mended_grader_of_a_dry_run_is_tried_again(folder):
    (folder / "recipe.yaml").write_text(RECIPE + '  - dry_run: {rows: data.train, grader: "own_score:score"}\n')
    (folder / "own_score.py").write_text("def score(answer, row):\n    return 0\n")
    first = planned(folder)["dry_run"].fingerprint
    assert planned(folder)["dry_run"].fingerprint == first
    (folder / "own_score.py").write_text("def score(answer, row):\n    return len(answer)\n")
    assert planned(folder)["dry_run"].fingerprint != first

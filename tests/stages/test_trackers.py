"""A library that metrics are to be sent with is looked for before anything is spent."""

import sys
from importlib.util import find_spec

import pytest
from tests.conftest import run
from tests.stages.test_sft import rows, trainer_for  # noqa: F401  # a fixture

from tunewright.artifacts.rundir import find_run
from tunewright.errors import EnvironmentProblem
from tunewright.recipe.load import load_recipe
from tunewright.stages.check.drill import check_stack
from tunewright.stages.sft.trackers import require_trackers

pytestmark = pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed here")

TOLD = "wandb is not installed\n  fix: pip install wandb"


def test_a_run_stops_before_its_first_stage(recipe_file, root):
    with pytest.raises(EnvironmentProblem, match=TOLD):
        run(recipe_file, root, "sft.trackers=[wandb]")
    assert [stage["status"] for stage in find_run("toy", root).state["stages"]] == ["waiting"] * 5


def test_a_run_that_takes_a_training_as_it_lies_needs_none(recipe_file, root):
    run(recipe_file, root, "sft.steps=2")
    again = run(recipe_file, root, "sft.steps=2", "sft.trackers=[wandb]")
    assert [stage["status"] for stage in again.state["stages"]] == ["reused"] * 5


def test_a_check_tells_it(recipe_file):
    with pytest.raises(EnvironmentProblem, match=TOLD):
        check_stack(load_recipe(recipe_file, ["sft.trackers=[wandb]"]))


def test_a_trainer_tells_it(toy_model, rows, tmp_path):  # noqa: F811
    with pytest.raises(EnvironmentProblem, match=TOLD):
        trainer_for(toy_model, rows, tmp_path, {"type": "none"}, trackers=["wandb"])


def test_the_folder_in_which_wandb_keeps_its_runs_is_not_taken_for_the_library(recipe_file, tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert find_spec("wandb") is not None
    sft = load_recipe(recipe_file, ["sft.trackers=[wandb]"]).stages[2][1]
    with pytest.raises(EnvironmentProblem, match=TOLD):
        require_trackers(sft)

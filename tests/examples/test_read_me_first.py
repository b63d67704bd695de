"""The flat script, the pipeline and the stage functions called by hand are three ways to the same numbers."""

import json
import os
from pathlib import Path

import pytest

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.pipeline import run_recipe
from tunewright.recipe.load import parse_recipe
from tunewright.stages.compare.stage import compare
from tunewright.stages.data.stage import data
from tunewright.stages.evaluate.stage import evaluate
from tunewright.stages.sft.stage import sft

WEIGHTS = "adapter_model.safetensors"
ROOT = Path(__file__).parents[2]
STEPS, LIMIT = 3, 4


@pytest.fixture(scope="module")
def recipe(short_model):
    """The tour on a short model, few steps and rows, without the stages that the other two ways leave out."""
    tour = (ROOT / "recipes" / "tour.yaml").read_text().splitlines(keepends=True)
    left_out = [line for line in tour if "- check:" in line or "before-few-shot" in line]
    assert len(left_out) == 3, left_out
    limits = [f"{stage}.limit={LIMIT}" for stage in ("before", "after")]
    small = [f"model={short_model}", f"sft.steps={STEPS}", *limits, "compare.require=null"]
    return parse_recipe("".join(line for line in tour if line not in left_out), "tour.yaml", ROOT / "recipes", small)


@pytest.fixture(scope="module")
def piped(recipe, tmp_path_factory):
    return run_recipe(recipe, root=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.mark.real_model
def test_three_ways_give_the_same_adapter_and_the_same_scores(recipe, piped, short_model, warm_python, tmp_path):
    the_flat_script(piped, short_model, warm_python, tmp_path)
    stage_functions_called_by_hand(recipe, piped, tmp_path)


def the_flat_script(piped, short_model, warm_python, tmp_path):
    options = {"--steps": STEPS, "--limit": LIMIT, "--model": short_model, "--output": tmp_path}
    words = (word for pair in options.items() for word in pair)
    done = warm_python.run("examples/read_me_first.py", *words, cwd=ROOT, env={**os.environ, "CI": "1"})
    assert done.returncode == 0, done.stderr
    assert sha256_file(tmp_path / "adapter" / WEIGHTS) == piped.artifact("sft").adapter_sha256
    flat = json.loads(done.stdout[done.stdout.index("\n{") :])
    for test in piped.artifact("compare").tests:
        mine = flat[test.metric]
        assert (mine["baseline"], mine["candidate"]) == (test.baseline, test.candidate)
        assert (mine["gained"], mine["lost"]) == (test.gained, test.lost)
        assert mine["p_value"] == pytest.approx(test.p_value)


def stage_functions_called_by_hand(recipe, piped, tmp_path):
    sections = {section.id: section for _, section in recipe.stages}
    run = RunContext(quiet=True)
    rows = data(section=sections["data"], out=folder(tmp_path, "data"), run=run)
    before = evaluate(rows.part("test"), sections["before"], folder(tmp_path, "before"), run)
    trained = sft(rows.part("train"), sections["sft"], folder(tmp_path, "sft"), run)
    after = evaluate(rows.part("test"), sections["after"], folder(tmp_path, "after"), run, trained=trained)
    compared = compare(before, after, sections["compare"], folder(tmp_path, "compare"), run)
    assert trained.adapter_sha256 == piped.artifact("sft").adapter_sha256
    answers = [row.answer for row in after.rows()]
    assert answers == [row.answer for row in piped.artifact("after").rows()]
    assert compared.tests == piped.artifact("compare").tests


def folder(root, name):
    path = root / name
    path.mkdir()
    return path

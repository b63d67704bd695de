"""Decision points in a run: it stops, it warns, or it goes on."""

import pytest
from tests.conftest import run

from tunewright.artifacts.rundir import find_run
from tunewright.artifacts.verdict import Status
from tunewright.errors import GateFailed


def verdict_of(folder, stage):
    record = next(record for record in folder.records() if record.id == stage)
    return next(verdict for verdict in record.verdicts if verdict.name == "score_required")


def decided(recipe_file, before):
    text = recipe_file.read_text().replace("float32}\n  - sft", f"float32, require: {before}}}\n  - sft")
    assert before in text
    recipe_file.write_text(text)
    return recipe_file


def test_a_base_that_is_too_good_stops_the_run_before_anything_is_trained(recipe_file, root):
    with pytest.raises(GateFailed, match="score_required"):
        run(decided(recipe_file, "{metric: exact_match, above: 0.5}"), root)
    found = find_run("toy", root)
    assert [stage["status"] for stage in found.state["stages"]] == ["done", "done", "waiting", "waiting", "waiting"]
    assert verdict_of(found, "before").status is Status.FAILED


def test_a_decision_may_warn_and_the_run_goes_on(recipe_file, root):
    found = run(decided(recipe_file, "{metric: exact_match, above: 0.5, on_fail: warn}"), root)
    assert verdict_of(found, "before").status is Status.WARNED
    assert found.state["status"] == "done"


def test_a_decision_that_holds_is_silent(recipe_file, root):
    found = run(decided(recipe_file, "{metric: exact_match, below: 0.35}"), root)
    assert verdict_of(found, "before").status is Status.PASSED

"""Decision points and dev rows as a recipe says them: what is wrong is told at its field."""

import pytest

from tunewright.recipe.sections import Dev

RECIPE = """\
recipe: decisions
model: smollm2-135m-instruct
stages:
  - data:     {{sources: [{{type: bfcl}}], split: {{test: 150}}}}
  - evaluate: {{id: before, suite: tool-calls, rows: data.test{evaluate}}}
  - sft:      {{rows: data.train, steps: 60{sft}}}
  - evaluate: {{id: after, model: sft, suite: tool-calls, rows: data.test}}
  - compare:  {{baseline: before, candidate: after, require: {{metric: args_exact, on_fail: warn}}}}
"""


def recipe(evaluate="", sft=""):
    return RECIPE.format(evaluate=evaluate and f", {evaluate}", sft=sft and f", {sft}")


def test_a_decision_point_and_dev_rows_are_read(load):
    loaded = load(recipe("require: {metric: args_exact, below: 0.35}", "dev: {suite: tool-calls, limit: 10}"))
    (_, before), (_, sft) = loaded.stages[1:3]
    assert before.require.below == 0.35 and before.require.above is None and before.require.on_fail == "stop"
    assert sft.dev == Dev(suite="tool-calls", limit=10)
    assert loaded.stages[4][1].require.on_fail == "warn"


@pytest.mark.parametrize(
    ("require", "path", "seen"),
    [
        ("{metric: args_exakt, above: 0.6}", "before.require.metric", "no metric of the suite tool-calls"),
        ("{metric: args_exact}", "before.require.above", "without a bound"),
        ("{above: 0.6, below: 0.6}", "before.require.below", "no score is both"),
        ("{abov: 0.6}", "before.require.abov", "abov"),
        ("{above: 0.6, on_fail: panic}", "before.require.on_fail", "panic"),
    ],
)
def test_a_decision_that_cannot_be_made_is_told_at_its_field(problems, require, path, seen):
    found = {problem.path: problem.seen for problem in problems(recipe(f"require: {require}"))}
    assert path in found and seen in found[path], found


@pytest.mark.parametrize(
    ("dev", "path"),
    [
        ("{suite: tool-cals}", "sft.dev.suite"),
        ("{suite: not-there.yaml}", "sft.dev.suite"),
        ("{limit: 20}", "sft.dev.suite"),
        ("{suite: tool-calls, limit: 0}", "sft.dev.limit"),
        ("tool-calls", "sft.dev"),
    ],
)
def test_dev_rows_that_cannot_be_scored_are_told_at_their_field(problems, dev, path):
    assert path in {problem.path for problem in problems(recipe(sft=f"dev: {dev}"))}


def test_a_suite_file_of_dev_rows_is_taken_from_the_folder_of_the_recipe(load, tmp_path):
    (tmp_path / "mine.yaml").write_text("suite: mine\n")
    loaded = load(recipe(sft="dev: {suite: mine.yaml}"))
    assert loaded.stages[2][1].dev.suite.endswith("mine.yaml")

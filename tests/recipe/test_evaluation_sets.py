"""Which evaluation sets of a recipe a `data` stage compares its rows with."""

from __future__ import annotations

import re
import textwrap

import pytest

from tunewright.errors import RecipeError
from tunewright.recipe.data_sections import OwnRows
from tunewright.recipe.load import parse_recipe
from tunewright.recipe.sections import DataSection

PUZZLES = {"tasks": ["chain_sum"], "rows": 5}


@pytest.fixture
def recipe(tmp_path):
    """Return a function from stages in YAML to the `data` sections by id."""
    for name in ("a.jsonl", "b.csv", "c.parquet", "more.jsonl"):
        (tmp_path / name).write_text("{}\n")

    def read(stages: str) -> dict[str, DataSection]:
        text = "recipe: t\nmodel: smollm2-135m-instruct\nseed: 3\nstages:\n" + textwrap.indent(
            textwrap.dedent(stages), "  "
        )
        loaded = parse_recipe(text, "t.yaml", tmp_path)
        return {section.id: section for kind, section in loaded.stages if kind == "data"}

    return read


def test_of_two_data_stages_the_lower_one_compares_with_what_is_evaluated_of_the_upper_one(recipe):
    found = recipe("""
        - data: {id: exam, sources: [{type: jsonl, path: a.jsonl}]}
        - data: {id: lessons, sources: [{type: csv, path: b.csv}]}
        - sft: {rows: lessons.train, steps: 1}
        - evaluate: {model: sft, suite: exact-match, rows: exam.test}
    """)
    assert (found["exam"].held_out, found["exam"].trained_on) == ((), ())
    assert (found["lessons"].held_out, found["lessons"].trained_on) == (("exam.test",), ())


def test_an_evaluation_set_below_is_compared_with_what_is_trained_on_above(recipe):
    found = recipe("""
        - data: {id: lessons, sources: [{type: jsonl, path: a.jsonl}]}
        - data: {id: exam, sources: [{type: parquet, path: c.parquet}]}
        - sft: {rows: lessons.train, steps: 1}
        - evaluate: {model: sft, suite: exact-match, rows: exam.test}
    """)
    assert (found["exam"].held_out, found["exam"].trained_on) == ((), ("lessons.train",))
    assert (found["lessons"].held_out, found["lessons"].trained_on) == ((), ())


def test_rows_that_are_trained_on_are_no_evaluation_set(recipe):
    found = recipe("""
        - data: {id: one, sources: [{type: jsonl, path: a.jsonl}]}
        - data: {id: two, sources: [{type: csv, path: b.csv}]}
        - sft: {id: first, rows: one.train, steps: 1}
        - sft: {id: second, rows: two.train, steps: 1}
        - evaluate: {suite: exact-match, rows: one.train}
    """)
    assert found["two"].held_out == ()


def test_a_suite_with_rows_of_its_own_is_compared_once_and_by_what_is_trained_on(recipe):
    found = recipe("""
        - data: {id: exam, sources: [{type: jsonl, path: a.jsonl}]}
        - data: {id: lessons, sources: [{type: csv, path: b.csv}]}
        - evaluate: {id: before, suite: reasoning-gym, options: {tasks: [chain_sum], rows: 5}, limit: 4}
        - sft: {rows: lessons.train, steps: 1}
        - evaluate: {id: after, model: sft, suite: reasoning-gym, options: {tasks: [chain_sum], rows: 5}, limit: 4}
    """)
    assert found["exam"].suites == ()
    assert found["lessons"].suites == (OwnRows(suite="reasoning-gym", options=PUZZLES, limit=4, seed=3),)


def test_what_a_recipe_says_itself_is_kept(recipe):
    found = recipe("""
        - data: {id: exam, sources: [{type: jsonl, path: a.jsonl}]}
        - data: {id: lessons, sources: [{type: csv, path: b.csv}], held_out: [], suites: []}
        - evaluate: {suite: exact-match, rows: exam.test}
    """)
    assert (found["lessons"].held_out, found["lessons"].suites) == ((), ())
    with pytest.raises(RecipeError, match=r"`exma.test` names no stage above"):
        recipe("- data: {sources: [{type: jsonl, path: a.jsonl}], held_out: [exma.test]}")


def test_files_are_looked_for_before_anything_runs(recipe):
    with pytest.raises(RecipeError) as caught:
        recipe("""
            - data:
                sources: [{type: parquet, path: d.parquet}, {type: csv, path: bb.csv}]
                decontaminate: {against: [moer.jsonl]}
        """)
    told = str(caught.value)
    assert {"c.parquet", "b.csv", "more.jsonl"} <= set(re.findall(r"[\w.]+\w", told))
    assert "a CSV or TSV file; its path is taken from the folder of the recipe" in told
    assert "a file of evaluation rows" in told


def test_an_unknown_filter_or_setting_is_told_with_its_place(recipe):
    with pytest.raises(RecipeError) as caught:
        recipe("""
            - data:
                sources: [{type: jsonl, path: a.jsonl}]
                filters: [{type: qualitty}, {type: near_duplicates, treshold: 0.7}]
        """)
    told = str(caught.value)
    assert "quality" in told
    assert "threshold" in told

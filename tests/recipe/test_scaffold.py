"""New recipes load cleanly, whatever they are about."""

import pytest

from tunewright.recipe.load import load_recipe
from tunewright.recipe.scaffold import Wish, finetune_recipe, is_file_name, new_recipe, quoted, recipe_name, source_line
from tunewright.recipe.sections import EntropyConfig, is_name

DATASETS = ["bfcl", "rows.jsonl", "my: rows #1.jsonl", "owner/data", "owner/data-2.0"]


@pytest.fixture
def save(tmp_path):
    for name in DATASETS:
        if name.endswith(".jsonl"):
            (tmp_path / name).write_text("{}\n")

    def load(text):
        path = tmp_path / "new.yaml"
        path.write_text(text)
        return load_recipe(path)

    return load


def wish(dataset, **fields):
    return Wish("new", "owner/model", dataset, is_file_name(dataset), **fields)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("entropy_aware", [True, False])
def test_a_new_recipe_loads(save, dataset, entropy_aware):
    recipe = save(new_recipe(wish(dataset, steps=30, entropy_aware=entropy_aware), "new.yaml"))
    assert recipe.ids() == ["data", "check", "before", "sft", "after", "compare"]
    assert recipe.stages[3][1].steps == 30
    assert recipe.stages[3][1].weighting.type == ("linear" if entropy_aware else "none")


def test_a_new_recipe_opens_with_the_modeline_and_says_how_to_run_it():
    text = new_recipe(wish("bfcl"), "recipes/new.yaml")
    assert text.startswith("# yaml-language-server: $schema=./.tunewright/schema.json\n")
    assert "tw run recipes/new.yaml" in text


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_recipe_of_the_one_liner_loads(save, dataset):
    recipe = save(finetune_recipe(wish(dataset, entropy_aware=True, epochs=0.5)))
    assert [kind for kind, _ in recipe.stages] == ["data", "check", "evaluate", "sft", "evaluate", "compare"]
    assert {section.suite for kind, section in recipe.stages if kind == "evaluate"} == {
        "tool-calls" if dataset == "bfcl" else "exact-match"
    }
    assert recipe.stages[3][1].epochs == 0.5
    assert recipe.stages[3][1].weighting == EntropyConfig(type="linear", floor=0.1).resolved()
    assert recipe.stages[4][1].model == "sft"


def test_the_one_liner_trains_three_epochs_unless_told_otherwise(save):
    recipe = save(finetune_recipe(wish("bfcl")))
    assert recipe.stages[3][1].epochs == 3


@pytest.mark.parametrize("text", ["My Data.jsonl", "owner/Name-2", "2026", "../x/.jsonl", "///", "Ünicode", "a.b.YAML"])
def test_any_text_makes_a_name(text):
    assert is_name(recipe_name(text))


PLAIN = ["a/b", "true", "1e5", "null", "a: b", "#x", "-x", "it's", 'a "b"', "...", "ä", "{x}", "a\nb"]
CONTROLS = ["a\u2028b\u2029", "a\x85\x7f\xa0b", "\x00\x1b", "\ufeffa", "🎉\u200d🎉", "\U000e0001"]


@pytest.mark.parametrize("text", [*PLAIN, *CONTROLS])
def test_a_quoted_text_is_read_back_as_it_was(load, text):
    recipe = load(
        f"recipe: a\nhypothesis: {quoted(text)}\nmodel: a/b\nstages:\n  - data: {{sources: [{{type: bfcl}}]}}\n"
    )
    assert recipe.hypothesis == text


@pytest.mark.parametrize(
    ("file", "type"),
    [("pc.csv", "csv"), ("a/pc.TSV", "csv"), ("pc.parquet", "parquet"), ("pc.json", "jsonl"), ("b/c.d", "hub")],
)
def test_the_source_is_of_the_type_that_the_file_ends_with(file, type):
    assert source_line(file, is_file_name(file)).startswith(f"{{type: {type}, ")

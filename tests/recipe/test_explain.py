"""Types in words, all paths, and what was probably meant."""

import pytest

from tunewright.recipe.explain import as_yaml, entries, example_for, meant, nearest, words
from tunewright.recipe.sections import SECTIONS, DataSection, EntropyConfig, SftSection
from tunewright.recipe.weighting import KINDS


def test_every_key_of_the_schema_has_a_path_a_type_and_help():
    for entry in entries():
        assert entry.type, entry.path
        assert entry.help or entry.name == "type", entry.path


def test_the_paths_reach_into_mappings_lists_and_unions():
    paths = {".".join(entry.path) for entry in entries()}
    assert {"seed", "sft.lora.rank", "sft.weighting.floor", "data.sources.0.path", "compare.require.metric"} <= paths


@pytest.mark.parametrize(
    ("parent", "key", "path"),
    [
        (("sft",), "learnig_rate", "sft.learning_rate"),
        (("sft",), "rank", "sft.lora.rank"),
        (("sft",), "lr", "sft.learning_rate"),
        (("sft",), "floor", "sft.weighting.floor"),
        (("sft", "lora"), "learning_rate", "sft.learning_rate"),
        (("sft",), "lora.rank", "sft.lora.rank"),
        ((), "learning_rate", "sft.learning_rate"),
        ((), "sead", "seed"),
        (("data",), "shots", "evaluate.shots"),
        (("data",), "test", "data.split.test"),
        (("compare",), "metric", "compare.require.metric"),
        (("evaluate",), "max_tokens", "evaluate.max_new_tokens"),
        (("evaluate",), "Batch_Size", "evaluate.batch_size"),
    ],
)
def test_an_unknown_key_gets_the_path_that_was_probably_meant(parent, key, path):
    assert ".".join(meant(parent, key).path) == path


def test_a_key_like_nothing_gets_no_suggestion():
    assert meant(("sft",), "qqqqq") is None
    assert nearest("qqqqq", SECTIONS) is None


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("steps", "a whole number, at least 1"),
        ("learning_rate", "a number, above 0, at most 1"),
        ("schedule", "one of cosine, linear, constant"),
        ("rows", "the id of a stage above that makes rows"),
        ("weighting", f"a mapping with `type` ({', '.join(KINDS)}) and the fields of that type"),
        ("trackers", "a list (one of trackio, wandb, mlflow)"),
    ],
)
def test_a_type_is_said_in_plain_words(field, said):
    info = SftSection.model_fields[field]
    assert words(info.annotation, info.metadata) == said


def test_a_union_told_apart_by_its_type_is_said_by_its_types():
    said = words(DataSection.model_fields["sources"].annotation)
    assert "one of {type: bfcl, …}, {type: jsonl, …}, {type: parquet, …}, {type: csv, …}, {type: hub, …}" in said


def test_a_list_of_fixed_length_says_how_many():
    assert words(EntropyConfig.model_fields["clip"].annotation) == "a list of 2 (a number)"


def test_an_example_is_nested_as_it_stands_in_a_stage():
    assert example_for(("sft", "lora", "rank")) == "lora: {rank: 16}"
    assert example_for(("sft", "learning_rate")) == "learning_rate: 1e-3"


def test_an_example_inside_a_mapping_of_several_types_shows_its_type():
    assert example_for(("sft", "weighting", "floor")) == "weighting: {type: linear, floor: 0.1}"


def test_defaults_are_written_as_yaml():
    assert as_yaml({"a": 0.001, "b": ("x", True), "c": None, "d": ""}) == '{a: 0.001, b: [x, true], c: null, d: ""}'

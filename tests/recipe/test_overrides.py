"""`--set`: one override path, the same checks as the file."""

import pytest
from tests.recipe.conftest import GOOD

from tunewright.recipe.load import load_recipe


def section(recipe, name):
    return next(section for _, section in recipe.stages if section.id == name)


def test_fields_of_header_stages_and_mappings_can_be_set(good):
    recipe = load_recipe(
        good, ["seed=3", "sft.learning_rate=2e-5", "data.split.test=50", "sft.lora.rank=4", "after.shots=0"]
    )
    assert (recipe.seed, section(recipe, "before").seed) == (3, 3)
    assert section(recipe, "sft").learning_rate == 2e-5
    assert section(recipe, "sft").lora.rank == 4
    assert section(recipe, "data").split.test == 50


def test_values_are_yaml(good):
    recipe = load_recipe(
        good, ["sft.weighting={type: none}", "hypothesis='a: b'", "sft.trackers=[wandb]", "after.limit=null"]
    )
    assert section(recipe, "sft").weighting.type == "none"
    assert section(recipe, "sft").trackers == ("wandb",)
    assert recipe.hypothesis == "a: b"


def test_a_list_is_entered_by_index(good):
    recipe = load_recipe(good, ["data.sources.0.categories=[multiple]", "data.sources.0.categories.0=simple_python"])
    assert section(recipe, "data").sources[0].categories == ("simple_python",)


def test_a_later_override_wins(good):
    assert load_recipe(good, ["seed=3", "seed=4"]).seed == 4


def test_an_override_mends_a_mistake_of_the_file(load):
    assert load(GOOD.replace("steps: 60", "steps: sixty"), "sft.steps=60").recipe == "good"


@pytest.mark.parametrize(
    ("override", "suggestion"),
    [
        ("sft.learnig_rate=2e-5", "sft.learning_rate"),
        ("sft.rank=8", "sft.lora.rank"),
        ("sfd.steps=8", "sft.steps"),
        ("befor.limit=8", "before.limit"),
        ("sed=8", "seed"),
        ("before.limits=8", "before.limit"),
        ("data.split.tets=8", "data.split.test"),
        ("sft.rows=data.tran", "data.train"),
        ("sft.steps=no", None),
        ("sft.batch_size=", None),
        ("sft=3", None),
        ("stages.0=3", None),
        ("recipe.x=3", "recipe=…"),
        ("sft.steps.x=3", None),
        ("data.sources.x.type=3", None),
        ("data.sources.9.type=3", None),
        ("data.sources.99999999999999999999.type=3", None),
        ("sft.steps", None),
        ("=3", None),
        ("sft..steps=3", None),
        ("sft.steps=[", None),
        ("sft.lora.alpha=.nan", None),
    ],
)
def test_a_bad_override_is_told_by_its_own_text(problems, override, suggestion):
    found = [problem for problem in problems(GOOD, override) if problem.file == f"--set {override}"]
    assert found
    assert found[0].where == f"--set {override}"
    assert found[0].line == 0
    assert found[0].suggestion == suggestion


def test_bad_overrides_and_mistakes_of_the_file_come_in_one_error(problems):
    found = problems(GOOD.replace("seed: 7", "sead: 7"), "sft.steps=x", "nothing")
    assert [problem.line for problem in found] == [2, 0, 0]


def test_a_mapping_made_by_an_override_is_told_as_that_override(problems):
    [problem] = problems(GOOD.replace(", weighting: {type: linear, floor: 0.2}", ""), "sft.weighting.floor=0.5")
    assert problem.path == "sft.weighting.type"
    assert problem.file == "--set sft.weighting.floor=0.5"

"""The section `weighting:`: defaults of each type, and combinations that cannot be."""

import json

import pytest
from pydantic import ValidationError
from tests.recipe.conftest import replaced

import tunewright
from tunewright.recipe.sections import EntropyConfig
from tunewright.recipe.weighting import KINDS, OWN_FIELDS

LINEAR = "weighting: {type: linear, floor: 0.2}"
MASKS = [name for name, kind in KINDS.items() if kind.gives == "mask"]
GRADED = [name for name, kind in KINDS.items() if kind.gives == "graded"]
VALUES = {
    "power": 2.0,
    "floor": 0.3,
    "sharpness": 2.0,
    "midpoint": 0.3,
    "clip": (0.5, 2.0),
    "quantile": 0.3,
    "exponent": 2.0,
    "threshold": 0.4,
    "scope": "ema",
    "eaft_compat": "axolotl",
}


def recipe_with(weighting: str) -> str:
    return replaced(LINEAR, f"weighting: {weighting}")


# ── defaults ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_type_has_an_entry_and_every_entry_a_type():
    assert list(KINDS) == list(EntropyConfig.model_fields["type"].annotation.__args__)


def test_the_table_of_own_fields_names_fields_that_there_are():
    assert set(OWN_FIELDS) <= set(EntropyConfig.model_fields)
    assert set(OWN_FIELDS) == set(VALUES)


@pytest.mark.parametrize("name", KINDS)
def test_resolving_fills_every_field_of_the_type_and_no_other(name):
    resolved = EntropyConfig(type=name).resolved()
    filled = {field for field in OWN_FIELDS if getattr(resolved, field) is not None}
    assert filled == set(KINDS[name].defaults)
    assert resolved.normalize is not None


@pytest.mark.parametrize("name", KINDS)
def test_a_resolved_weighting_is_valid_and_resolves_to_itself(name):
    resolved = EntropyConfig(type=name).resolved()
    assert EntropyConfig(**resolved.model_dump()) == resolved
    assert EntropyConfig.model_validate_json(resolved.model_dump_json()) == resolved
    assert resolved.resolved() == resolved


def test_graded_weights_get_mean_one_and_masks_count_the_selected():
    assert {EntropyConfig(type=name).resolved().normalize for name in GRADED} == {"mean1"}
    assert {EntropyConfig(type=name).resolved().normalize for name in MASKS} == {"selected"}
    assert EntropyConfig(type="none").resolved().normalize == "none"
    assert EntropyConfig(type="external").resolved().normalize == "none"


def test_a_fixed_threshold_takes_the_place_of_quantile_and_scope():
    fixed = EntropyConfig(type="top_quantile", threshold=0.7).resolved()
    assert (fixed.quantile, fixed.scope, fixed.needs_thresholds) == (None, None, False)
    assert EntropyConfig(type="top_quantile").needs_thresholds


def test_eaft_compat_has_no_floor_and_no_normalisation():
    compat = EntropyConfig(type="linear", eaft_compat="axolotl").resolved()
    assert (compat.power, compat.floor, compat.normalize) == (1.0, None, "none")
    assert EntropyConfig(type="linear", eaft_compat="axolotl", power=2).power == 2  # their `eaft_alpha`


def test_only_quantile_types_need_thresholds():
    assert [name for name in KINDS if EntropyConfig(type=name).needs_thresholds] == [
        "top_quantile",
        "drop_top_quantile",
        "conflict_mask",
    ]


def test_a_loaded_recipe_holds_the_weighting_resolved(load):
    section = load(recipe_with("{type: sigmoid, midpoint: 0.3}")).stages[2][1]
    assert section.weighting == EntropyConfig(type="sigmoid", midpoint=0.3, sharpness=30, normalize="mean1")
    assert json.loads(json.dumps(section.model_dump(mode="json")))["weighting"]["sharpness"] == 30


def test_a_recipe_without_weighting_trains_with_the_plain_loss(load):
    assert load(replaced(", " + LINEAR, "")).stages[2][1].weighting.type == "none"


def test_the_config_is_a_public_name():
    assert tunewright.EntropyConfig is EntropyConfig


# ── what cannot be ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("field", OWN_FIELDS)
def test_a_field_is_taken_by_its_types_and_refused_by_the_others(name, field):
    values = {"type": name, field: VALUES[field]}
    if field in KINDS[name].defaults or field in KINDS[name].more:
        assert getattr(EntropyConfig(**values), field) == VALUES[field]
    else:
        with pytest.raises(ValidationError, match=f"`{field}` does nothing with type {name}"):
            EntropyConfig(**values)


IMPOSSIBLE = [
    ("{type: sigmoid, floor: 0.1}", "floor", "`floor` does nothing with type sigmoid"),
    ("{type: none, floor: 0.2}", "floor", "`floor` does nothing with type none"),
    ("{type: linear, scope: ema}", "scope", "`scope` does nothing with type linear"),
    ("{type: linear, quantile: 0.2}", "quantile", "`quantile` does nothing with type linear"),
    ("{type: dft, eaft_compat: axolotl}", "eaft_compat", "`eaft_compat` does nothing with type dft"),
    ("{type: top_quantile, quantile: 0.2, threshold: 1}", "quantile", "are both given"),
    ("{type: drop_top_quantile, scope: ema, threshold: 1}", "scope", "are both given"),
    ("{type: linear, eaft_compat: llama_factory, floor: 0.1}", "floor", "llama_factory has no floor"),
    ("{type: linear, eaft_compat: axolotl, normalize: mean1}", "normalize", "axolotl does not normalise"),
    ("{type: linear, eaft_compat: axolotl, detach: false}", "detach", "axolotl detaches"),
    ("{type: linear, normalize: selected}", "normalize", "linear selects no tokens"),
    ("{type: focal, normalize: selected}", "normalize", "focal selects no tokens"),
    ("{type: none, normalize: mean1}", "normalize", "nothing to normalise"),
    ("{type: top_quantile, detach: false}", "detach", "gives 0 or 1, which has no gradient"),
    ("{type: none, detach: false}", "detach", "has no gradient"),
    ("{type: external, detach: false}", "detach", "no gradient leads back"),
    ("{type: linear, power: 0.5, detach: false}", "detach", "the gradient of H^0.5 has no end"),
    ("{type: focal, exponent: 0.5, detach: false}", "detach", "the gradient of (1 - p)^0.5 has no end"),
    ("{type: exponential, clip: [3, 1]}", "clip", "`clip` is 3 to 1"),
    ("{type: exponential, clip: [-1, 1]}", "clip", "`clip` is -1 to 1"),
    ("{type: threshold_p, threshold: 1.5}", "threshold", "compared with a probability"),
    ("{type: threshold_p, threshold: 0}", "threshold", "compared with a probability"),
]


@pytest.mark.parametrize(("weighting", "field", "reason"), IMPOSSIBLE)
def test_an_impossible_combination_is_told_at_its_field_with_the_reason(problems, weighting, field, reason):
    text = recipe_with(weighting)
    [problem] = problems(text)
    line = text.splitlines()[6]
    assert (problem.line, problem.column) == (7, line.index(f" {field}:") + 2)
    assert problem.path == f"sft.weighting.{field}"
    assert reason in problem.seen
    assert problem.expected
    assert problem.example.startswith("weighting: {type: ")


@pytest.mark.parametrize("weighting", dict.fromkeys(weighting for weighting, *_ in IMPOSSIBLE))
def test_the_example_of_an_impossible_combination_is_right(problems, weighting):
    [problem] = problems(recipe_with(weighting))
    assert problems(replaced(LINEAR, problem.example)) == []


def test_all_impossible_fields_of_one_section_are_told_at_once(problems):
    found = problems(recipe_with("{type: sigmoid, floor: 0.1, clip: [1, 2], normalize: selected, stes: 1}"))
    assert [problem.path.rpartition(".")[2] for problem in found] == ["floor", "clip", "normalize", "stes"]


def test_a_field_of_one_other_type_suggests_that_type(problems):
    [problem] = problems(recipe_with("{type: none, floor: 0.2}"))
    assert problem.suggestion == "sft.weighting.type: linear"
    [problem] = problems(recipe_with("{type: none, quantile: 0.2}"))
    assert problem.suggestion is None
    assert "top_quantile or drop_top_quantile or conflict_mask" in problem.expected


def test_an_impossible_override_is_told_by_its_own_text(problems):
    [problem] = problems(recipe_with("{type: dft}"), "sft.weighting.floor=0.1")
    assert problem.file == "--set sft.weighting.floor=0.1"
    assert "does nothing with type dft" in problem.seen


def test_a_misspelt_type_gets_the_nearest_one_and_does_not_hide_a_field_of_another(problems):
    found = problems(recipe_with("{type: sigmiod, floor: 0.1}"))
    assert [(problem.path, problem.suggestion) for problem in found] == [
        ("sft.weighting.type", "sigmoid"),
        ("sft.weighting.floor", "sft.weighting.type: linear"),
    ]


@pytest.mark.parametrize(
    ("weighting", "path", "expected"),
    [
        ("linear", "sft.weighting", "a mapping with `type` (none, linear,"),
        ("{type: linear, floor: 2}", "sft.weighting.floor", "a number, at least 0, at most 1"),
        ("{type: top_quantile, quantile: 1}", "sft.weighting.quantile", "above 0, below 1"),
        ("{type: top_quantile, scope: batch}", "sft.weighting.scope", "one of sequence, micro_batch"),
        ("{type: exponential, clip: 3}", "sft.weighting.clip", "a list of 2 (a number)"),
        ("{type: exponential, clip: [1, 2, 3]}", "sft.weighting.clip", "a list of 2 (a number)"),
        ("{type: exponential, clip: [1, two]}", "sft.weighting.clip.1", "a number"),
        ("{type: linear, detach: 0}", "sft.weighting.detach", "true or false"),
    ],
)
def test_a_wrong_value_is_told_in_plain_words(problems, weighting, path, expected):
    [problem] = problems(recipe_with(weighting))
    assert problem.path == path
    assert expected in problem.expected


@pytest.mark.parametrize(
    ("word", "field"), [("eaft_alpha", "power"), ("top_entropy_quantile", "quantile"), ("normalise", "normalize")]
)
def test_other_trainers_words_are_understood(problems, word, field):
    [problem] = problems(recipe_with(f"{{type: top_quantile, {word}: 1}}"))
    assert problem.suggestion == f"sft.weighting.{field}"

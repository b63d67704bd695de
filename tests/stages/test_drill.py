"""The drill passes on the versions the tests run with. The faults it finds: tests/benchmarks/test_stack_drill.py."""

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.models.tiny import write_tiny_twin
from tunewright.recipe.load import parse_recipe
from tunewright.recipe.sections import SftSection
from tunewright.stages.check import drill

SECTION = drill.small(SftSection(rows="data.train", model="any", steps=100))


@pytest.fixture(scope="module")
def tiny(toy_model, tmp_path_factory):
    """The tiny twin of the toy model."""
    return write_tiny_twin(toy_model, tmp_path_factory.mktemp("drill") / "tiny")


def test_the_drill_passes_on_the_installed_versions_for_each_sft_of_a_recipe(toy_model, tmp_path, capfd):
    text = (
        f"recipe: toy\nmodel: {toy_model}\nstages:\n  - data: {{sources: [{{type: bfcl}}]}}\n"
        "  - sft: {rows: data.train, steps: 3}\n  - sft: {id: again, rows: data.train, steps: 9, learning_rate: 1e-4}\n"
    )
    verdicts = drill.check_stack(parse_recipe(text, "toy.yaml", tmp_path), tmp_path)
    assert [verdict.name for verdict in verdicts] == [
        "weight_one_is_stock",
        "accumulation_invariant",
        "rows_do_not_mix",
        "resume_exact",
        "merge_round_trips",
        "checkpoint_room",
    ]
    assert {verdict.status for verdict in verdicts} == {Status.PASSED}
    assert "fused head, packed rows" in verdicts[0].measured
    assert capfd.readouterr().out == ""


def test_a_recipe_without_training_is_not_drilled(data_recipe):
    from tunewright.recipe.load import load_recipe

    assert drill.check_stack(load_recipe(data_recipe)) == []


def test_the_room_is_that_of_what_the_trainer_writes(tiny, tmp_path):
    trainer = drill.our_trainer(tiny, SECTION, drill.STEPS, tmp_path)
    drill.steps_of(trainer, save=True)
    saved = tmp_path / "checkpoints" / f"checkpoint-{drill.SAVED_AT}"
    written = sum(file.stat().st_size for file in saved.iterdir())
    needed, _, _, number = drill.room_for(tiny, SECTION, tmp_path / "not" / "yet" / "there")
    trained = sum(parameter.numel() for parameter in trainer.model.parameters() if parameter.requires_grad)
    assert drill.trained_parameters(tiny, SECTION) == trained
    assert written <= (needed - 4 * trained) / number <= written + (1 << 20)


def test_the_trained_weights_of_a_deep_model_are_counted_from_two_of_its_layers(toy_model, tmp_path):
    from peft import get_peft_model
    from transformers import AutoConfig, AutoModelForCausalLM

    from tunewright.stages.sft.trainer import _lora

    config = AutoConfig.from_pretrained(toy_model)
    config.num_hidden_layers, config.layer_types = 7, None
    config.save_pretrained(tmp_path)
    whole = get_peft_model(AutoModelForCausalLM.from_config(config), _lora(SECTION))
    trained = sum(parameter.numel() for parameter in whole.parameters() if parameter.requires_grad)
    assert drill.trained_parameters(tmp_path, SECTION) == trained


def test_an_architecture_that_nobody_knows_is_said_and_does_not_stop(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "nobody-knows-this", "architectures": ["Nobody"]}')
    (verdict,) = drill.drill(folder, SECTION, tmp_path)
    assert verdict.status is Status.WARNED and verdict.name == "stack_drilled"

"""The drill finds nothing on the versions the tests run with, and finds each fault that is planted in them."""

import pytest
import torch

from tunewright.artifacts.verdict import Status
from tunewright.gates.stack import (
    accumulation_invariant,
    merge_round_trips,
    resume_exact,
    rows_do_not_mix,
    weight_one_is_stock,
)
from tunewright.models.tiny import write_tiny_twin
from tunewright.recipe.load import parse_recipe
from tunewright.recipe.sections import EntropyConfig, SftSection
from tunewright.stages.check import drill

SECTION = drill.small(SftSection(rows="data.train", model="any", steps=100))


@pytest.fixture(scope="module")
def tiny(toy_model, tmp_path_factory):
    """The tiny twin of the toy model."""
    return write_tiny_twin(toy_model, tmp_path_factory.mktemp("drill") / "tiny")


def ours(tiny, change=lambda trainer: None):
    """Trainers as the stage makes them, after `change` has broken something."""

    def make(section, steps, out):
        trainer = drill.our_trainer(tiny, section, steps, out)
        change(trainer)
        return trainer

    return make


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


def test_weights_where_there_should_be_none_are_not_the_stock_loss(tiny, tmp_path):
    weighted = SECTION.model_copy(update={"weighting": EntropyConfig(type="linear", floor=0.5).resolved()})
    one = drill.steps_of(drill.our_trainer(tiny, weighted, 2, tmp_path / "ours"))
    other = drill.steps_of(drill.their_trainer(tiny, SECTION, 2, tmp_path / "stock"))
    assert weight_one_is_stock(one, other).status is Status.FAILED


def per_micro_batch(trainer):
    """The loss as the field normalised it before 2024-10: the mean of each micro-batch, then the mean of those."""
    right = trainer.compute_loss

    def compute_loss(model, inputs, return_outputs=False, num_items_in_batch=None):
        return right(model, inputs, return_outputs, None) / trainer.args.gradient_accumulation_steps

    trainer.compute_loss = compute_loss


def test_a_loss_that_is_normalised_per_micro_batch_is_found(tiny, tmp_path):
    verdict = accumulation_invariant(drill.split_steps(ours(tiny, per_micro_batch), SECTION, tmp_path))
    assert verdict.status is Status.FAILED, verdict.measured


def one_long_row(trainer):
    """A model that ignores the position ids of packed rows: all rows are one."""
    right = trainer.data_collator

    def collate(examples):
        batch = right(examples)
        tokens = batch["input_ids"].shape[1]
        return {**batch, "position_ids": torch.arange(tokens)[None], "packed_lengths": [0, tokens]}

    trainer.data_collator = collate


def own_positions_only(trainer):
    """An attention that sees its neighbours, though positions start anew with every row."""
    right = trainer.data_collator
    trainer.data_collator = lambda rows: {**(batch := right(rows)), "packed_lengths": [0, batch["input_ids"].shape[1]]}


@pytest.mark.parametrize("fault", [one_long_row, own_positions_only])
def test_an_attention_that_forgets_where_packed_rows_end_is_found(tiny, tmp_path, fault):
    alone, together = drill.layouts(tiny, ours(tiny, fault)(SECTION, 1, tmp_path))
    verdict = rows_do_not_mix(alone, together)
    assert verdict.status is Status.FAILED and "packed" in verdict.remedy


@pytest.mark.parametrize("lost", ["optimizer.pt", "scheduler.pt"])
def test_a_checkpoint_that_lacks_something_is_found(tiny, tmp_path, lost):
    whole = drill.steps_of(ours(tiny)(SECTION, drill.STEPS, tmp_path / "whole"), save=True)
    saved = tmp_path / "whole" / "checkpoints" / f"checkpoint-{drill.SAVED_AT}"
    (saved / lost).unlink()
    resumed = drill.resumed_losses(ours(tiny), SECTION, tmp_path)
    assert resume_exact([loss for loss, _ in whole[drill.SAVED_AT :]], resumed).status is Status.FAILED


def test_a_merge_that_does_nothing_is_found(tiny, tmp_path):
    measured = drill.merged_logits(tiny, SECTION, tmp_path, merge=lambda tuned: tuned.unload())
    assert merge_round_trips(*measured).status is Status.FAILED
    assert measured[1] == pytest.approx(measured[0])


def test_a_merge_that_is_rounded_to_bfloat16_is_found(tiny, tmp_path):
    measured = drill.merged_logits(
        tiny, SECTION, tmp_path, merge=lambda tuned: tuned.merge_and_unload().bfloat16().float()
    )
    assert merge_round_trips(*measured).status is Status.FAILED


def test_the_room_is_that_of_what_the_trainer_writes(tiny, tmp_path):
    trainer = ours(tiny)(SECTION, drill.STEPS, tmp_path)
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

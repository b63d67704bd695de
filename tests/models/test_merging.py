"""What the gates on a merge are told, measured on real merges of a PEFT adapter: right, no-op, wrong base, rounded."""

import pytest
import torch

from tunewright.artifacts.verdict import Status
from tunewright.gates.merge import merge_drift, merge_fits_base, merge_took_effect
from tunewright.models.load import load_model
from tunewright.models.merging import measure_merge, misfits
from tunewright.models.tiny import write_tiny_twin

PROMPTS = [[5, 9, 200, 31, 77, 8], [12, 40, 41, 42], [250, 3, 3, 90, 17, 6, 111, 64]]


@pytest.fixture(scope="module")
def tiny(toy_model, tmp_path_factory):
    return write_tiny_twin(toy_model, tmp_path_factory.mktemp("merging") / "tiny")


def tuned(folder, scale=0.02):
    """A model with an adapter as training leaves one: small, and nowhere 0."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(load_model(folder, "float32"), LoraConfig(r=4, target_modules="all-linear")).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, scale)
    return model


def merged(folder, how=lambda model: model.merge_and_unload()):
    return how(tuned(folder))


def test_a_float32_merge_is_base_plus_adapter(tiny):
    found = measure_merge(tuned(tiny), merged(tiny), PROMPTS)
    assert found.tokens == 18 and found.kl_adapter_base > 1e-4
    assert merge_took_effect(found).status is Status.PASSED and merge_drift(found).status is Status.PASSED


def test_a_no_op_merge_is_found(tiny):
    found = measure_merge(tuned(tiny), merged(tiny, lambda model: model.unload()), PROMPTS)
    assert found.kept_effect == pytest.approx(0)
    assert merge_took_effect(found).status is Status.FAILED


def four_bits(model):
    """Round every merged matrix to 15 steps between its extremes, row by row: more than a LoRA adds."""
    base = model.merge_and_unload()
    with torch.no_grad():
        for name, weight in base.named_parameters():
            if "proj" in name:
                step = weight.abs().amax(1, keepdim=True) / 7
                weight.copy_((weight / step).round() * step)
    return base


def test_a_merge_into_four_bits_is_found(tiny):
    found = measure_merge(tuned(tiny), merged(tiny, four_bits), PROMPTS)
    assert merge_took_effect(found).status is Status.FAILED and merge_drift(found).status is Status.FAILED


def test_a_merge_into_another_base_is_found(tiny, toy_model):
    from tunewright.models.tiny import build

    other = build(load_model(tiny, "float32").config, seed=1).eval()
    found = measure_merge(tuned(tiny), other, PROMPTS)
    assert merge_drift(found).status is Status.FAILED


def test_an_adapter_of_another_width_or_depth_does_not_fit_and_the_weights_are_named(tiny, toy_model, tmp_path):
    tuned(tiny).save_pretrained(tmp_path)
    assert misfits(tmp_path, load_model(tiny, "float32")) == []
    found = misfits(tmp_path, load_model(toy_model, "float32"))
    assert any("in the adapter" in text for text in found)
    assert merge_fits_base("", "folder:b", found).status is Status.FAILED
    shallow = load_model(tiny, "float32")
    shallow.model.layers = shallow.model.layers[:1]
    assert any("layers.1" in text and "not in this model" in text for text in misfits(tmp_path, shallow))

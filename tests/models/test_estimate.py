"""Shapes and estimates from configs: counted against real models, and against peaks that were measured."""

import json
import struct
from dataclasses import replace

import pytest
from benchmarks.estimate import CASES, GEMMA3, LLAMA3, MISTRAL, MOST_ERROR, QWEN3, compare, kept
from benchmarks.report import BASELINES

from tunewright.errors import ModelError
from tunewright.models.devices import available_memory, catalogue, peak_resident, resident_memory, this_device
from tunewright.models.estimate import Training, generation_memory, training_memory
from tunewright.models.fitting import nearest_that_fit
from tunewright.models.flops import gpu_hours, training_flops
from tunewright.models.shape import count_parameters, read_shape, shape_of

QWEN2 = {**QWEN3, "model_type": "qwen2", "head_dim": 64}
MOE = {
    "model_type": "qwen3_moe", "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "tie_word_embeddings": False, "decoder_sparse_step": 1,
}  # fmt: skip
GPT2 = {"model_type": "gpt2", "vocab_size": 50257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024}


@pytest.fixture
def shape():
    return shape_of({**LLAMA3, "num_hidden_layers": 16})


@pytest.mark.parametrize(
    "config", [LLAMA3, QWEN2, QWEN3, GEMMA3, MISTRAL, MOE], ids=lambda config: config["model_type"]
)
def test_parameters_by_the_config_are_those_of_the_model(config):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {"num_hidden_layers": 2, **({"layer_types": None} if config is GEMMA3 else {})}
    settings = {**config, **small}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(settings.pop("model_type"), **{k: v for k, v in settings.items() if v is not None})
        )
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert shape_of({**config, "num_hidden_layers": 2}).parameters == pytest.approx(counted, rel=2e-3)


@pytest.mark.parametrize(("family", "gated"), [("phi", False), ("phi3", True), ("falcon", False), ("falcon_h1", True)])
def test_a_family_of_another_name_is_not_taken_for_the_older_one(family, gated):
    assert shape_of({**LLAMA3, "num_hidden_layers": 2, "model_type": family}).gated == gated


def test_a_model_on_disk_is_counted_by_the_headers_of_its_files(toy_model):
    import torch
    from safetensors.torch import load_file

    weights = load_file(toy_model / "model.safetensors")
    assert count_parameters(toy_model) == sum(tensor.numel() for tensor in weights.values())
    assert read_shape(toy_model).parameters == count_parameters(toy_model)
    assert all(isinstance(tensor, torch.Tensor) for tensor in weights.values())


def test_old_names_of_the_same_numbers_are_read():
    shape = shape_of(GPT2)
    assert (shape.hidden, shape.layers, shape.heads, shape.context) == (768, 12, 12, 1024)
    assert shape.parameters == pytest.approx(124e6, rel=0.01)


def test_a_config_of_no_decoder_is_refused_by_what_it_lacks():
    with pytest.raises(ModelError, match="no num_hidden_layers"):
        shape_of({"model_type": "resnet", "hidden_size": 4})


def test_a_damaged_weights_file_is_named(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 10**12) + b"{}")
    with pytest.raises(ModelError, match="safetensors"):
        count_parameters(tmp_path)


def test_every_peak_that_was_measured_lies_in_the_interval_and_within_the_error():
    rows = kept(sorted(BASELINES.glob("*__estimate.json")))
    assert len(rows) >= 6
    for name, measured in rows.items():
        told = compare(measured)
        assert abs(told["error"]) <= MOST_ERROR, (name, told["error"])
        assert told["holds"], (name, told["low"], measured["peak"], told["high"])
        assert name in CASES


@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
@pytest.mark.parametrize("field", ["tokens", "rank"])
def test_more_of_anything_takes_no_less(shape, method, field):
    small = Training(method=method)
    large = replace(small, **{field: 2 * getattr(small, field)})
    assert training_memory(shape, large).peak >= training_memory(shape, small).peak


def test_methods_and_checkpointing_come_in_the_order_of_their_memory(shape):
    settings = Training(device="cuda", precision="bfloat16")
    full, lora, qlora = (training_memory(shape, replace(settings, method=m)).peak for m in ("full", "lora", "qlora"))
    assert full > lora > qlora
    assert training_memory(shape, replace(settings, checkpointing=True)).peak < lora / 2
    estimate = training_memory(shape, settings)
    assert estimate.low < estimate.peak == sum(estimate.parts.values()) < estimate.high


def test_generation_holds_keys_and_values(shape):
    memory = generation_memory(shape, rows=4, tokens=1000, precision="bfloat16", device="cuda")
    assert memory.parts["keys/values"] == 2 * 16 * 8 * 64 * 4 * 1000 * 2


# ── what fits ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_nearest_settings_that_fit_do_fit_and_change_little_first(shape):
    settings = Training(method="full", batch_size=16, row_tokens=2048, tokens=16 * 2048, trained_tokens=16 * 2048)
    limit = training_memory(shape, settings).peak // 3
    found = nearest_that_fit(shape, settings, limit)
    assert all(training_memory(shape, one.training).peak <= limit for one in found)
    changes = " | ".join(one.change for one in found)
    assert changes.index("batch_size:") < changes.index("gradient_checkpointing") < changes.index("LoRA")
    assert changes.index("LoRA") < changes.index("QLoRA") < changes.index("max_tokens:")
    first = found[0].training
    assert first.batch_size * first.accumulation == 16


def test_nothing_fits_where_the_weights_do_not(shape):
    assert nearest_that_fit(shape, Training(), 10**6) == []


# ── devices ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_device_has_a_price_with_its_date_and_source():
    for gpu in catalogue():
        assert 0 < gpu.price.community <= gpu.price.secure
        assert gpu.source.startswith("https://")
        assert "2026-01-01" < gpu.date < "2027"
        assert gpu.memory_bytes == gpu.memory * 10**9


def test_hours_follow_from_flops_and_the_range_of_utilization(shape):
    flops = training_flops(shape, Training(method="full"), 10**9)
    assert flops == pytest.approx(6 * 1e9 * 1.2e9, rel=0.2)
    h100 = next(gpu for gpu in catalogue() if gpu.name == "H100 SXM")
    fewest, most = gpu_hours(flops, h100)
    assert fewest < flops / 989e12 / 0.3 / 3600 < most


def test_this_machine_has_a_device_with_memory():
    device = this_device()
    assert device.memory_bytes > 0
    assert 0 < resident_memory() <= peak_resident() < available_memory() * 100
    assert json.loads(device.model_dump_json())["kind"] in ("cpu", "cuda")

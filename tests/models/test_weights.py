"""The weight files held against the config: silent on every sound model, and on none that is broken."""

from __future__ import annotations

import json
import shutil
import time

import pytest

torch = pytest.importorskip("torch")

from benchmarks.stack_drill import ARCHITECTURES, config_folder  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from tunewright.errors import ModelError  # noqa: E402
from tunewright.models.embeddings import embedding_facts  # noqa: E402
from tunewright.models.load import load_model, weight_facts  # noqa: E402
from tunewright.models.tiny import write_tiny_twin  # noqa: E402

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def model(toy_model, tmp_path):
    return shutil.copytree(toy_model, tmp_path / "model", copy_function=shutil.copy)


def change(folder, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def is_silent(folder):
    facts = weight_facts(folder)
    return facts is not None and facts.num_tensors > 10 and not facts.missing and not facts.shapes


# ── sound models ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_twins_of_all_architectures_are_whole(architecture, tmp_path):
    assert is_silent(write_tiny_twin(config_folder(architecture, tmp_path / "config"), tmp_path / "tiny"))


def test_a_real_model_is_whole_and_that_is_known_soon(smollm2_folder):
    assert is_silent(smollm2_folder)  # imports are made by now
    began = time.process_time()
    assert is_silent(smollm2_folder)
    assert time.process_time() - began < 2.0  # 0.2 s


def test_shards_are_one_model_and_an_unfinished_download_is_none_yet(toy_model, tmp_path):
    load_model(toy_model, "float32").save_pretrained(tmp_path, max_shard_size="4MB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1 and is_silent(tmp_path)
    shards[-1].unlink()
    assert weight_facts(tmp_path) is None


def test_a_merged_adapter_leaves_a_whole_model(toy_model, tmp_path):
    from peft import LoraConfig, get_peft_model

    tuned = get_peft_model(load_model(toy_model, "float32"), LoraConfig(r=2, target_modules="all-linear"))
    tuned.merge_and_unload().save_pretrained(tmp_path)
    assert is_silent(tmp_path)


def test_an_adapter_is_loaded_without_a_word_of_the_libraries(toy_model, tmp_path, recwarn):
    from peft import LoraConfig, get_peft_model

    get_peft_model(load_model(toy_model, "float32"), LoraConfig(r=2, target_modules="all-linear")).save_pretrained(
        tmp_path
    )
    recwarn.clear()
    load_model(toy_model, "float32", tmp_path)
    assert not [str(one.message) for one in recwarn if one.category is FutureWarning]


def test_a_head_of_its_own_must_be_there_and_a_tied_one_need_not(model):
    assert "lm_head.weight" not in load_file(model / "model.safetensors") and is_silent(model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    assert weight_facts(model).missing == ("lm_head.weight",)


def test_quantised_weights_and_a_folder_without_any_are_left_alone(model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "any"}}))
    assert weight_facts(model) is None
    (model / "model.safetensors").unlink()
    assert weight_facts(model) is None


# ── broken ones ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_missing_tensor_is_named_and_the_model_is_not_loaded(model):
    change(model, lambda tensors: tensors.pop(Q_PROJ))
    facts = weight_facts(model)
    assert facts.missing == (Q_PROJ,) and not facts.shapes
    with pytest.raises(ModelError, match=r"the files lack model\.layers\.1\.self_attn\.q_proj\.weight"):
        load_model(model, "float32")


def test_a_tensor_of_another_shape_is_told_with_both(model):
    change(model, lambda tensors: tensors.update({Q_PROJ: tensors[Q_PROJ][:24].clone()}))
    facts = weight_facts(model)
    assert not facts.missing and facts.shapes == {Q_PROJ: ([24, 48], [48, 48])}
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(model, "float32")


def test_a_file_that_was_cut_is_refused_wherever_it_is_opened(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    for look in (
        weight_facts,
        lambda folder: embedding_facts(folder, {"a": 1}, {}),
        lambda f: load_model(f, "float32"),
    ):
        with pytest.raises(ModelError) as refused:
            look(model)
        assert "cut" in refused.value.fix


def test_a_config_that_makes_no_model_is_refused(model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "vocab_size": 1}))  # the padding lies beyond
    with pytest.raises(ModelError, match="cannot be loaded"):
        weight_facts(model)

import json
from hashlib import sha256

import pytest

from tunewright.errors import EnvironmentProblem, ModelError
from tunewright.models.find import may_be_model, model_folder, model_identity, tokenizer_folder
from tunewright.models.gguf import CONVERSION_VERSION
from tunewright.models.precision import resolve_precision

ALIAS = "smollm2-135m-instruct"


def test_the_alias_is_dequantised_once_and_gave_the_known_answer(smollm2_folder):
    assert model_folder(ALIAS) == smollm2_folder
    assert "Paris" in json.loads((smollm2_folder / "known_answer.json").read_text())["answer"]
    assert not list(smollm2_folder.parent.glob(f".{smollm2_folder.name}.*"))


def test_the_dequantised_weights_are_those_of_the_file(smollm2_folder):
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    from tunewright.models.find import gguf_file

    tensors = {t.name: t for t in gguf.GGUFReader(gguf_file(ALIAS)).tensors}
    ours = load_file(smollm2_folder / "model.safetensors")["model.layers.3.mlp.down_proj.weight"]
    theirs = tensors["blk.3.ffn_down.weight"]
    assert np.array_equal(ours, gguf.dequantize(theirs.data, theirs.tensor_type))


def test_a_gguf_file_by_path_is_the_same_model_as_its_alias(smollm2_folder):
    from tunewright.models.find import gguf_file

    path = str(gguf_file(ALIAS))
    assert model_identity(path) == model_identity(ALIAS)
    assert model_folder(path) == smollm2_folder


def test_a_folder_is_its_bytes_and_not_its_name(toy_model, tmp_path):
    import shutil

    shutil.copytree(toy_model, tmp_path / "copy")
    assert model_identity(str(tmp_path / "copy")) == model_identity(str(toy_model))
    config = tmp_path / "copy" / "config.json"
    config.write_text(config.read_text().replace('"rope', '"rope_', 1))
    assert model_identity(str(tmp_path / "copy")) != model_identity(str(toy_model))


@pytest.mark.parametrize("ref", ["smolm2", "no-such-model"])
def test_an_unknown_name_lists_what_a_model_may_be(ref):
    with pytest.raises(ModelError, match="no such model") as caught:
        model_folder(ref)
    assert ALIAS in str(caught.value)
    assert not may_be_model(ref)


def test_a_missinggguf_file_is_told():
    with pytest.raises(ModelError, match="no such file"):
        model_identity("nowhere/model.gguf")


def test_a_file_that_is_no_gguf_is_told_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.gguf").write_bytes(b"not a gguf at all")
    with pytest.raises(ModelError, match="not a GGUF"):
        model_folder(str(tmp_path / "x.gguf"))
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_what_a_killed_conversion_left_is_gone_after_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "x[1].gguf"
    file.write_bytes(b"not a gguf at all")
    models = tmp_path / "cache" / "models"
    name = f"x[1]-{sha256(file.read_bytes()).hexdigest()[:12]}-v{CONVERSION_VERSION}"
    for left in (models / f".{name}.1234", models / ".another.1234"):
        left.mkdir(parents=True)
        (left / "model.safetensors").write_text("half")
    with pytest.raises(ModelError, match="not a GGUF"):
        model_folder(str(file))
    assert [left.name for left in models.iterdir()] == [".another.1234"]


def test_a_folder_without_a_config_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        model_folder(str(tmp_path))


def test_a_hub_model_that_cannot_be_reached_is_a_clean_error():
    with pytest.raises((EnvironmentProblem, ModelError)) as caught:
        tokenizer_folder("nobody/such-a-model-is-not-there")
    assert "nobody/such-a-model-is-not-there" in str(caught.value)


def test_a_stated_precision_is_taken_and_auto_is_one_of_the_two():
    assert resolve_precision("bfloat16") == "bfloat16"
    assert resolve_precision("float32") == "float32"
    assert resolve_precision("auto") in ("float32", "bfloat16")

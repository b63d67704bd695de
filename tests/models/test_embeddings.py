"""Untrained control tokens are found by their rows: in planted matrices, and in the real SmolLM2."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from tunewright.artifacts.verdict import Status  # noqa: E402
from tunewright.gates.format import control_tokens_trained  # noqa: E402
from tunewright.models.embeddings import embedding_facts  # noqa: E402

ASKED = {"<|im_start|>": 500, "<|im_end|>": 501}
OTHERS = {"<|reserved_0|>": 502, "<|reserved_1|>": 503}


@pytest.fixture
def matrix():
    torch.manual_seed(0)
    return torch.randn(512, 64) + 0.3


def written(folder, matrix, dtype=torch.float32):
    save_file({"model.embed_tokens.weight": matrix.to(dtype)}, str(folder / "model.safetensors"))
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_trained_tokens_pass(tmp_path, matrix, dtype):
    facts = embedding_facts(written(tmp_path, matrix, dtype), ASKED, OTHERS)
    assert facts.untrained == {} and facts.num_looked_at == 2
    assert control_tokens_trained(facts, trains_embeddings=False).status is Status.PASSED


def test_a_model_made_from_a_config_is_told_from_one_with_untrained_tokens(toy_model):
    """Its padding row is zero, as torch makes it, and that is no finding: nothing in it was trained."""
    facts = embedding_facts(toy_model, {"<|im_start|>": 1, "<|im_end|>": 2}, {"<repo_name>": 3})
    assert facts.is_random and facts.untrained == {}


@pytest.mark.parametrize(
    ("plant", "sign"),
    [
        (lambda m: torch.zeros(64), "zero"),
        (lambda m: m[502], "the row of <|reserved_0|>"),
        (lambda m: m[:500].mean(0) + 1e-5 * torch.randn(64), "the mean of all rows"),
        (lambda m: 0.1 * m[7], "short"),
    ],
)
def test_each_sign_of_an_untrained_row_is_found(tmp_path, matrix, plant, sign):
    matrix[501] = plant(matrix)
    facts = embedding_facts(written(tmp_path, matrix), ASKED, OTHERS)
    assert facts.untrained == {"<|im_end|>": sign}
    verdict = control_tokens_trained(facts, trains_embeddings=False)
    assert verdict.status is Status.FAILED and f"`<|im_end|>` ({sign})" in verdict.measured
    assert control_tokens_trained(facts, trains_embeddings=True).status is Status.WARNED


def test_rows_that_a_resize_of_transformers_made_are_found(tmp_path, toy_model):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(toy_model)
    with torch.no_grad():
        model.get_input_embeddings().weight += 0.05  # real ones have a mean far from 0
    model.resize_token_embeddings(49154)
    model.save_pretrained(tmp_path)
    facts = embedding_facts(tmp_path, {"<|new|>": 49152, "<|newer|>": 49153}, {})
    assert set(facts.untrained) == {"<|new|>", "<|newer|>"}


@pytest.mark.real_model
def test_smollm2_trained_its_turns_and_not_its_file_markers(smollm2_folder):
    asked = {"<|im_start|>": 1, "<|im_end|>": 2, "<filename>": 6, "<jupyter_code>": 13, "<issue_start>": 8}
    facts = embedding_facts(smollm2_folder, asked, {f"other{at}": at for at in range(3, 17) if at not in (6, 8, 13)})
    assert set(facts.untrained) == {"<jupyter_code>", "<issue_start>"}


def test_shards_are_read_by_their_index_and_no_weights_are_no_verdict(tmp_path, matrix):
    assert embedding_facts(tmp_path, ASKED, OTHERS) is None
    save_file({"transformer.wte.weight": matrix}, str(tmp_path / "part-1.safetensors"))
    index = {"weight_map": {"transformer.wte.weight": "part-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert embedding_facts(tmp_path, ASKED, OTHERS).num_looked_at == 2
    verdict = control_tokens_trained(None, trains_embeddings=False)
    assert verdict.status is Status.PASSED and "no weights at hand" in verdict.measured

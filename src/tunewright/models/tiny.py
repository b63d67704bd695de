"""A tiny twin of a model: its architecture class and its switches, two layers, small widths, random weights.

What breaks a training stack (attention that forgets where rows end, a loss divided by the wrong count, a checkpoint
that lacks its optimizer) breaks it at any size. So it is looked for at the smallest, in seconds and before the weights
are even there: only `config.json` is read.

reads    config.json of the model
writes   a model folder: config, weights (float32), a word-level tokenizer over VOCABULARY ids. Needs torch.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from tunewright.errors import MissingExtra, ModelError

VOCABULARY = 256
PAD, BOS, EOS = 253, 254, 255  # not the first: models are tried on tokens 0 to 7
# Standard deviation of a logit. With the usual initialisation all words are almost equally likely, and then neither a
# wrong attention nor a wrong weight moves the loss much.
LOGIT_STD = 2.0
# What widths and numbers of experts, and of low-rank projections, become. Heads keep their size: rope tables are of
# that length.
SMALL = {
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "router_aux_loss_coef": 0.0,  # taken of each micro-batch by its nature: no two splits would have the same loss
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 16,
}


def write_tiny_twin(folder: Path, out: Path) -> Path:
    """Write a tiny twin of the model in `folder` to `out` and return `out`.

    Args:
        folder: has `config.json`; weights are not looked at.
        out: is created.

    Raises:
        ModelError: transformers does not know the architecture, or it cannot be built small.
    """
    try:
        from transformers import AutoConfig
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtra.of(error, "train") from None
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False).get_text_config()
        model = build(tiny_config(config))
    except Exception as error:  # each family has its own reasons why a width cannot be
        raise ModelError(
            f"no tiny twin can be built: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            where=str(folder),
            expected="an architecture that this transformers knows as a causal language model",
        ) from error
    logging.disable_progress_bar()
    model.save_pretrained(str(out))
    _tokenizer().save_pretrained(str(out))
    return out


def build(config: Any, seed: int = 0) -> Any:
    """Return a causal language model of `config` with random weights from `seed`; the global generator is untouched."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(config).float()


def tiny_config(config: Any) -> Any:
    """Return a copy of a text config with two layers (one of each kind, where there are more), few heads, few words."""
    tiny = shallow_config(config)
    heads = config.num_attention_heads
    grouped = (getattr(config, "num_key_value_heads", None) or heads) < heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    values = {
        "num_attention_heads": 2,
        "num_key_value_heads": 1 if grouped else 2,
        "hidden_size": 2 * head_size,
        "intermediate_size": 4 * head_size,
        "vocab_size": VOCABULARY,
        "initializer_range": LOGIT_STD / (2 * head_size) ** 0.5,
        "dtype": "float32",
        **SMALL,
    }
    for name, value in values.items():
        if getattr(tiny, name, None) is not None:
            setattr(tiny, name, value)
    for name, value in vars(tiny).items():
        if isinstance(value, float) and ("dropout" in name or name.endswith("pdrop")):
            setattr(tiny, name, 0.0)  # another draw for each micro-batch: no two losses would be the same
    tiny.pad_token_id, tiny.bos_token_id, tiny.eos_token_id = PAD, BOS, EOS
    return tiny


def shallow_config(config: Any) -> Any:
    """Return a copy of a text config with two layers, or one of each kind where there are more; widths as they are."""
    shallow = copy.deepcopy(config)
    kept = _layers_of_each_kind(config)
    for name, value in vars(config).items():
        if isinstance(value, list | tuple) and len(value) == config.num_hidden_layers:  # an entry a layer
            setattr(shallow, name, [value[index] for index in kept])
    shallow.num_hidden_layers = len(kept)
    return shallow


def _layers_of_each_kind(config: Any) -> list[int]:
    kinds = list(getattr(config, "layer_types", None) or ["any"] * config.num_hidden_layers)
    first = sorted({kind: kinds.index(kind) for kind in kinds}.values())
    return first if len(first) > 1 else [0, min(1, len(kinds) - 1)]


def _tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = WordLevel({f"w{number}": number for number in range(VOCABULARY)}, unk_token="w0")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), pad_token=f"w{PAD}", bos_token=f"w{BOS}", eos_token=f"w{EOS}"
    )

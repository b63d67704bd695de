"""The shape of a model, read from its config alone: how many parameters, which linear layers, what attention.

reads    config.json of any family of transformers; the headers of *.safetensors where they are there (no weights)
makes    a `Shape`: all that memory and FLOPs follow from. Needs no torch.

Families differ in a few ways that count: bound or separate head, query and key norms, two or four norms a layer, gated
or plain MLP, biases, experts, sliding windows. What a config leaves out is its family's default.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from tunewright.artifacts.files import read_json
from tunewright.errors import ModelError

# Other names of the same number, in older families.
NAMES = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads"),
    "vocab_size": ("vocab_size",),
}
TIED_FAMILIES = ("gemma", "cohere", "gpt2", "smollm", "bloom", "opt")  # where a config does not say
QK_NORM_FAMILIES = ("qwen3", "gemma3", "gemma4", "olmo2", "olmo3", "smollm4")
FOUR_NORM_FAMILIES = ("gemma2", "gemma3", "gemma4")
PLAIN_MLP_FAMILIES = {"gpt2", "opt", "bloom", "gpt_neo", "gpt_neox", "gptj", "phi", "falcon", "starcoder2"}  # not phi3
QKV_BIAS_FAMILIES = ("qwen2",)
ATTENTION_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj")
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format itself


class Linear(NamedTuple):
    """One linear layer, as often as it stands in a decoder layer."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Shape:
    """What a decoder is made of.

    Attributes:
        family: `model_type` of the config.
        vocab_size, hidden, layers, heads, kv_heads, head_dim: as usual.
        intermediate: width of the MLP that a token passes through (of all its experts together).
        linears: those of one layer that a token passes through; what `all-linear` gives adapters to.
        parameters: of the whole model; from the files where they are there, else from the config.
        tied: input and output embeddings are one.
        gated: the MLP has a gate.
        qk_norm: queries and keys are normalised.
        norms: normalisations of a hidden state in one layer.
        experts: 0, or how many there are.
        windows: some layer attends to a window only, or drops attention: rows cannot be packed.
        context: positions it was made for, or None.
    """

    family: str
    vocab_size: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    linears: tuple[Linear, ...]
    parameters: int
    tied: bool
    gated: bool
    qk_norm: bool
    norms: int
    experts: int
    windows: bool
    context: int | None

    @property
    def attention_width(self) -> int:
        """Numbers in the queries of a token."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Numbers in the keys of a token."""
        return self.kv_heads * self.head_dim

    @property
    def embedding(self) -> int:
        """Parameters of one embedding matrix."""
        return self.vocab_size * self.hidden

    @property
    def active(self) -> int:
        """Parameters of the linear layers that one token passes through, the head not counted."""
        return self.layers * sum(one.inputs * one.outputs for one in self.linears)

    def adapter_parameters(self, rank: int, targets: str | tuple[str, ...] = "all-linear") -> int:
        """Parameters of LoRA adapters; experts are no linear layers in transformers 5 and get none."""
        taken = self.adapted(targets)
        return self.layers * sum(rank * (one.inputs + one.outputs) for one in taken)

    def adapted(self, targets: str | tuple[str, ...] = "all-linear") -> tuple[Linear, ...]:
        """Return the linear layers of one layer that get an adapter."""
        if targets == "all-linear":
            return tuple(one for one in self.linears if not self.experts or one.name in ATTENTION_LINEARS)
        wanted = (targets,) if isinstance(targets, str) else targets
        return tuple(one for one in self.linears if one.name in wanted)


def read_shape(folder: Path) -> Shape:
    """Return the shape of the model in `folder`; its weights need not be there.

    Raises:
        ModelError: the config lacks what a decoder must have.
    """
    shape = shape_of(read_json(folder / "config.json"), str(folder))
    counted = count_parameters(folder)
    return shape if counted is None else _with_count(shape, counted)


def shape_of(config: Mapping[str, Any], where: str = "config.json") -> Shape:
    """Return the shape that a config describes.

    Raises:
        ModelError: the config lacks what a decoder must have.
    """
    text = config.get("text_config") if isinstance(config.get("text_config"), Mapping) else config
    assert isinstance(text, Mapping)
    family = str(text.get("model_type") or config.get("model_type") or "")
    hidden, layers, heads, vocab = (_number(text, name, where) for name in NAMES)
    kv_heads = int(text.get("num_key_value_heads") or heads)
    head_dim = int(text.get("head_dim") or hidden // heads)
    gated = family not in PLAIN_MLP_FAMILIES
    experts = _experts(text)
    intermediate = _intermediate(text, hidden, experts)
    linears = _linears(hidden, heads * head_dim, kv_heads * head_dim, intermediate, gated)
    tied = bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", family.startswith(TIED_FAMILIES))))
    norms = 4 if family.startswith(FOUR_NORM_FAMILIES) else 2
    shape = Shape(
        family=family,
        vocab_size=vocab,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        intermediate=intermediate,
        linears=linears,
        parameters=0,
        tied=tied,
        gated=gated,
        qk_norm=family.startswith(QK_NORM_FAMILIES),
        norms=norms,
        experts=experts,
        windows=_windows(text),
        context=text.get("max_position_embeddings") or text.get("n_positions"),
    )
    return _with_count(shape, _count(shape, text))


def count_parameters(folder: Path) -> int | None:
    """Return the number of parameters by the headers of the safetensors files; None where there are none.

    Raises:
        ModelError: a file is none of this format.
    """
    files = sorted(folder.glob("*.safetensors"))
    return sum(_header_count(path) for path in files) if files else None


def _header_count(path: Path) -> int:
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            if size > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(file.read(size))
        return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise ModelError(
            f"not a safetensors file: {error}", where=str(path), fix="fetch the model again; the file is damaged"
        ) from None


def _number(text: Mapping[str, Any], name: str, where: str) -> int:
    for key in NAMES[name]:
        value = text.get(key)
        if isinstance(value, int) and value > 0:
            return value
    raise ModelError(f"no {name}", where=where, expected="the config of a decoder (Llama, Qwen, Gemma, Mistral, ...)")


def _experts(text: Mapping[str, Any]) -> int:
    for key in ("num_experts", "num_local_experts", "n_routed_experts"):
        if text.get(key):
            return int(text[key])
    return 0


def _intermediate(text: Mapping[str, Any], hidden: int, experts: int) -> int:
    """Width of the MLP that one token passes through."""
    plain = int(text.get("intermediate_size") or text.get("n_inner") or text.get("ffn_dim") or 4 * hidden)
    if not experts:
        return plain
    one = int(text.get("moe_intermediate_size") or plain)
    shared = int(text.get("shared_expert_intermediate_size") or one * int(text.get("n_shared_experts") or 0))
    return one * int(text.get("num_experts_per_tok") or 2) + shared


def _linears(hidden: int, queries: int, keys: int, intermediate: int, gated: bool) -> tuple[Linear, ...]:
    attention = (
        Linear("q_proj", hidden, queries),
        Linear("k_proj", hidden, keys),
        Linear("v_proj", hidden, keys),
        Linear("o_proj", queries, hidden),
    )
    gate = (Linear("gate_proj", hidden, intermediate),) if gated else ()
    return *attention, *gate, Linear("up_proj", hidden, intermediate), Linear("down_proj", intermediate, hidden)


def _windows(text: Mapping[str, Any]) -> bool:
    """True where `use_packed_attention` would refuse: see there."""
    kinds = set(text.get("layer_types") or ["full_attention"])
    slides = text.get("use_sliding_window", True) and text.get("sliding_window")
    pattern = text.get("sliding_window_pattern") or text.get("_sliding_window_pattern")
    return bool(slides or pattern or text.get("attention_dropout")) or kinds != {"full_attention"}


def _count(shape: Shape, text: Mapping[str, Any]) -> int:
    """Parameters by the config: embeddings, layers with all their experts, norms, biases."""
    layer = sum(one.inputs * one.outputs for one in shape.linears) + shape.norms * shape.hidden
    layer += 2 * shape.head_dim if shape.qk_norm else 0
    if text.get("attention_bias") or shape.family.startswith(QKV_BIAS_FAMILIES):
        layer += shape.attention_width + 2 * shape.kv_width
    if shape.experts:
        active = int(text.get("num_experts_per_tok") or 2)
        one = 3 * shape.hidden * int(text.get("moe_intermediate_size") or text.get("intermediate_size") or 0)
        layer += (shape.experts - active) * one + shape.experts * shape.hidden
    embeddings = shape.embedding * (1 if shape.tied else 2)
    return embeddings + shape.layers * layer + shape.hidden


def _with_count(shape: Shape, parameters: int) -> Shape:
    return replace(shape, parameters=parameters)

"""Attention over many conversations laid end to end. Legend: H heads, K key-value heads, N packed tokens, D head size.

Packed rows need no padding, and what all rows begin with (the instructions of the system turn) stands once in front and
is computed once, with exact gradients: causal attention makes it the same in every row. The linear layers see one
long row of N tokens; here each row attends to the shared start and to itself.

    shared start | row 1 | row 2 | ...          lengths = [start, len 1, len 2, ...]

Registered with transformers' public attention interface under a name of its own; nobody else's attention changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from tunewright.kernels.causal_rows import causal_rows, fits_causal_rows

ATTENTION = "tunewright_packed"
# Tokens that every vocabulary has, for the trial: a shared start and two rows.
TRIAL_START, TRIAL_ROWS = (5, 6, 7), ((8, 9, 10, 11), (12, 13))


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float,
    packed_lengths: Sequence[int] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Let each packed row attend, causally, to the shared start and to itself.

    Args:
        module: the attention layer; unused.
        query: `(1, H, N, D)`, H a multiple of K.
        key: `(1, K, N, D)`.
        value: `(1, K, N, D)`.
        attention_mask: None; the lengths say it all.
        scaling: factor of the scores.
        packed_lengths: tokens of the shared start (0 if there is none), then of each row; they sum to N.

    Returns:
        `(1, N, H, D)`, and no weights.

    Raises:
        ValueError: a padded batch of several rows, or no lengths: some models do not hand them on.
    """
    if packed_lengths is None:
        raise ValueError("packed attention needs `packed_lengths`")
    if query.shape[0] != 1:
        raise ValueError(f"packed attention takes one long row, not a batch of {query.shape[0]}")
    if query.requires_grad and fits_causal_rows(query, value, packed_lengths):
        return causal_rows(query[0], key[0], value[0], packed_lengths, scaling)[None], None
    return rows_by_torch(query, key, value, packed_lengths, scaling), None


def rows_by_torch(query: Tensor, key: Tensor, value: Tensor, packed_lengths: Sequence[int], scaling: float) -> Tensor:
    """Let each packed row attend by torch's kernels, one row after another; returns `(1, N, H, D)`."""
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (t.repeat_interleave(shared, dim=1) for t in (key, value))
    start, *rows = packed_lengths
    queries, keys, values = (torch.split(t, [start, *rows], dim=2) for t in (query, key, value))
    out = [scaled_dot_product_attention(queries[0], keys[0], values[0], scale=scaling, is_causal=True)] if start else []
    for own_query, own_key, own_value in zip(queries[1:], keys[1:], values[1:], strict=True):
        if start:
            own_key, own_value = torch.cat([keys[0], own_key], 2), torch.cat([values[0], own_value], 2)
        bias = causal_lower_right(own_query.shape[2], own_key.shape[2])
        out.append(scaled_dot_product_attention(own_query, own_key, own_value, attn_mask=bias, scale=scaling))
    return torch.cat(out, dim=2).transpose(1, 2)


def use_packed_attention(model: Any) -> bool:
    """Switch `model` to packed attention if it can be; return whether it was.

    It can where every layer attends to the whole past, without dropout, and packed rows come out of the model as they
    do alone. That is tried: some layers do not hand the lengths on.
    """
    config = model.config
    dropout = getattr(config.get_text_config(), "attention_dropout", 0.0)
    if config._attn_implementation != "sdpa" or dropout or not _all_full(config.get_text_config()):
        return False
    expected = _alone(model)
    AttentionInterface.register(ATTENTION, packed_attention)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    model.set_attn_implementation(ATTENTION)
    if config._attn_implementation == ATTENTION and _agrees(model, expected):
        return True
    model.set_attn_implementation("sdpa")
    return False


def _all_full(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    slides = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    return set(kinds) == {"full_attention"} and not slides


@torch.no_grad()
def _alone(model: Any) -> list[Tensor]:
    """Hidden states of the rows of the trial, each by itself."""
    device = model.get_input_embeddings().weight.device
    rows = [torch.tensor([[*TRIAL_START, *row]], device=device) for row in TRIAL_ROWS]
    return [model.base_model(input_ids=row, use_cache=False).last_hidden_state[0, len(TRIAL_START) :] for row in rows]


@torch.no_grad()
def _agrees(model: Any, expected: Sequence[Tensor]) -> bool:
    """True if the same rows, packed, have the same hidden states."""
    device, start = expected[0].device, len(TRIAL_START)
    ids = [*TRIAL_START, *(token for row in TRIAL_ROWS for token in row)]
    places = [*range(start), *(start + place for row in TRIAL_ROWS for place in range(len(row)))]
    try:
        found = model.base_model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([places], device=device),
            packed_lengths=[start, *map(len, TRIAL_ROWS)],
            use_cache=False,
        ).last_hidden_state[0, start:]
    except (TypeError, ValueError):  # the lengths, or the positions, are no argument of this model
        return False
    whole = torch.cat(list(expected))
    bound = (1e-3 if whole.dtype in (torch.float32, torch.float64) else 5e-2) * whole.abs().max()
    return bool(((found - whole).abs() <= bound).all())


def _no_mask(*_: Any, **__: Any) -> None:
    return None

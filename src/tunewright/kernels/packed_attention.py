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

ATTENTION = "tunewright_packed"


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float,
    packed_lengths: Sequence[int] = (),
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
        packed_lengths: tokens of the shared start (0 if there is none), then of each row; they sum to N. If empty,
            all is one row.

    Returns:
        `(1, N, H, D)`, and no weights.

    Raises:
        ValueError: a padded batch of several rows.
    """
    if query.shape[0] != 1:
        raise ValueError(f"packed attention takes one long row, not a batch of {query.shape[0]}")
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (t.repeat_interleave(shared, dim=1) for t in (key, value))
    start, *rows = packed_lengths or (0, query.shape[2])
    queries, keys, values = (torch.split(t, [start, *rows], dim=2) for t in (query, key, value))
    out = [scaled_dot_product_attention(queries[0], keys[0], values[0], scale=scaling, is_causal=True)] if start else []
    for own_query, own_key, own_value in zip(queries[1:], keys[1:], values[1:], strict=True):
        if start:
            own_key, own_value = torch.cat([keys[0], own_key], 2), torch.cat([values[0], own_value], 2)
        bias = causal_lower_right(own_query.shape[2], own_key.shape[2])
        out.append(scaled_dot_product_attention(own_query, own_key, own_value, attn_mask=bias, scale=scaling))
    return torch.cat(out, dim=2).transpose(1, 2), None


def use_packed_attention(model: Any) -> bool:
    """Switch `model` to packed attention if it can be; return whether it was.

    It can where every layer attends to the whole past with transformers' SDPA: no sliding window, no recurrent state.
    """
    config = model.config
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    if config._attn_implementation != "sdpa" or set(kinds) != {"full_attention"} or _slides(config):
        return False
    AttentionInterface.register(ATTENTION, packed_attention)
    AttentionMaskInterface.register(ATTENTION, _no_mask)
    model.set_attn_implementation(ATTENTION)
    return True


def _slides(config: Any) -> bool:
    uses = getattr(config, "use_sliding_window", True)
    return bool(uses and getattr(config, "sliding_window", None))


def _no_mask(*_: Any, **__: Any) -> None:
    return None

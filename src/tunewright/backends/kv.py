"""A key-value cache for generating many rows at once. Legend: B rows, K key-value heads, T positions, D head size.

transformers' `DynamicCache` copies everything it holds at every step, and its attention copies keys and values once for
each query head that shares them. At 50 rows of 300 tokens that is more work than the matrix products. So these layers
keep room to grow, and `grouped_attention` lets the query heads of a group read the same keys in place. It is registered
under a name of its own through transformers' public attention interface; nobody else's attention changes.

Models whose cache is not made of plain growing layers (sliding windows, recurrent states) keep transformers' own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ATTENTION = "tunewright_grouped"
ROOM_TOKENS = 128  # a growing copy costs a whole step; answers are seldom longer than this


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """One layer's keys and values `(B, K, T, D)`: views of the filled part of larger buffers."""

    _room: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append `(B, K, t, D)` in place; return all keys and values as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if self._room is None or self._room[0].shape[2] < end:
            self._room = self._grown(key_states, start, end)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start:end] = new
        self.keys, self.values = (room[:, :, :end] for room in self._room)
        return self.keys, self.values

    def _grown(self, like: Tensor, start: int, end: int) -> tuple[Tensor, Tensor]:
        rows, heads, _, size = like.shape
        keys, values = (like.new_empty(rows, heads, end + ROOM_TOKENS, size) for _ in range(2))
        if start:
            keys[:, :, :start], values[:, :, :start] = self.keys, self.values
        return keys, values

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Let `repeats` rows begin with this single row; copied only when they are written to."""
        self.keys, self.values = (t.expand(repeats, -1, -1, -1) for t in (self.keys, self.values))
        self._room = None

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows: finished ones leave."""
        if self._room is not None:
            self._room = (self._room[0][indices], self._room[1][indices])
            end = self.get_seq_length()
            self.keys, self.values = (room[:, :, :end] for room in self._room)


def new_cache(model: Any) -> Cache:
    """Return an empty cache for `model`: roomy where its layers are plain, transformers' own elsewhere."""
    own = DynamicCache(config=model.config)
    plain = bool(own.layers) and all(type(layer) is DynamicLayer for layer in own.layers)
    return Cache(layers=[RoomyLayer() for _ in own.layers]) if plain else own


def grouped_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    """Scaled dot-product attention that never copies shared keys when one token is generated.

    Args:
        module: the attention layer; unused.
        query: `(B, H, t, D)`, H a multiple of K.
        key: `(B, K, T, D)`.
        value: `(B, K, T, D)`.
        attention_mask: `(B, 1, t, T)`, boolean or additive, or None for causal.
        scaling: factor of the scores.

    Returns:
        `(B, t, H, D)`, and no weights.
    """
    rows, heads, steps, size = query.shape
    shared = heads // key.shape[1]
    attend = torch.nn.functional.scaled_dot_product_attention
    if steps == 1 and shared > 1:
        grouped = query.reshape(rows, key.shape[1], shared, size)  # heads of a group stand next to each other
        out = attend(grouped, key, value, attn_mask=attention_mask, scale=scaling)
        return out.reshape(rows, 1, heads, size), None
    if shared > 1:
        key, value = (t.repeat_interleave(shared, dim=1) for t in (key, value))
    causal = attention_mask is None and steps > 1
    out = attend(query, key, value, attn_mask=attention_mask, scale=scaling, is_causal=causal)
    return out.transpose(1, 2), None


def use_grouped_attention(model: Any) -> None:
    """Switch `model` from transformers' SDPA attention to `grouped_attention`; other kinds are left alone."""
    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(ATTENTION, grouped_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)

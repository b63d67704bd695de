"""Keys and values for generating many rows at once. Legend: B rows, K key-value heads, T positions, D head size.

transformers' `DynamicCache` copies everything it holds at every step, and its attention copies keys and values once for
each query head that shares them. At 50 rows of 300 tokens that is more work than the matrix products. So these layers
keep room to grow, the query heads of a group read the same keys in place, and what all prompts begin with is held once
and not once a row. `grouped_attention` is registered under a name of its own through transformers' public attention
interface; nobody else's attention changes.

Models whose cache is not made of plain growing layers (sliding windows, recurrent states) keep transformers' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from tunewright.kernels.causal_rows import WHOLE_TILES

ATTENTION = "tunewright_grouped"
KeyValue = tuple[Tensor, Tensor]
ROOM_TOKENS = 128  # a growing copy costs a whole step; answers are seldom longer than this


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
    """One layer's keys and values `(B, K, T, D)`: views of the filled part of larger buffers."""

    _room: KeyValue | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append `(B, K, t, D)` in place; return all keys and values as views."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        end = start + key_states.shape[2]
        if self._room is None or self._room[0].shape[2] < end:
            self._room = self._grown(key_states, value_states, start, end)
        for room, new in zip(self._room, (key_states, value_states), strict=True):
            room[:, :, start:end] = new
        self.keys, self.values = (room[:, :, :end] for room in self._room)
        return self.keys, self.values

    def _grown(self, key_states: Tensor, value_states: Tensor, start: int, end: int) -> KeyValue:
        keys, values = (
            like.new_empty(*like.shape[:2], end + ROOM_TOKENS, like.shape[3]) for like in (key_states, value_states)
        )
        if start:
            keys[:, :, :start], values[:, :, :start] = self.keys, self.values
        return keys, values

    def move(self, source: Tensor, target: Tensor, rows: int) -> None:
        """Copy rows `source` over rows `target` and keep the first `rows`: no other row is copied."""
        assert self._room is not None
        end = self.get_seq_length()
        for room in self._room:
            room[target, :, :end] = room[source, :, :end]
        self._room = (self._room[0][:rows], self._room[1][:rows])
        self.keys, self.values = (room[:, :, :end] for room in self._room)

    def drop(self) -> None:
        """Let go of what is held."""
        self._room = None
        self.keys = self.values = self.keys.new_empty(0)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Take these rows, in this order."""
        if self._room is not None:
            self._room = (self._room[0][beam_idx], self._room[1][beam_idx])
            end = self.get_seq_length()
            self.keys, self.values = (room[:, :, :end] for room in self._room)


def is_plain(model: Any) -> bool:
    """True if every layer of the model's cache just grows and holds what its attention, transformers' SDPA, reads."""
    layers = DynamicCache(config=model.config).layers
    plain = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
    latent = getattr(model.config.get_text_config(), "kv_lora_rank", None)  # the cache holds what keys are made of
    return plain and not latent and model.config._attn_implementation in ("sdpa", ATTENTION)


def new_cache(model: Any, plain: bool) -> Cache:
    """Return an empty cache for `model`: roomy where it `is_plain`, transformers' own elsewhere."""
    own = DynamicCache(config=model.config)
    return Cache(layers=[RoomyLayer() for _ in own.layers]) if plain else own


def joined(caches: Sequence[Cache]) -> Cache:
    """Return one roomy cache with the rows of all, padded on the left; the parts are emptied on the way."""
    if len(caches) == 1:
        return caches[0]
    return Cache(layers=[_joined_layers(layers) for layers in zip(*(cache.layers for cache in caches), strict=True)])


def _joined_layers(parts: Sequence[RoomyLayer]) -> RoomyLayer:
    layer = RoomyLayer()
    layer.lazy_initialization(parts[0].keys, parts[0].values)
    rows, end = sum(len(part.keys) for part in parts), max(part.keys.shape[2] for part in parts)
    room = [
        like.new_zeros(rows, like.shape[1], end + ROOM_TOKENS, like.shape[3])
        for like in (parts[0].keys, parts[0].values)
    ]
    at = 0
    for part in parts:
        for whole, own in zip(room, (part.keys, part.values), strict=True):
            whole[at : at + len(own), :, end - own.shape[2] : end] = own
        at += len(part.keys)
        part.drop()
    layer._room = (room[0], room[1])
    layer.keys, layer.values = (whole[:, :, :end] for whole in room)
    return layer


def keep_rows(cache: Cache, kept: Sequence[int]) -> list[int]:
    """Keep only these rows, moving as few as can be; return which row stands in each place now.

    Args:
        cache: roomy, or of transformers' own.
        kept: places of rows, ascending.
    """
    rows = len(kept)
    order = list(range(rows))
    gaps = sorted(set(order) - set(kept))
    movers = [place for place in kept if place >= rows]
    for gap, mover in zip(gaps, movers, strict=True):
        order[gap] = mover
    source, target = torch.tensor(movers, dtype=torch.long), torch.tensor(gaps, dtype=torch.long)
    for layer in cache.layers:
        if isinstance(layer, RoomyLayer):
            layer.move(source.to(layer.keys.device), target.to(layer.keys.device), rows)
        else:
            layer.reorder_cache(torch.tensor(order))
    return order


def put_before(cache: Cache, start: Sequence[KeyValue]) -> None:
    """Put a shared start, `(1, K, P, D)` a layer, before what every row of a roomy cache holds."""
    for layer, (keys, values) in zip(cache.layers, start, strict=True):
        rows = len(layer.keys)
        before = RoomyLayer()
        before.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))
        before.update(layer.keys, layer.values)
        layer._room, layer.keys, layer.values = before._room, before.keys, before.values


def start_of(cache: Cache) -> list[KeyValue]:
    """Return the keys and values `(1, K, P, D)` of a cache of one row, a pair a layer."""
    return [(layer.keys, layer.values) for layer in cache.layers]


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    shared_start: Sequence[KeyValue] | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention that copies no shared keys when one token is generated.

    Args:
        module: the attention layer; its `layer_idx` picks from `shared_start`.
        query: `(B, H, t, D)`, H a multiple of K.
        key: `(B, K, T, D)`.
        value: `(B, K, T, D)`.
        attention_mask: `(B, 1, t, T)`, boolean, or None for causal.
        scaling: factor of the scores.
        shared_start: keys and values that stand before those of every row, `(1, K, P, D)` a layer; or None.

    Returns:
        `(B, t, H, D)`, and no weights.
    """
    heads, steps = query.shape[1:3]
    start = None if shared_start is None else shared_start[module.layer_idx]
    if steps == 1 and start is not None:
        return _one_token(query, key, value, attention_mask, scaling, start), None
    if steps == 1 and heads > key.shape[1]:
        grouped = query.reshape(len(query), key.shape[1], -1, query.shape[3])  # heads of a group stand together
        out = scaled_dot_product_attention(grouped, key, value, attn_mask=attention_mask, scale=scaling)
        return out.reshape(len(query), 1, heads, -1), None
    if start is not None:
        key, value = (
            torch.cat([one.expand(len(own), -1, -1, -1), own], 2) for one, own in zip(start, (key, value), strict=True)
        )
        attention_mask = _with_start(attention_mask, steps, key.shape[2], key.device)
    causal = attention_mask is None and steps > 1
    in_tiles = steps > 1 and query.device.type == "cpu" and query.dtype == torch.bfloat16  # float32 gains nothing
    if in_tiles and (missing := -key.shape[2] % WHOLE_TILES):
        behind = (0, 0, 0, missing)  # keys that no query sees
        key, value = pad(key, behind), pad(value, behind)
        if attention_mask is None:
            query = pad(query, behind)
        else:
            attention_mask = pad(attention_mask, (0, missing), value=False)
    if heads > key.shape[1]:
        key, value = (t.repeat_interleave(heads // key.shape[1], dim=1) for t in (key, value))
    out = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask, scale=scaling, is_causal=causal)
    return out[:, :, :steps].transpose(1, 2), None


def _one_token(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, start: KeyValue
) -> Tensor:
    """One new token a row: the shared start is read once for all rows, as one product. Returns `(B, 1, H, D)`."""
    rows, heads, _, size = query.shape
    kinds, group, width = key.shape[1], heads // key.shape[1], value.shape[3]
    grouped = query.reshape(rows, kinds, group, size) * scaling
    by_kind = grouped.transpose(0, 1).reshape(kinds, rows * group, size)
    to_start = (by_kind @ start[0][0].transpose(1, 2)).view(kinds, rows, group, -1).transpose(0, 1)
    to_own = grouped @ key.transpose(2, 3)
    if mask is not None:
        to_own = to_own.masked_fill(~mask, -torch.inf)
    weights = torch.cat([to_start, to_own], dim=-1).softmax(-1, dtype=torch.float32).to(value.dtype)
    length = to_start.shape[-1]
    on_start = weights[..., :length].transpose(0, 1).reshape(kinds, rows * group, length) @ start[1][0]
    out = weights[..., length:] @ value + on_start.view(kinds, rows, group, width).transpose(0, 1)
    return out.reshape(rows, 1, heads, width)


def _with_start(mask: Tensor | None, steps: int, length: int, device: torch.device) -> Tensor:
    """Return the mask `(B or 1, 1, t, P + T)`: the whole start is seen, and of the row what was seen before."""
    own = steps if mask is None else mask.shape[-1]
    if mask is None:
        mask = torch.ones(steps, own, dtype=torch.bool, device=device).tril()[None, None]
    return torch.cat([mask.new_ones(*mask.shape[:-1], length - own), mask], dim=-1)


def use_grouped_attention(model: Any) -> bool:
    """Switch `model` to `grouped_attention` if it `is_plain`; return whether it was.

    Whether a shared start reaches the attention is tried on a few tokens: some models do not hand arguments on.
    """
    if not is_plain(model):
        return False
    AttentionInterface.register(ATTENTION, grouped_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)
    if model.config._attn_implementation == ATTENTION and _start_arrives(model):
        return True
    model.set_attn_implementation("sdpa")
    return False


@torch.inference_mode()
def _start_arrives(model: Any) -> bool:
    """True if a token after a shared start that is held apart has the logits that it has after the whole text."""
    ids = torch.tensor([[5, 6, 7, 8]], device=model.device)  # tokens that every vocabulary has
    expected = model(input_ids=ids, use_cache=False).logits[0, -1].float()
    cache = new_cache(model, plain=True)
    model(input_ids=ids[:, :3], past_key_values=cache, use_cache=True)
    found = (
        model(
            input_ids=ids[:, 3:],
            attention_mask=torch.ones_like(ids[:, 3:]),
            position_ids=torch.tensor([[3]], device=model.device),
            past_key_values=new_cache(model, plain=True),
            use_cache=True,
            shared_start=start_of(cache),
        )
        .logits[0, -1]
        .float()
    )
    bound = (1e-3 if model.dtype == torch.float32 else 5e-2) * expected.abs().max()
    return bool(((found - expected).abs() <= bound).all())

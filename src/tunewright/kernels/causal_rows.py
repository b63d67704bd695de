"""Causal attention of packed rows on a CPU in bfloat16. Legend: H heads, K key-value heads, G = H / K, N packed tokens,
n queries, m keys, D head size.

Torch's own backward pass of attention takes four times as long as its forward pass there, and longer than in float32.
Here it is five matrix products a row, or of as many of its queries as `MOST_SCORES` allows: scores and probabilities
are float32, as in torch's kernel, and what multiplies keys, values and queries is rounded to bfloat16. The forward pass
is torch's flash kernel. `benchmarks/bfloat16_cpu.py` holds both against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tunewright.models.precision import cpu_has_bfloat16

MOST_SCORES = 1 << 22
"""at a time; as float32 16 MiB"""
MOST_KEYS = 512
"""a row's, with the shared start before it; torch is as fast there, and faster beyond"""
WHOLE_TILES = 16
"""torch's forward kernel takes twice as long and more for lengths that are no multiple of it"""


def fits_causal_rows(query: Tensor, value: Tensor, lengths: Sequence[int]) -> bool:
    """True where `causal_rows` is right and faster than torch: on a CPU that multiplies bfloat16, for shorter rows.

    Args:
        query: `(…, D)`.
        value: as wide as queries.
        lengths: as for `causal_rows`.
    """
    right = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.shape[-1] == value.shape[-1]
    return right and lengths[0] + max(lengths[1:], default=0) <= MOST_KEYS and cpu_has_bfloat16()


def causal_rows(q_HND: Tensor, k_KND: Tensor, v_KND: Tensor, lengths: Sequence[int], scale: float) -> Tensor:
    """Let each packed row attend, causally, to the shared start and to itself; on a CPU.

    Args:
        q_HND: `(H, N, D)`, H a multiple of K.
        k_KND: `(K, N, D)`.
        v_KND: `(K, N, D)`.
        lengths: tokens of the shared start (0 if there is none), then of each row; they sum to N.
        scale: factor of the scores.

    Returns:
        `(N, H, D)`.
    """
    out: Tensor = _CausalRows.apply(q_HND, k_KND, v_KND, tuple(lengths), scale)  # type: ignore[no-untyped-call]
    return out


class _Row(NamedTuple):
    """A packed row, or the shared start itself."""

    own: slice
    start: int
    """tokens of the shared start before it"""

    def keys(self, t: Tensor) -> Tensor:
        """Return what it attends to, of (heads, N, D)."""
        return torch.cat([t[:, : self.start], t[:, self.own]], dim=1) if self.start else t[:, self.own]

    def whole_tiles(self, t: Tensor) -> Tensor:
        """Return what it attends to, of (heads, N, D), and behind it zeros, which no causal query sees."""
        length = self.start + self.own.stop - self.own.start
        zeros = t.new_zeros(len(t), -length % WHOLE_TILES, t.shape[2])
        return torch.cat([t[:, : self.start], t[:, self.own], zeros], dim=1)

    def add_to(self, total: Tensor, part: Tensor) -> None:
        """Add gradients of its first keys to those of all, (heads, N, D)."""
        total[:, : self.start] += part[:, : self.start]
        total[:, self.own.start : self.own.start + part.shape[1] - self.start] += part[:, self.start :]


def _rows(lengths: Sequence[int]) -> Iterator[_Row]:
    start, *rows = lengths
    if start:
        yield _Row(slice(0, start), 0)
    begin = start
    for length in rows:
        yield _Row(slice(begin, begin + length), start)
        begin += length


class _CausalRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, lengths: tuple[int, ...], scale: float) -> Tensor:
        heads, num_tokens, size = q.shape
        flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        out_NHD, log_sum_HN = q.new_empty(num_tokens, heads, size), q.new_empty(heads, num_tokens, dtype=torch.float32)
        keys, values = (t.repeat_interleave(heads // len(t), dim=0) for t in (k, v))
        for row in _rows(lengths):
            # queries of the start are computed again, so that the kernel's own causal mask fits
            out, log_sum = flash(*(row.whole_tiles(t)[None] for t in (q, keys, values)), 0.0, True, scale=scale)
            end = row.start + row.own.stop - row.own.start
            out_NHD[row.own] = out[0, :, row.start : end].transpose(0, 1)
            log_sum_HN[:, row.own] = log_sum[0, :, row.start : end]
        ctx.save_for_backward(q, k, v, out_NHD, log_sum_HN)
        ctx.lengths, ctx.scale = lengths, scale
        return out_NHD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_NHD: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out_NHD, log_sum_HN = ctx.saved_tensors
        saved = _Saved(q, grad_NHD.transpose(0, 1), log_sum_HN, (grad_NHD.float() * out_NHD.float()).sum(-1).T)
        grad_q = torch.empty_like(q, memory_format=torch.contiguous_format)
        grad_k, grad_v = (torch.zeros(t.shape, dtype=torch.float32) for t in (k, v))
        for row in _rows(ctx.lengths):
            keys, values = row.keys(k), row.keys(v)
            keys_f, values_f = (keys.float() * ctx.scale).mT, values.float().mT
            step = max(1, MOST_SCORES // (len(q) * keys.shape[1]))
            for begin in range(row.own.start, row.own.stop, step):
                block = slice(begin, min(begin + step, row.own.stop))
                seen = row.start + block.stop - row.own.start
                part = saved.gradients(block, keys[:, :seen], keys_f[..., :seen], values_f[..., :seen])
                grad_q[:, block] = part[0]
                row.add_to(grad_k, part[1])
                row.add_to(grad_v, part[2])
        return grad_q.mul_(ctx.scale), grad_k.mul_(ctx.scale).to(k.dtype), grad_v.to(v.dtype), None, None


class _Saved(NamedTuple):
    """Of all tokens: what the backward pass needs."""

    q_HND: Tensor
    grad_HND: Tensor
    log_sum_HN: Tensor
    delta_HN: Tensor
    """grad . out, which is sum p dp"""

    def gradients(self, block: slice, keys: Tensor, keys_f: Tensor, values_f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return those of the block's queries (H, n, D), and what they give to the keys and values (K, m, D) they see.

        Without the scale. Args: keys `(K, m, D)`; as float32, turned, and the keys scaled, `(K, D, m)`.
        """
        num_heads, num_keys, size = keys.shape
        queries = block.stop - block.start

        def grouped(t: Tensor) -> Tensor:
            return t[:, block].reshape(num_heads, -1, *t.shape[2:])

        q, grad = grouped(self.q_HND), grouped(self.grad_HND)
        p = torch.bmm(q.float(), keys_f).sub_(grouped(self.log_sum_HN)[..., None]).exp_()
        p.view(num_heads, -1, queries, num_keys).tril_(num_keys - queries)
        ds = torch.bmm(grad.float(), values_f).sub_(grouped(self.delta_HN)[..., None]).mul_(p).to(q.dtype)
        p = p.to(q.dtype)
        return torch.bmm(ds, keys).view(-1, queries, size), torch.bmm(ds.mT, q), torch.bmm(p.mT, grad)

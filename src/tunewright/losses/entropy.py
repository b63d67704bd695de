"""What a row of logits says beside its loss: entropy, the label's probability, sum p^2, top-1. The reference.

All of it is taken from shifted logits u = z - max(z), in float32 (float64 of float64 logits), without the largest word
in the sum:

    rest = sum of exp(u) over all words but the likeliest     s = 1 + rest     t = sum exp(u) * u
    nll = log1p(rest) - u_label                               H = log1p(rest) - t / s

Both terms of H are >= 0, so it is never negative and nothing cancels; and as `rest` never meets the 1, small entropies
keep their digits too (at H = 3e-4, V = 152k: relative error 2e-7 in float32, against 2e-3 with the plain sum).
Autograd differentiates everything here. Legend: N rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tunewright.losses.selection import exact_threshold

IGNORED = -100  # the label that every loss of the field skips
# exp(-1e4) is 0 in float64 too: clamping u there changes no sum, but turns 0 * -inf (a masked word) into 0.
LOWEST_SHIFT = -1e4
CHUNK_ROWS = 256


@dataclass(frozen=True)
class TokenStats:
    """What weights and metrics are made of, one number a token: tensors of one shape, usually [N].

    Attributes:
        nll: -log p of the label, nats, >= 0; 0 for an ignored label.
        entropy: H of the next-token distribution, nats, in [0, ln V]; 0 for an ignored label.
        sum_sq: sum of p^2 over the vocabulary, the chance that two draws agree, in (0, 1].
        correct: bool, True where the label is the likeliest word.
        vocab_size: V.
        top20_entropy: entropy of the renormalised 20 likeliest words, nats; None unless asked for (`eaft_compat`).
        valid: bool, False for ignored labels; None where all count.
    """

    nll: Tensor
    entropy: Tensor
    sum_sq: Tensor
    correct: Tensor
    vocab_size: int
    top20_entropy: Tensor | None = None
    valid: Tensor | None = None

    @property
    def p(self) -> Tensor:
        """Probability of the label, in [0, 1]."""
        return (-self.nll).exp()

    @property
    def normalized_entropy(self) -> Tensor:
        """Hn = H / ln V, in [0, 1]."""
        return (self.entropy / math.log(max(self.vocab_size, 2))).clamp(0, 1)

    @property
    def num_tokens(self) -> Tensor | int:
        """How many tokens count; a tensor where `valid` decides, so that nothing waits for the device."""
        return self.nll.numel() if self.valid is None else self.valid.sum()

    def detach(self) -> TokenStats:
        """Return the same numbers without their history."""
        return self._map(lambda column: column.detach())

    def rows(self, rows: slice | Tensor) -> TokenStats:
        """Return the statistics of some tokens: a slice, an index or a mask."""
        return self._map(lambda column: column[rows])

    def _map(self, change: Callable[[Tensor], Tensor]) -> TokenStats:
        columns = ((field.name, getattr(self, field.name)) for field in fields(self))
        changed: dict[str, Any] = {name: change(column) for name, column in columns if isinstance(column, Tensor)}
        return replace(self, **changed)


def token_entropy(logits: Tensor) -> Tensor:
    """Return the entropy of softmax(logits) over the last axis.

    Args:
        logits: [..., V], any floating type. `-inf` is a word that cannot come; a NaN makes its row NaN.

    Returns:
        float32 [...] (float64 of float64 logits), nats, in [0, ln V]. Error below 1e-5 in float32, at any offset.
    """
    return _walk(logits).entropy


def token_entropy_from_hidden(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    temperature: float = 1.0,
    chunk_rows: int = CHUNK_ROWS,
) -> Tensor:
    """Return the entropy of the head's distribution, `chunk_rows` rows of logits at a time.

    z = softcap(logit_scale * (hidden @ weight.T + bias)) / temperature. The product runs in the type of `hidden`:
    bfloat16 logits are good to about 0.01 nats. Where gradients are wanted, autograd keeps the logits of all chunks.

    Args:
        hidden: [..., H].
        weight: [V, H].
        bias: [V] or None.
        softcap: c of c * tanh(x / c) (Gemma-2, arXiv:2408.00118), or None.
        logit_scale: factor on the logits.
        temperature: > 0.
        chunk_rows: rows of [rows, V] logits held at once.

    Returns:
        float32 [...], nats, in [0, ln V].
    """
    chunks: list[Tensor] = []
    for rows in torch.split(hidden.reshape(-1, hidden.shape[-1]), chunk_rows):
        logits = torch.nn.functional.linear(rows, weight, bias)
        chunks.append(token_entropy(_transformed(logits, softcap, logit_scale, temperature)))
    return torch.cat(chunks).reshape(hidden.shape[:-1])


def token_stats(
    logits_NV: Tensor, labels_N: Tensor, *, ignore_index: int = IGNORED, top_k_entropy: int | None = None
) -> TokenStats:
    """Return entropy, nll and what else weights are made of, of each row.

    Args:
        logits_NV: [N, V] (or [..., V]), any floating type.
        labels_N: int64 [N] (or [...]); rows labelled `ignore_index` get zeros and `valid=False`.
        ignore_index: the label that does not count.
        top_k_entropy: 20 for `TokenStats.top20_entropy`, or None. Costs a topk.
    """
    walk = _walk(logits_NV)
    valid_N = labels_N != ignore_index
    label_shift_N = walk.shift.gather(-1, labels_N.masked_fill(~valid_N, 0)[..., None])[..., 0]
    top_k = None if top_k_entropy is None else _top_k_entropy(logits_NV, top_k_entropy)

    def counted(column: Tensor) -> Tensor:
        return column.masked_fill(~valid_N, 0)

    return TokenStats(
        nll=counted(walk.log_sum - label_shift_N),
        entropy=counted(walk.entropy),
        sum_sq=counted(walk.sum_sq),
        correct=(walk.top == labels_N) & valid_N,
        vocab_size=logits_NV.shape[-1],
        top20_entropy=None if top_k is None else counted(top_k),
        valid=valid_N,
    )


def high_entropy_mask(
    entropy: Tensor, mask: Tensor | None = None, *, quantile: float = 0.8, threshold: float | None = None
) -> Tensor:
    """Return where the model was most in doubt: by default the fifth of the tokens with the highest entropy.

    These "forking" tokens carry most of what reinforcement learning teaches (arXiv:2506.01939). Tokens equal to the
    threshold are all in, so ties may take more than the share.

    Args:
        entropy: nats, any shape.
        mask: of the same shape, True or 1 for the tokens that count; None for all.
        quantile: in (0, 1); the tokens at or above it are taken.
        threshold: so many nats instead of a quantile.

    Returns:
        bool, shape of `entropy`; False where `mask` is.
    """
    cut = exact_threshold(entropy, mask, quantile).threshold if threshold is None else threshold
    high = entropy >= cut
    return high if mask is None else high & mask.bool()


# ── one row ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Walk(NamedTuple):
    """Sums over the rows of logits. `shift` is u [..., V]; the others are [...]."""

    shift: Tensor
    top: Tensor
    log_sum: Tensor
    entropy: Tensor
    sum_sq: Tensor


def _walk(logits: Tensor) -> _Walk:
    logits = logits.to(_statistics_dtype(logits))
    peak, top = logits.max(dim=-1, keepdim=True)
    shift = logits - peak
    exp = shift.exp()
    others = exp.scatter(-1, top, 0.0)
    rest, rest_sq = others.sum(-1), others.square().sum(-1)
    log_sum, total = rest.log1p(), 1 + rest
    mean_shift = (exp * shift.clamp(min=LOWEST_SHIFT)).sum(-1) / total
    return _Walk(shift, top[..., 0], log_sum, log_sum - mean_shift, (1 + rest_sq) / total.square())


def _statistics_dtype(tensor: Tensor) -> torch.dtype:
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _transformed(logits: Tensor, softcap: float | None, logit_scale: float, temperature: float) -> Tensor:
    logits = logits.to(_statistics_dtype(logits)) * logit_scale
    capped = logits if softcap is None else softcap * (logits / softcap).tanh()
    return capped / temperature


def _top_k_entropy(logits: Tensor, k: int) -> Tensor:
    """Entropy of the k likeliest words, renormalised: what the shipped EAFT losses call entropy."""
    best = logits.to(_statistics_dtype(logits)).topk(min(k, logits.shape[-1]), dim=-1).values
    return _walk(best).entropy

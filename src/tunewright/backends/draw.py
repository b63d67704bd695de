"""Draw the next token of every row. Legend: B rows, V words of the vocabulary.

Each row has a stream of random numbers of its own, made from (seed, row id), and one number a token. So what a row says
depends neither on its batch mates nor on its place in the batch. What is left is float noise: the matrix products of
another batch round otherwise, which moves a probability by about 1e-6 and so changes about one draw in a million.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tunewright.backends.protocol import Sampling

FIRST_LOOK = 128  # a nucleus is seldom larger, and sorting a whole vocabulary costs more than a small model's step


class Picker:
    """Picks the next tokens of a batch: greedily, or with one stream of random numbers a row.

    Args:
        ids: one id a row; the same id and seed give the same numbers.
        sampling: temperature, top_p and seed.
    """

    def __init__(self, ids: Sequence[str], sampling: Sampling):
        self.sampling = sampling
        self.streams = [_stream(sampling.seed, name) for name in ids] if sampling.temperature > 0 else []

    def pick(self, logits: Tensor, rows: Sequence[int]) -> Tensor:
        """Return the next token of every row, `(B,)`.

        Args:
            logits: `(B, V)`.
            rows: which row of the batch each line of `logits` is.
        """
        if not self.streams:
            best: Tensor = logits.argmax(-1)
            return best
        uniforms = torch.tensor([self.streams[row].random() for row in rows], dtype=torch.float64)
        return draw(logits, uniforms.to(logits.device), self.sampling.temperature, self.sampling.top_p)


def _stream(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16])))


def draw(logits: Tensor, uniforms: Tensor, temperature: float, top_p: float) -> Tensor:
    """Return one token a row by inverting the distribution function, words in the order of their ids.

    That order, and not the one by probability: there, rounding swaps words that are about equally likely.

    Args:
        logits: `(B, V)`.
        uniforms: `(B,)`, float64 in [0, 1).
        temperature: above 0.
        top_p: in (0, 1]; see `nucleus_floor`.
    """
    probs = torch.softmax(logits.float() / temperature, dim=-1)
    if top_p < 1:
        probs = probs.masked_fill(probs < nucleus_floor(probs, top_p), 0.0)
    reach = probs.cumsum(-1, dtype=torch.float64)
    wanted = uniforms[:, None] * reach[:, -1:]
    return torch.searchsorted(reach, wanted, right=True)[:, 0].clamp(max=logits.shape[1] - 1)


def nucleus_floor(probs: Tensor, top_p: float) -> Tensor:
    """Return the least probability in the nucleus of each row, `(B, 1)` (Holtzman et al. 2020, arXiv:1904.09751).

    The nucleus is the fewest likeliest words whose probabilities sum to at least `top_p`; words that are as likely as
    its last one belong to it too.
    """
    size = FIRST_LOOK
    while True:
        top = probs.topk(min(size, probs.shape[1])).values
        mass = top.cumsum(-1)
        if size >= probs.shape[1] or bool((mass[:, -1] >= top_p).all()):
            last = (mass < top_p).sum(-1, keepdim=True).clamp(max=top.shape[1] - 1)
            return top.gather(1, last)
        size *= 8

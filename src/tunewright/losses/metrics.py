"""What entropy does while a model trains, in sums that add up exactly over micro-batches, steps and devices.

Nothing here waits for the device until `result` is asked for. Entropies are in nats. Legend: N tokens.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from tunewright.losses.entropy import TokenStats
from tunewright.losses.histogram import HIGHEST_NATS, LOWEST_NATS, NUM_BINS, EntropyHistogram

NUM_LOG_BINS: Final = 64
# A token in conflict: the model had all but decided (e^0.5 = 1.6 words in the running), for another word. The bounds
# are fixed, so that shares of different steps can be compared; the weighting `conflict_mask` takes quantiles.
CONFLICT_ENTROPY: Final = 0.5
CONFLICT_P: Final = 0.1

_SUMS: Final = ("tokens", "entropy", "nll", "p", "correct", "weight", "weight_sq", "selected", "conflict")


def histogram_edges() -> list[float]:
    """Return the edges in nats of the 64 bins of `entropy_histogram`; the first also holds all that lies below it."""
    step = NUM_BINS // NUM_LOG_BINS
    return [float(edge) for edge in EntropyHistogram(LOWEST_NATS, HIGHEST_NATS).edges[::step]]


class EntropyMeter:
    """Adds up what is known of tokens, and tells their means, shares and distribution.

    Attributes:
        sums: float64 [9], in the order of `_SUMS` (float32 where the device has no float64).
        counts: [1 + 4096], tokens by log-spaced bins of entropy.
        nll_mass: [1 + 4096], nll by the same bins.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._histogram = EntropyHistogram()
        self.sums = torch.zeros(len(_SUMS), dtype=torch.float64)
        self.nll_mass = torch.zeros(1 + NUM_BINS, dtype=torch.float64)

    @property
    def counts(self) -> Tensor:
        """Tokens by bins of entropy."""
        return self._histogram.counts

    @torch.no_grad()
    def add(self, stats: TokenStats, weights: Tensor | None = None) -> None:
        """Count the tokens of `stats` whose label is not ignored. `weights` are raw or normalised; None for 1 each."""
        valid = torch.ones_like(stats.nll, dtype=torch.bool) if stats.valid is None else stats.valid
        weights = torch.ones_like(stats.nll) if weights is None else weights
        conflict = (stats.entropy < CONFLICT_ENTROPY) & (stats.p < CONFLICT_P)
        columns = (valid, stats.entropy, stats.nll, stats.p, stats.correct)
        weighed = (weights, weights.square(), weights != 0, conflict)
        self._histogram.add(stats.entropy, valid)
        bins = self._histogram.bins_of(stats.entropy, valid)
        dtype = self.counts.dtype
        rows = [column.flatten().to(dtype).masked_fill(~valid.flatten(), 0).sum() for column in (*columns, *weighed)]
        self.sums = self.sums.to(self.counts) + torch.stack(rows)
        mass = self.counts.new_zeros(2 + NUM_BINS).index_add_(0, bins, stats.nll.flatten().to(dtype))
        self.nll_mass = self.nll_mass.to(self.counts) + mass[:-1]

    def result(self, group: dist.ProcessGroup | None = None) -> dict[str, Any]:
        """Return the metrics of everything added since the last `reset`, on all processes of `group`.

        Where processes train together, every one must call it. One all-reduce, one wait for the device.

        Returns:
            tokens             how many counted
            entropy            mean H, nats
            nll, p, accuracy   mean -log p, mean p, and share of likeliest words, of the labels
            mean_weight        mean w
            effective_tokens   (sum w)^2 / sum w^2 (Kish): how many equal tokens the weights are worth
            selected_share     share with a weight that is not 0
            conflict_share     share with H < 0.5 and p < 0.1
            entropy_histogram  tokens in each of the 64 bins of `histogram_edges`
            nll_by_entropy_decile  share of all nll that falls on each tenth of the tokens, lowest H first

            All 0 where no token was added.
        """
        packed = torch.cat([self.sums.to(self.counts), self.counts, self.nll_mass.to(self.counts)])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(packed, group=group)
        sums, counts, mass = np.split(packed.double().cpu().numpy(), [len(_SUMS), len(_SUMS) + 1 + NUM_BINS])
        total = dict(zip(_SUMS, (float(value) for value in sums), strict=True))
        tokens = max(total["tokens"], 1.0)
        return {
            "tokens": int(total["tokens"]),
            "entropy": total["entropy"] / tokens,
            "nll": total["nll"] / tokens,
            "p": total["p"] / tokens,
            "accuracy": total["correct"] / tokens,
            "mean_weight": total["weight"] / tokens,
            "effective_tokens": total["weight"] ** 2 / total["weight_sq"] if total["weight_sq"] else 0.0,
            "selected_share": total["selected"] / tokens,
            "conflict_share": total["conflict"] / tokens,
            "entropy_histogram": _coarse(counts),
            "nll_by_entropy_decile": _decile_shares(counts, mass),
        }


def _coarse(counts: np.ndarray[Any, Any]) -> list[int]:
    bins = counts[1:].reshape(NUM_LOG_BINS, -1).sum(1)
    bins[0] += counts[0]
    return [int(count) for count in bins]


def _decile_shares(counts: np.ndarray[Any, Any], mass: np.ndarray[Any, Any]) -> list[float]:
    """Share of `mass` on each tenth of the tokens in order of entropy; a bin that a border cuts is split evenly."""
    seen = np.concatenate([[0.0], counts.cumsum()])
    mass_seen = np.concatenate([[0.0], mass.cumsum()])
    if not mass_seen[-1]:
        return [0.0] * 10
    at_borders = np.interp(np.linspace(0, seen[-1], 11), seen, mass_seen)
    return [float(share) for share in np.diff(at_borders) / mass_seen[-1]]

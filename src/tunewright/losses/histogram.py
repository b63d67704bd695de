"""Entropies counted in log-spaced bins: adds up over micro-batches, steps and devices, and finds quantiles.

A bin is 0.4% wide, so a threshold is wrong by that at most. Nothing here has a gradient.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

NUM_BINS = 4096
LOWEST_NATS = 1e-6
HIGHEST_NATS = 12.6  # ln of 297k words, above today's largest vocabularies; a bin is then 0.399% wide
NLL_RANGE = (1e-5, 100.0)  # surprise has no bound by the vocabulary; also 0.4% a bin
RANK_SLACK = 1e-9  # 0.8 * (n - 1) is a whole number now and then, and must stay one in floating point


class Cut(NamedTuple):
    """A threshold, and the share of the tokens that are at or above it (0 where there are none)."""

    threshold: Tensor
    share: Tensor


@cache
def _edges(lowest: float, highest: float, num_bins: int, device: torch.device) -> Tensor:
    edges = torch.logspace(math.log10(lowest), math.log10(highest), num_bins + 1, dtype=torch.float64)
    return edges.float().to(device)


class EntropyHistogram:
    """Counts of values in log-spaced bins, with one bin more for everything below the lowest edge.

    Histograms add up: over micro-batches, steps and devices. What lies above the highest edge counts in the last bin.

    Args:
        lowest: lowest edge, > 0.
        highest: highest edge.
        num_bins: bins between them. 4096 on [1e-6, 12.6] are 0.4% wide each.
        device: where the counts live; `add` moves them to its values.

    Attributes:
        counts: float64 [1 + num_bins] (float32 where the device has no float64).
    """

    def __init__(
        self,
        lowest: float = LOWEST_NATS,
        highest: float = HIGHEST_NATS,
        num_bins: int = NUM_BINS,
        device: torch.device | str = "cpu",
    ):
        self.lowest, self.highest, self.num_bins = lowest, highest, num_bins
        self.counts = torch.zeros(1 + num_bins, dtype=count_dtype(device), device=device)

    @property
    def edges(self) -> Tensor:
        """float32 [num_bins + 1], on the device of the counts. Bin i > 0 holds edges[i - 1] <= value < edges[i]."""
        return _edges(self.lowest, self.highest, self.num_bins, self.counts.device)

    def bins_of(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the bin of each value, int64 [n]; 1 + num_bins for what does not count and for NaN."""
        flat = values.detach().flatten().to(torch.float32).contiguous()
        self.counts = self.counts.to(flat.device, count_dtype(flat.device))
        bins = torch.bucketize(flat, self.edges, right=True).clamp(max=self.num_bins)
        left_out = flat.isnan() if mask is None else flat.isnan() | ~mask.flatten().bool()
        return bins.masked_fill(left_out, 1 + self.num_bins)

    def add(self, values: Tensor, mask: Tensor | None = None) -> EntropyHistogram:
        """Count `values` (any shape) where `mask` is True or 1; NaN is not counted. Returns itself."""
        bins = self.bins_of(values, mask)
        self.counts += torch.bincount(bins, minlength=2 + self.num_bins)[:-1]
        return self

    def merge(self, other: EntropyHistogram, decay: float = 1.0) -> EntropyHistogram:
        """Multiply the counts by `decay` and add those of `other`, which must have the same bins. Returns itself."""
        if (self.lowest, self.highest, self.num_bins) != (other.lowest, other.highest, other.num_bins):
            raise ValueError("histograms with different bins cannot be added")
        self.counts = self.counts.to(other.counts) * decay + other.counts
        return self

    def all_reduce(self, group: dist.ProcessGroup | None = None) -> EntropyHistogram:
        """Return the sum over the processes of `group`, a copy where there is one. Every process must call it."""
        total = EntropyHistogram(self.lowest, self.highest, self.num_bins)
        total.counts = self.counts.clone()
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(total.counts, group=group)
        return total

    def threshold(self, quantile: float) -> Cut:
        """Return the edge below the exact threshold of `exact_threshold`, and the share at or above it.

        It is lower by less than a bin, 0.4%, so at least as many values are taken; 0 where the exact one lies below the
        lowest edge; +inf where there are no values.
        """
        at_least = _cumsum(self.counts.flip(0)).flip(0)
        total = at_least[0]
        wanted = total - torch.ceil(quantile * (total - 1).clamp(min=0) - RANK_SLACK)
        bin_ = (at_least >= wanted).sum() - 1
        lower = torch.cat([self.edges.new_zeros(1), self.edges[:-1]])
        return Cut(torch.where(total > 0, lower[bin_], math.inf), at_least[bin_] / total.clamp(min=1))

    def low_threshold(self, quantile: float) -> Tensor:
        """Return the value at or below which lies the share `quantile`, to within a bin; -inf where there are none."""
        below = _cumsum(self.counts)
        wanted = torch.floor(quantile * (below[-1] - 1).clamp(min=0) + RANK_SLACK) + 1
        bin_ = (below < wanted).sum().clamp(max=self.num_bins)
        upper = torch.cat([self.edges[:-1], self.edges.new_full((1,), math.inf)])
        edge = torch.nextafter(upper[bin_], self.edges.new_zeros(()))  # at or below it: the whole bin, no more
        return torch.where(below[-1] > 0, edge, -math.inf)

    def mean(self) -> Tensor:
        """Return the mean value, to within 0.2%: each bin counts with its middle. 0 where there is nothing."""
        middles = torch.cat([self.edges.new_zeros(1), (self.edges[1:] * self.edges[:-1]).sqrt()])
        return ((self.counts * middles).sum() / self.counts.sum().clamp(min=1)).to(torch.float32)

    def reset(self) -> None:
        """Forget all counts."""
        self.counts = torch.zeros_like(self.counts)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and the bins, for a checkpoint."""
        bins = {"lowest": self.lowest, "highest": self.highest, "num_bins": self.num_bins}
        return {**bins, "counts": self.counts.cpu().clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""
        self.lowest, self.highest, self.num_bins = state["lowest"], state["highest"], state["num_bins"]
        self.counts = state["counts"].to(self.counts, copy=True)


def _cumsum(counts: Tensor) -> Tensor:
    if counts.is_cuda and torch.are_deterministic_algorithms_enabled():  # CUDA has no deterministic one of floats
        return counts.cpu().cumsum(0).to(counts.device)
    return counts.cumsum(0)


def count_dtype(device: torch.device | str) -> torch.dtype:
    """Return the type to count in: float64, and float32 on Apple's GPUs, which have no float64."""
    return torch.float32 if torch.device(device).type == "mps" else torch.float64

"""A head that is split over processes: by columns of the vocabulary for good (tensor parallelism), or at rest (FSDP2).

Tensor parallelism: every process walks its own columns with the row functions of `rows.py`; then the sums are brought
to the same maximum and added. One MAX of [N] and one SUM of [5, N] a chunk (Megatron and verl take three collectives).
With m the maximum of a shard, m' that of all, d = m - m' <= 0 and a = exp(d):

    s' = sum of a s        t' = sum of a (t + s d)        r' = sum of a^2 r        q' = sum of (q + columns * d)

z_y and `correct` come from the one shard that has the label: the others hold 0 there.

FSDP2: `gather` makes the weight whole once, before the chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from tunewright.kernels.rows import LOWEST_SHIFT, RowStats


@dataclass(frozen=True)
class VocabShard:
    """The columns of the vocabulary that this process holds.

    Attributes:
        group: the processes that hold the others.
        start: the first column here.
        width: how many are here.
        vocab_size: how many there are over all processes.
    """

    group: dist.ProcessGroup
    start: int
    width: int
    vocab_size: int

    def local_labels(self, labels_N: Tensor) -> Tensor:
        """[N] the labels as columns of this shard; -1 where the label stands in another."""
        here = (labels_N >= self.start) & (labels_N < self.start + self.width)
        return torch.where(here, labels_N - self.start, -1)

    def merge(self, stats: RowStats) -> RowStats:
        """Return the statistics over all shards, the same on every process. Two collectives."""
        max_N = stats.max.clone()
        dist.all_reduce(max_N, dist.ReduceOp.MAX, group=self.group)
        rebased = rebase(stats, max_N, self.width)
        packed = torch.stack([column for column in rebased[1:] if column is not None])
        dist.all_reduce(packed, group=self.group)
        return RowStats(max_N, *packed.unbind())

    def sum_hidden_gradient(self, grad: Tensor) -> dist.Work | None:
        """Start adding up dX over the shards in place, while dW is still being multiplied; wait for what it returns."""
        work: dist.Work | None = dist.all_reduce(grad, group=self.group, async_op=True)
        return work


def vocab_shard(group: dist.ProcessGroup, width: int, device: torch.device) -> VocabShard:
    """Return which columns this process holds, in the order of ranks. One small all-gather a group and width."""
    key = (id(group), width, device)
    if key not in _SHARDS:
        widths = torch.zeros(dist.get_world_size(group), dtype=torch.int64, device=device)
        widths[dist.get_rank(group)] = width
        dist.all_reduce(widths, group=group)
        all_widths = [int(w) for w in widths.tolist()]
        start = sum(all_widths[: dist.get_rank(group)])
        _SHARDS[key] = VocabShard(group, start, width, sum(all_widths))
    return _SHARDS[key]


# Holds its groups, so that no id is given to another group.
_SHARDS: dict[tuple[int, int, torch.device], VocabShard] = {}


def rebase(stats: RowStats, max_N: Tensor, num_columns: int) -> RowStats:
    """Return the sums of a shard as if its maximum were `max_N`, so that those of several shards add up.

    Args:
        stats: of the shard.
        max_N: [N], the maximum over all shards.
        num_columns: columns of the shard.
    """
    is_empty_N = stats.max == -torch.inf  # every word of the shard is masked: its sums are NaN and mean 0
    d_N = (stats.max - max_N).clamp(min=LOWEST_SHIFT)
    a_N = d_N.exp()
    sums = [a_N * stats.sum_exp, a_N * (stats.sum_shift + stats.sum_exp * d_N), a_N.square() * stats.sum_sq]
    sum_exp_N, sum_shift_N, sum_sq_N = (column.masked_fill(is_empty_N, 0) for column in sums)
    shift_N = None if stats.shift is None else stats.shift + num_columns * d_N
    correct_N = stats.correct * (stats.max == max_N)
    return RowStats(max_N, sum_exp_N, sum_shift_N, sum_sq_N, stats.target, correct_N, shift_N)


def is_distributed(tensor: Tensor) -> bool:
    """True for a DTensor; does not import what it is made of."""
    return hasattr(tensor, "full_tensor")


def gather(parameter: Tensor) -> Tensor:
    """Return a parameter of the head whole, and anything but a DTensor as it is.

    Gathered inside the loop over chunks it would travel once a chunk; as a DTensor it has crashed kernels
    (apple/ml-cross-entropy#31). A DTensor is taken for a parameter of FSDP2, whose processes see different rows: its
    gradient is averaged over its mesh and scattered again, as FSDP2 does it for all others.
    """
    if not is_distributed(parameter):
        return parameter
    from torch.distributed.tensor import DTensor, Partial

    assert isinstance(parameter, DTensor)
    return parameter.full_tensor(grad_placements=[Partial("avg")] * parameter.device_mesh.ndim)

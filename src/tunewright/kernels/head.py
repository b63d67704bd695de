"""The head, a chunk of rows at a time: logits into one reused buffer, their gradient over them, dX and dW out of that.

    statistics_pass    matmul, row_stats                                        2HV FLOP a row
    gradient_pass      matmul, (row_stats,) row_grad_, dX and dW                6HV; 4HV where the head is frozen

The three plans of `planner.py` are made of these two. What a row's loss weighs comes in by a function of the chunk, so
the passes know nothing of weightings. `[N, V]` is never there: one `[chunk, V]` buffer is (a fresh allocation a chunk
would cost as much time as the exp over it, in page faults), plus what is returned. Legend: N rows, C rows of a chunk,
H hidden size, V vocabulary (the columns of this process, where the vocabulary is split).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from tunewright.kernels.backends import RowKernels
from tunewright.kernels.parallel import VocabShard
from tunewright.kernels.planner import COMPACT_BELOW, Chunking
from tunewright.kernels.rows import LogitTransform, RowStats, row_coefficients, row_loss
from tunewright.losses.entropy import TokenStats
from tunewright.models.precision import cpu_has_bfloat16

STRIP_BYTES = 4 * 2**20  # of a product that is added to a longer type: it should not leave the cache in between


@dataclass(frozen=True)
class HeadSpec:
    """How a head is computed: everything but its weights.

    Attributes:
        transform: from the matmul's result to the logits of the softmax.
        kernels: the row functions.
        chunking: rows held at once.
        dtype: of the matmuls and of the buffer.
        label_smoothing: share of the loss that is taken of all words evenly, in [0, 1).
        z_loss: coefficient of log_sum_exp^2.
        shard: the columns that this process has; None for all.
        deterministic: refuse operations that may give other bits on the next run.
    """

    transform: LogitTransform
    kernels: RowKernels
    chunking: Chunking
    dtype: torch.dtype
    label_smoothing: float = 0.0
    z_loss: float = 0.0
    shard: VocabShard | None = None
    deterministic: bool = False


class RowScales(NamedTuple):
    """Upstream gradients of what a row gives, [N] each; None means 0. `loss` is the smoothed loss with its z-loss."""

    loss: Tensor
    nll: Tensor | None = None
    entropy: Tensor | None = None
    collision: Tensor | None = None

    def select(self, rows: Tensor | slice) -> RowScales:
        """Return those of some rows."""
        return RowScales._make(None if column is None else column[rows] for column in self)

    def counting_rows(self) -> Tensor:
        """Return the index of the rows that have a gradient at all. Waits for the device."""
        columns = [column for column in self if column is not None]
        return torch.stack(columns).ne(0).any(0).nonzero().squeeze(1)


# Given the rows of a chunk and its raw logits: the statistics of the rows, and the gradients of what they give.
Upstream = Callable[[slice, Tensor], tuple[RowStats, RowScales]]


class Head:
    """A spec with its weights, in the type of the matmuls, and with the buffer."""

    def __init__(self, spec: HeadSpec, weight_VH: Tensor, bias_V: Tensor | None):
        self.spec = spec
        self.weight_VH = weight_VH.detach().to(spec.dtype)
        self.bias_V = None if bias_V is None else bias_V.detach().to(spec.dtype)
        width = len(weight_VH)
        self.vocab_size = spec.shard.vocab_size if spec.shard else width
        self._buffer_CV = torch.empty(spec.chunking.chunk_rows, width, dtype=spec.dtype, device=weight_VH.device)

    def logits(self, hidden_CH: Tensor) -> Tensor:
        """Return the raw logits of a chunk: rows of the buffer, overwritten by the next call."""
        out_CV = self._buffer_CV[: len(hidden_CH)]
        if self.bias_V is None:
            return torch.mm(hidden_CH, self.weight_VH.T, out=out_CV)
        return torch.addmm(self.bias_V, hidden_CH, self.weight_VH.T, out=out_CV)

    def stats(self, logits_CV: Tensor, labels_C: Tensor) -> RowStats:
        """Return the statistics of raw logits, over the whole vocabulary."""
        spec = self.spec
        local = spec.kernels.row_stats(
            logits_CV, self._local(labels_C), spec.transform, with_shift=spec.label_smoothing > 0
        )
        return spec.shard.merge(local) if spec.shard else local

    def gradient_(self, logits_CV: Tensor, labels_C: Tensor, stats: RowStats, scales: RowScales) -> Tensor:
        """Overwrite raw logits with the gradient of sum(scales * outputs) and return them."""
        coefficients = row_coefficients(
            stats,
            self.vocab_size,
            loss_scale_N=scales.loss,
            nll_scale_N=scales.nll,
            entropy_scale_N=scales.entropy,
            collision_scale_N=scales.collision,
            label_smoothing=self.spec.label_smoothing,
            z_loss=self.spec.z_loss,
        )
        return self.spec.kernels.row_grad_(
            logits_CV, self._local(labels_C), stats.max, coefficients, self.spec.transform
        )

    def _local(self, labels_C: Tensor) -> Tensor:
        return self.spec.shard.local_labels(labels_C) if self.spec.shard else labels_C


class HeadGradients:
    """Sums up dX, dW and the bias's gradient over chunks; only those that are needed.

    Args:
        head: the head.
        num_rows: rows of dX.
        needs: for hidden, weight, bias: whether its gradient is wanted.
    """

    def __init__(self, head: Head, num_rows: int, needs: tuple[bool, bool, bool]):
        self._head, self._is_empty = head, True
        self._reductions: list[dist.Work | None] = []
        weight_VH, dtype = head.weight_VH, head.spec.dtype
        summed_in = torch.float32 if head.spec.chunking.accumulate_float32 else dtype
        self.hidden = weight_VH.new_empty(num_rows, weight_VH.shape[1]) if needs[0] else None
        self.weight = torch.empty_like(weight_VH, dtype=summed_in) if needs[1] else None
        self.bias = weight_VH.new_zeros(len(weight_VH), dtype=_at_least_float32(dtype)) if needs[2] else None

    def add(self, rows: slice, kept: Tensor | None, hidden_CH: Tensor, dlogits_CV: Tensor) -> None:
        """Take in one chunk. `rows` are its rows of dX; with `kept`, the given ones are only these of them."""
        if self.hidden is not None:
            self._add_hidden(self.hidden[rows], kept, dlogits_CV)
        if len(dlogits_CV) == 0:
            return
        if self.weight is not None:
            self._add_weight(self.weight, hidden_CH, dlogits_CV)
        if self.bias is not None:
            self.bias += dlogits_CV.sum(0, dtype=self.bias.dtype)
        self._is_empty = False

    def finish(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return (dX, dW, dbias) once all chunks are in."""
        if self._is_empty and self.weight is not None:
            self.weight.zero_()
        for work in self._reductions:
            if work is not None:
                work.wait()
        return self.hidden, self.weight, self.bias

    def _add_hidden(self, out_CH: Tensor, kept: Tensor | None, dlogits_CV: Tensor) -> None:
        if kept is None:
            torch.mm(dlogits_CV, self._head.weight_VH, out=out_CH)
        else:
            out_CH.zero_().index_copy_(0, kept, torch.mm(dlogits_CV, self._head.weight_VH))
        if self._head.spec.shard:
            self._reductions.append(self._head.spec.shard.sum_hidden_gradient(out_CH))

    def _add_weight(self, out_VH: Tensor, hidden_CH: Tensor, dlogits_CV: Tensor) -> None:
        beta = 0 if self._is_empty else 1  # with 0, addmm does not read what it adds to
        if out_VH.dtype == dlogits_CV.dtype:
            torch.addmm(out_VH, dlogits_CV.T, hidden_CH, beta=beta, out=out_VH)
        elif out_VH.is_cuda:
            torch.addmm(out_VH, dlogits_CV.T, hidden_CH, beta=beta, out_dtype=out_VH.dtype, out=out_VH)
        else:
            for strip in _strips(out_VH):
                product = torch.mm(dlogits_CV[:, strip].T, hidden_CH)
                out_VH[strip].add_(product) if beta else out_VH[strip].copy_(product)


def row_losses(spec: HeadSpec, stats: RowStats, vocab_size: int) -> Tensor:
    """[N] the loss of each row, smoothing and z-loss included, before any weight."""
    return row_loss(stats, vocab_size, label_smoothing=spec.label_smoothing, z_loss=spec.z_loss)


def as_tokens(stats: RowStats, vocab_size: int, top20: list[Tensor] | None = None) -> TokenStats:
    """Return what weightings know of rows; `top20` are the parts, chunk by chunk, of their top-20 entropy."""
    top20_entropy = None if top20 is None else torch.cat([stats.max[:0], *top20])
    return TokenStats(stats.nll, stats.entropy, stats.collision, stats.correct > 0, vocab_size, top20_entropy)


def statistics_pass(
    head: Head, hidden_NH: Tensor, labels_N: Tensor, observe: Callable[[slice, RowStats, Tensor], None] | None = None
) -> RowStats:
    """Return the statistics of all rows; `observe` is shown (rows, statistics, raw logits) of each chunk."""
    parts = []
    for rows in head.spec.chunking.chunks(len(hidden_NH)):
        logits_CV = head.logits(hidden_NH[rows])
        parts.append(head.stats(logits_CV, labels_N[rows]))
        if observe is not None:
            observe(rows, parts[-1], logits_CV)
    return concatenate(parts, head)


def gradient_pass(
    head: Head,
    hidden_NH: Tensor,
    labels_N: Tensor,
    upstream: Upstream,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return (dX, dW, dbias) of sum(scales * outputs of the rows).

    Args:
        head: the head.
        hidden_NH: in the type of the head.
        labels_N: int64, all of them words.
        upstream: says what comes back to the rows of a chunk; shown their raw logits, which it must leave as they are.
        needs: which of the three are wanted; the others are None.
    """
    gradients = HeadGradients(head, len(hidden_NH), needs)
    for rows in head.spec.chunking.chunks(len(hidden_NH)):
        hidden_CH, labels_C = hidden_NH[rows], labels_N[rows]
        logits_CV = head.logits(hidden_CH)
        stats, scales = upstream(rows, logits_CV)
        kept = _worth_compacting(scales)
        if kept is not None:
            logits_CV, hidden_CH, labels_C = _move_up_(logits_CV, kept), hidden_CH[kept], labels_C[kept]
            stats, scales = stats.select(kept), scales.select(kept)
        gradients.add(rows, kept, hidden_CH, head.gradient_(logits_CV, labels_C, stats, scales))
    return gradients.finish()


def concatenate(parts: list[RowStats], head: Head) -> RowStats:
    """Return the statistics of all chunks as one; of none, empty columns."""
    if not parts:
        labels = torch.empty(0, dtype=torch.int64, device=head.weight_VH.device)
        parts = [head.stats(head.logits(head.weight_VH[:0]), labels)]
    columns = zip(*parts, strict=True)
    return RowStats._make(None if column[0] is None else torch.cat(column) for column in columns)


def resolve_dtype(hidden: Tensor, wanted: torch.dtype | Literal["auto"] = "auto") -> torch.dtype:
    """Return the type of the matmuls: what is wanted, autocast's, or that of `hidden`; short types only in hardware."""
    device = hidden.device.type
    if wanted != "auto":
        return wanted
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    if device == "cpu" and dtype in (torch.bfloat16, torch.float16):  # float16 is emulated on every CPU
        return torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    return dtype


@contextlib.contextmanager
def exact_types(device_type: str, deterministic: bool) -> Iterator[None]:
    """Inside, autocast changes no type, and with `deterministic` every operation gives the same bits on each run."""
    before = torch.are_deterministic_algorithms_enabled()
    with torch.autocast(device_type, enabled=False):
        if deterministic and not before:
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            if deterministic and not before:
                torch.use_deterministic_algorithms(False)


def _worth_compacting(scales: RowScales) -> Tensor | None:
    """Return the rows that count, where that saves time. Not on CUDA: their number would have to be waited for."""
    if scales.loss.is_cuda:
        return None
    kept = scales.counting_rows()
    return kept if len(kept) < COMPACT_BELOW * len(scales.loss) else None


def _move_up_(logits_CV: Tensor, kept: Tensor) -> Tensor:
    """Move the kept rows to the front, in place: `kept` rises, so no row is overwritten before it has moved."""
    for to, source in enumerate(kept.tolist()):
        if to != source:
            logits_CV[to] = logits_CV[source]
    return logits_CV[: len(kept)]


def _strips(out_VH: Tensor) -> Iterator[slice]:
    size = max(STRIP_BYTES // (out_VH.shape[1] * out_VH.dtype.itemsize), 1)
    for start in range(0, len(out_VH), size):
        yield slice(start, min(start + size, len(out_VH)))


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.itemsize < 4 else dtype

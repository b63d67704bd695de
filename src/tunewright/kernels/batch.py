"""The rows of a call that count, and what each of them weighs.

Legend: N rows of the call, n of them count (their label is not `ignore_index`), C rows of a chunk, H hidden size.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tunewright.kernels.head import RowScales
from tunewright.losses.entropy import TokenStats
from tunewright.losses.selection import Thresholds
from tunewright.losses.weighting import normalizer, weight_tokens
from tunewright.recipe.sections import EntropyConfig

CHECK_LABELS = "TUNEWRIGHT_CHECK_LABELS"  # set to 1 to check labels that live on a GPU as well: the host waits for it
ALL = slice(None)


@dataclass(frozen=True)
class Batch:
    """The rows that count.

    Attributes:
        num_rows: N.
        rows: [n] where they stand; None where all N count.
        hidden: [n, H] in the type of the matmuls, with its history.
        labels: [n] int64.
        token_weights: [n] or None.
        external: [n] or None.
        sequence_ids: [n] or None.
    """

    num_rows: int
    rows: Tensor | None
    hidden: Tensor
    labels: Tensor
    token_weights: Tensor | None = None
    external: Tensor | None = None
    sequence_ids: Tensor | None = None

    @property
    def num_counted(self) -> int:
        """The number n."""
        return len(self.labels)

    def of_rows(self, thresholds: Thresholds | None) -> Thresholds | None:
        """Return thresholds of the rows that count, from those of all N."""
        return thresholds if thresholds is None or self.rows is None else thresholds.rows(self.rows)

    def spread(self, values_n: Tensor) -> Tensor:
        """[N] (or [N, k]) the values at their rows, 0 (False) at the ignored ones."""
        if self.rows is None:
            return values_n
        return values_n.new_zeros(self.num_rows, *values_n.shape[1:]).index_copy(0, self.rows, values_n)

    def spread_stats(self, stats: TokenStats) -> TokenStats:
        """[N] columns of [n] ones; `valid` tells which rows count, None that all do."""
        if self.rows is None:
            return stats
        top20 = None if stats.top20_entropy is None else self.spread(stats.top20_entropy)
        nll, entropy, sum_sq, correct = map(self.spread, (stats.nll, stats.entropy, stats.sum_sq, stats.correct))
        valid = self.spread(torch.ones_like(stats.correct))
        return TokenStats(nll, entropy, sum_sq, correct, stats.vocab_size, top20, valid)


def pick_rows(
    hidden_NH: Tensor, labels_N: Tensor, rows: Tensor | None, dtype: torch.dtype, **columns: Tensor | None
) -> Batch:
    """Return the batch of `rows` (from `counting_rows`), everything on the device of `hidden_NH`.

    Args:
        hidden_NH: [N, H]; autograd sees the selection and the cast.
        labels_N: int64 [N], there or on the CPU.
        rows: [n] on the device of `labels_N`, or None for all.
        dtype: of the matmuls.
        columns: `token_weights`, `external`, `sequence_ids`, [N] each; no gradient flows to them.
    """
    device = hidden_NH.device
    there = None if rows is None else rows.to(device, non_blocking=True)

    def picked(column: Tensor | None) -> Tensor | None:
        if column is not None and rows is not None:
            column = column[there if column.device == device else rows.to(column.device)]
        return None if column is None else column.detach().to(device, non_blocking=True)

    labels = picked(labels_N)
    assert labels is not None
    hidden = hidden_NH if there is None else hidden_NH.index_select(0, there)
    return Batch(
        len(labels_N), there, hidden.to(dtype), labels, **{name: picked(column) for name, column in columns.items()}
    )


def counting_rows(labels_N: Tensor, ignore_index: int, vocab_size: int) -> Tensor | None:
    """Return the index of the rows whose label is not `ignore_index`, None where that is every row.

    The host must know their number: the one wait of a call for labels on a GPU.

    Raises:
        ValueError: a label outside [0, vocab_size). Of labels on a GPU only with TUNEWRIGHT_CHECK_LABELS=1.
    """
    rows = (labels_N != ignore_index).nonzero().squeeze(1)
    if labels_N.device.type == "cpu" or os.environ.get(CHECK_LABELS) == "1":
        _check_range(labels_N, rows, ignore_index, vocab_size)
    return None if len(rows) == len(labels_N) else rows


def _check_range(labels_N: Tensor, rows: Tensor, ignore_index: int, vocab_size: int) -> None:
    labels_n = labels_N[rows]
    wrong = ((labels_n < 0) | (labels_n >= vocab_size)).nonzero().flatten()
    if len(wrong):
        row = int(rows[wrong[0]])
        raise ValueError(
            f"row {row} has label {int(labels_N[row])} ({len(wrong)} such rows); expected 0 to {vocab_size - 1}, or "
            f"{ignore_index} for a row that does not count"
        )


@dataclass(frozen=True)
class WeightRule:
    """Weights of rows from their statistics, and what the sum of weighted losses is multiplied by.

    Weights are pointwise: a chunk gets what the whole batch would give it. The normaliser is a scalar of the batch and
    multiplies dX and dW at the end. Folded into the rows it would save that, and cost digits: a weight of 1 is exact in
    bfloat16, 1 / 200 is not, and the error would be the same in every row.

    Attributes:
        config: the weighting.
        batch: holds what is given from outside, a number a row.
        denom: scalar, what the loss is a mean over.
        thresholds: of the rows of the batch, once known.
    """

    config: EntropyConfig
    batch: Batch
    denom: Tensor
    thresholds: Thresholds | None = None

    def normalizer(self, raw_n: Tensor) -> Tensor:
        """Scalar, from the raw weights of all rows."""
        num_tokens = raw_n.new_full((), self.batch.num_counted)  # made there: nothing to copy, nothing to wait for
        return normalizer(self.config, raw_n.detach(), self.denom, num_tokens=num_tokens, thresholds=self.thresholds)

    def raw(self, stats: TokenStats, rows: slice = ALL) -> Tensor:
        """[C] what the weighting gives, before `token_weights`."""
        if self.config.type == "none":
            return torch.ones_like(stats.nll)
        external = None if self.batch.external is None else self.batch.external[rows]
        thresholds = None if self.thresholds is None else self.thresholds.rows(rows)
        return weight_tokens(self.config, stats, thresholds=thresholds, external=external)

    def weight(self, raw_C: Tensor, rows: slice = ALL) -> Tensor:
        """[C] raw weights times `token_weights`: what the loss of the row is multiplied by."""
        return raw_C if self.batch.token_weights is None else raw_C * self.batch.token_weights[rows].to(raw_C)

    def scales(self, stats: TokenStats, loss_C: Tensor, rows: slice = ALL) -> tuple[Tensor, RowScales]:
        """Return raw weights, and the gradient of sum(weight * loss) for everything a row gives.

        A detached weight is that gradient itself. Otherwise d(w l) = w dl + l dw, and the second term goes to the nll,
        the entropy and the sum p^2 that w is made of: for w(H), dz_j = p_j (w - l w'(H) (u_j - t/s)) - w [j = y].
        """
        if self.config.detach:
            raw_C = self.raw(stats, rows)
            return raw_C, RowScales(self.weight(raw_C, rows))
        with torch.enable_grad():
            made_of = [column.detach().requires_grad_() for column in (stats.nll, stats.entropy, stats.sum_sq)]
            raw_C = self.raw(replace(stats, nll=made_of[0], entropy=made_of[1], sum_sq=made_of[2]), rows)
            through = torch.autograd.grad(raw_C, made_of, self.weight(loss_C, rows), allow_unused=True)
        raw_C = raw_C.detach()
        return raw_C, RowScales(self.weight(raw_C, rows), *through)

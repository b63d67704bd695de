"""The three plans, and the two autograd functions they are made of.

    GradientNow      sum(weight * loss), its gradient formed in the forward pass: P1, and the second phase of P2
    GradientLater    loss, nll, entropy and sum p^2 of each row, the logits formed again in the backward pass: P3

Each plan turns a batch and a weight rule into `Outcome`. Everything that is not a matmul or a walk over logits is
arithmetic on [n] vectors: under P3 plain autograd, under P1 and P2 gradients that `WeightRule.scales` works out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tunewright.kernels.batch import Batch, WeightRule
from tunewright.kernels.head import (
    Head,
    HeadSpec,
    RowScales,
    Upstream,
    as_tokens,
    concatenate,
    exact_types,
    gradient_pass,
    row_losses,
    statistics_pass,
)
from tunewright.kernels.planner import PlanName
from tunewright.kernels.rows import LogitTransform, RowStats, top_logits
from tunewright.losses.entropy import TokenStats, token_entropy
from tunewright.losses.selection import Selector, Thresholds

EAFT_TOP_K = 20  # the words of which the shipped EAFT losses take the entropy


@dataclass(frozen=True)
class Work:
    """One call, ready to be carried out.

    Attributes:
        spec: the head without its weights.
        weight_VH: the head's weight, with its history.
        bias_V: its bias, or None.
        batch: the rows that count.
        rule: what they weigh.
        select: asked for thresholds once the statistics of all rows are there; None where they are known or not needed.
    """

    spec: HeadSpec
    weight_VH: Tensor
    bias_V: Tensor | None
    batch: Batch
    rule: WeightRule
    select: Selector | None

    @property
    def wants_gradients(self) -> bool:
        """False in evaluation: statistics are all that is needed."""
        sources = (self.batch.hidden, self.weight_VH, self.bias_V)
        return torch.is_grad_enabled() and any(source is not None and source.requires_grad for source in sources)


@dataclass(frozen=True)
class Outcome:
    """What a plan gives, of the rows that count.

    Attributes:
        stats: [n] columns without history.
        nll: [n], with history under P3.
        entropy: [n], with history under P3.
        weight: [n], not normalised.
        loss: sum(weight * loss), or weight * loss of each row (P3), normalised.
        thresholds: where a quantile weighting has cut.
    """

    stats: TokenStats
    nll: Tensor
    entropy: Tensor
    weight: Tensor
    loss: Tensor
    thresholds: Thresholds | None


def one_pass(work: Work) -> Outcome:
    """P1: weigh the rows of a chunk and form their gradient while their logits are there."""
    if not work.wants_gradients:
        return two_passes(work)
    head = Head(work.spec, work.weight_VH, work.bias_V)
    seen = _Weighing(work.rule, work.batch.labels, head)
    loss: Tensor = GradientNow.apply(  # type: ignore[no-untyped-call]
        work.batch.hidden, work.weight_VH, work.bias_V, work.batch.labels, head, seen.measure, seen.total
    )
    return seen.outcome(loss)


def two_passes(work: Work) -> Outcome:
    """P2: statistics of all rows, thresholds, then the gradient of the rows whose weight is not 0."""
    head = Head(work.spec, work.weight_VH, work.bias_V)
    stats, tokens = _all_statistics(head, work)
    rule = _with_thresholds(work, tokens)
    loss_n = row_losses(work.spec, stats, tokens.vocab_size)
    raw_n, scales = rule.scales(tokens, loss_n)
    loss = (scales.loss * loss_n).sum()
    if work.wants_gradients:
        kept = scales.counting_rows()
        hidden, labels = work.batch.hidden.index_select(0, kept), work.batch.labels[kept]
        known = _Known(stats, scales).select(kept)
        loss = GradientNow.apply(  # type: ignore[no-untyped-call]
            hidden, work.weight_VH, work.bias_V, labels, head, known.of, loss.clone
        )
    loss = loss * rule.normalizer(raw_n)
    return Outcome(tokens, tokens.nll, tokens.entropy, rule.weight(raw_n), loss, rule.thresholds)


def recomputed(work: Work) -> Outcome:
    """P3: hand out what each row gives with its history; whatever is built of it, backward forms the logits again."""
    stats, tokens = _all_statistics(Head(work.spec, work.weight_VH, work.bias_V), work)
    rule = _with_thresholds(work, tokens)
    loss_n, nll_n, entropy_n, sum_sq_n = GradientLater.apply(  # type: ignore[no-untyped-call]
        work.batch.hidden, work.weight_VH, work.bias_V, work.batch.labels, work.spec, stats, tokens.vocab_size
    )
    raw_n = rule.raw(replace(tokens, nll=nll_n, entropy=entropy_n, sum_sq=sum_sq_n))
    weight_n = rule.weight(raw_n)
    loss_n = weight_n * loss_n * rule.normalizer(raw_n)
    return Outcome(tokens, nll_n, entropy_n, weight_n, loss_n, rule.thresholds)


PLANS: dict[PlanName, Callable[[Work], Outcome]] = {"P1": one_pass, "P2": two_passes, "P3": recomputed}


# ── the gradient in the forward pass ────────────────────────────────────────────────────────────────────────────────


class GradientNow(torch.autograd.Function):
    """sum(weight * loss) of the rows, with dX, dW and dbias formed while their logits are there."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_nH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        labels_n: Tensor,
        head: Head,
        upstream: Upstream,
        total: Callable[[], Tensor],
    ) -> Tensor:
        """Return `total()`, the sum; it is asked once `upstream` has seen all rows."""
        ctx.set_materialize_grads(False)
        ctx.dtypes = [None if tensor is None else tensor.dtype for tensor in (hidden_nH, weight_VH, bias_V)]
        gradients = gradient_pass(head, hidden_nH, labels_n, upstream, ctx.needs_input_grad[:3])
        ctx.save_for_backward(*gradients)
        return total()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor | None) -> tuple[Tensor | None, ...]:
        """Scale what the forward pass has formed."""
        if grad_loss is None:
            return (None,) * 7
        gradients = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        scaled = [None if grad is None else _scaled(grad, grad_loss, dtype) for grad, dtype in gradients]
        return *scaled, None, None, None, None


def _scaled(grad: Tensor, factor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return grad * factor. In place, for dW is as large as the head; not where the graph is kept for another pass."""
    if _graph_is_kept():
        return (grad * factor).to(dtype)
    is_one = factor.device.type == "cpu" and factor.item() == 1  # to ask a GPU would be to wait for it
    return (grad if is_one else grad.mul_(factor)).to(dtype)


def _graph_is_kept() -> bool:
    """True in a backward pass with `retain_graph=True`, and where torch does not tell."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if ask is None else bool(ask())


class _Weighing:
    """Measures and weighs the rows of each chunk as it comes by, and keeps what was found."""

    def __init__(self, rule: WeightRule, labels_n: Tensor, head: Head):
        self._rule, self._labels_n, self._head = rule, labels_n, head
        self._stats: list[RowStats] = []
        self._raw: list[Tensor] = []
        self._losses: list[Tensor] = [labels_n.new_zeros(0, dtype=torch.float32)]
        self._top: list[Tensor] | None = None if rule.config.eaft_compat is None else []

    def measure(self, rows: slice, logits_CV: Tensor) -> tuple[RowStats, RowScales]:
        """Statistics of the rows, and the gradients of what they give."""
        stats = self._head.stats(logits_CV, self._labels_n[rows])
        top_C = None if self._top is None else [_top_entropy(logits_CV, self._head.spec.transform)]
        loss_C = row_losses(self._head.spec, stats, self._head.vocab_size)
        raw_C, scales = self._rule.scales(as_tokens(stats, self._head.vocab_size, top_C), loss_C, rows)
        self._stats.append(stats)
        self._raw.append(raw_C)
        self._losses.append(scales.loss * loss_C)
        if self._top is not None and top_C is not None:
            self._top += top_C
        return stats, scales

    def total(self) -> Tensor:
        """Sum of weight * loss, added up over all rows at once: the chunks leave no trace in it."""
        return torch.cat(self._losses).sum()

    def outcome(self, loss: Tensor) -> Outcome:
        """Return everything that was found; `loss` is the total with its history."""
        tokens = as_tokens(concatenate(self._stats, self._head), self._head.vocab_size, self._top)
        raw_n = torch.cat([tokens.nll[:0], *self._raw])
        loss = loss * self._rule.normalizer(raw_n)
        return Outcome(tokens, tokens.nll, tokens.entropy, self._rule.weight(raw_n), loss, self._rule.thresholds)


class _Known(NamedTuple):
    """Rows whose statistics and scales were found before."""

    stats: RowStats
    scales: RowScales

    def of(self, rows: slice, logits_CV: Tensor) -> tuple[RowStats, RowScales]:
        """Statistics of the rows, and the gradients of what they give."""
        return self.stats.select(rows), self.scales.select(rows)

    def select(self, rows: Tensor) -> _Known:
        """The same of some rows."""
        return _Known(self.stats.select(rows), self.scales.select(rows))


# ── the gradient in the backward pass ───────────────────────────────────────────────────────────────────────────────


class GradientLater(torch.autograd.Function):
    """(loss, nll, entropy, sum p^2) of each row, [n] each and all differentiable. Keeps seven numbers a row."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_nH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        labels_n: Tensor,
        spec: HeadSpec,
        stats: RowStats,
        vocab_size: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Hand out what the statistics say."""
        ctx.set_materialize_grads(False)
        ctx.spec = spec
        ctx.save_for_backward(hidden_nH, weight_VH, bias_V, labels_n, *stats)
        return row_losses(spec, stats, vocab_size), stats.nll, stats.entropy, stats.collision

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Form the logits again and the gradient over them; rows that nothing comes back to are left out."""
        hidden_nH, weight_VH, bias_V, labels_n, *columns = ctx.saved_tensors
        loss_scale = torch.zeros_like(columns[0]) if upstream[0] is None else upstream[0]
        known = _Known(RowStats(*columns), RowScales(loss_scale, *upstream[1:]))
        rows_n = None if hidden_nH.is_cuda else known.scales.counting_rows()  # to count them is to wait for a GPU
        rows_nH = hidden_nH
        if rows_n is not None:
            known, labels_n, rows_nH = known.select(rows_n), labels_n[rows_n], hidden_nH[rows_n]
        with exact_types(hidden_nH.device.type, ctx.spec.deterministic):
            head = Head(ctx.spec, weight_VH, bias_V)
            dX, dW, db = gradient_pass(head, rows_nH, labels_n, known.of, ctx.needs_input_grad[:3])
        if dX is not None and rows_n is not None:
            dX = torch.zeros_like(hidden_nH).index_copy_(0, rows_n, dX)
        dW = None if dW is None else dW.to(weight_VH.dtype)
        return dX, dW, None if db is None else db.to(bias_V.dtype), None, None, None, None


# ── shared ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@torch.no_grad()
def _all_statistics(head: Head, work: Work) -> tuple[RowStats, TokenStats]:
    """Statistics of all rows, without history."""
    top: list[Tensor] | None = None if work.rule.config.eaft_compat is None else []

    def observe(rows: slice, stats: RowStats, logits_CV: Tensor) -> None:
        if top is not None:
            top.append(_top_entropy(logits_CV, head.spec.transform))

    stats = statistics_pass(head, work.batch.hidden, work.batch.labels, observe)
    return stats, as_tokens(stats, head.vocab_size, top)


def _with_thresholds(work: Work, tokens: TokenStats) -> WeightRule:
    """The rule, with thresholds taken of the tokens at hand where it waits for them."""
    if work.select is None:
        return work.rule
    found = work.select.thresholds(tokens.entropy, sequence_ids=work.batch.sequence_ids, p=tokens.p)
    return replace(work.rule, thresholds=found)


def _top_entropy(logits_CV: Tensor, transform: LogitTransform) -> Tensor:
    """[C] entropy of the 20 likeliest words, renormalised: what the shipped EAFT losses weigh by."""
    return token_entropy(top_logits(logits_CV, min(EAFT_TOP_K, logits_CV.shape[1]), transform)[0])

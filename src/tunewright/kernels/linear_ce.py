"""The one door: linear head + cross entropy + entropy + weights, without ever holding the `[N, V]` logits.

    out = fused_linear_ce(hidden, lm_head.weight, labels, weighting=EntropyConfig(type="linear"), denom=tokens_of_step)
    out.loss.backward()          # out.nll, out.entropy, out.weight, out.correct: one number a token

    loss of a row    l = (1 - smoothing) nll + smoothing mean_j(-log p_j) + z_loss log_sum_exp^2
    weight of a row  w = weight_tokens(weighting, ...) * token_weights
    reduction        mean: sum(w l) * normalizer(denom)     sum: the same, denom 1     none: w l * normalizer(1), [N]

Three plans can carry it out, `planner.py` chooses, `out.plan` tells:

    P1  loss is differentiable; its gradient is formed in the forward pass and scaled in the backward pass
    P2  the same, for weights that need an exact quantile of the rows at hand; rows of weight 0 cost no gradient
    P3  loss of each row, nll, entropy and weight are differentiable: for losses built of them (RL, distillation)

Rows labelled `ignore_index` are dropped before anything is multiplied. The host must know how many are left: for
labels on a GPU that is the one wait of a call (P2: one more), labels on the CPU cost none. Legend: N rows (tokens), H
hidden size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from tunewright.kernels import checks
from tunewright.kernels.backends import Backend, choose_rows
from tunewright.kernels.batch import Batch, WeightRule, counting_rows, pick_rows
from tunewright.kernels.head import HeadSpec, exact_types, resolve_dtype
from tunewright.kernels.parallel import gather, vocab_shard
from tunewright.kernels.planner import Accumulate, PlanName, choose_plan, plan_chunks
from tunewright.kernels.plans import PLANS, Outcome, Work
from tunewright.kernels.rows import LogitTransform, statistics_dtype
from tunewright.losses.entropy import IGNORED, TokenStats
from tunewright.losses.selection import Selector, Thresholds
from tunewright.recipe.sections import EntropyConfig

Reduction = Literal["mean", "sum", "none"]
PLAIN = EntropyConfig(type="none")


@dataclass(frozen=True)
class LinearCE:
    """What `fused_linear_ce` gives; float32 (float64 of float64). Of ignored rows nll, entropy and weight are 0.

    Attributes:
        loss: scalar, or [N] with `reduction="none"`.
        nll: [N] -log p of the label, nats, without smoothing and z-loss. Differentiable under P3 only.
        entropy: [N] nats, >= 0. Differentiable under P3 only.
        weight: [N] weighting * token_weights, before normalisation. Differentiable under P3, with `detach: false`.
        correct: [N] bool, the label is the likeliest word.
        stats: the same, sum p^2 and which rows count, as weightings and `EntropyMeter` take them; without history.
        thresholds: where a quantile weighting has cut; None where none did.
        backend: the row functions that ran: "eager", "compile" or "triton".
        plan: "P1", "P2" or "P3".
    """

    loss: Tensor
    nll: Tensor
    entropy: Tensor
    weight: Tensor
    correct: Tensor
    stats: TokenStats
    thresholds: Thresholds | None
    backend: str
    plan: PlanName


def fused_linear_ce(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    labels_N: Tensor,
    *,
    bias: Tensor | None = None,
    ignore_index: int = IGNORED,
    weighting: EntropyConfig | None = None,
    thresholds: Thresholds | None = None,
    select: Selector | None = None,
    sequence_ids: Tensor | None = None,
    external: Tensor | None = None,
    token_weights: Tensor | None = None,
    denom: Tensor | float | None = None,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    temperature: float = 1.0,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    reduction: Reduction = "mean",
    differentiable_entropy: bool = False,
    compute_dtype: torch.dtype | Literal["auto"] = "auto",
    backend: Backend = "auto",
    chunk_bytes: int | None = None,
    accumulate: Accumulate = "auto",
    deterministic: bool = False,
    vocab_group: dist.ProcessGroup | None = None,
) -> LinearCE:
    """Return the weighted loss of a linear head, with entropy and nll of each row.

    Memory at the peak, beside the arguments and their gradients: one chunk of logits (32 MiB on a CPU, 256 or 512 on
    CUDA), and a copy of the weight where it is not of the type of the matmuls.

    Args:
        hidden_NH: [N, H], what goes into the head, shifted already: row i predicts `labels_N[i]`.
        weight_VH: [V, H]. With `requires_grad` off its gradient is skipped. A DTensor (FSDP2) is gathered once.
        labels_N: int64 [N], on the device of `hidden_NH` or on the CPU.
        bias: [V] of the head.
        ignore_index: label of the rows that do not count.
        weighting: how much each token counts; None for 1 each.
        thresholds: where a quantile weighting cuts, if known before; a number, or one a row.
        select: makes the thresholds and keeps their state; the scopes `global_batch` and `ema` need it, and the mean
            of `exponential`. Its `end_step` is the caller's.
        sequence_ids: int64 [N], for scope `sequence`.
        external: [N], the weights of type `external`.
        token_weights: [N], one more factor, of any sign (advantages, masks); `normalize` does not see it.
        denom: with `mean`, what the loss is a mean over: the tokens of the whole optimizer step where it has several
            micro-batches or devices. None: the rows of this call that count.
        softcap: c of c * tanh(x / c), or None.
        logit_scale: factor on the logits, > 0, before the softcap.
        temperature: > 0, divides last. Entropy and nll are those after it.
        label_smoothing: in [0, 1).
        z_loss: >= 0.
        reduction: see the module.
        differentiable_entropy: gradients flow through `nll` and `entropy` too (P3).
        compute_dtype: of the matmuls; `auto` takes autocast's, else that of `hidden_NH`; float32 on a CPU that only
            emulates the short types.
        backend: which row functions.
        chunk_bytes: budget for the logits held at once.
        accumulate: what dW is summed up in, see `plan_chunks`.
        deterministic: the same bits on each run, or an error; compiles nothing.
        vocab_group: processes that hold the vocabulary between them, in the order of their ranks: `weight_VH` and
            `bias` are this one's columns, the labels are those of the whole vocabulary, and `hidden_NH` and its
            gradient are the same on all.

    Raises:
        ValueError: shapes that do not fit, labels outside the vocabulary (on a GPU they are looked at only with
            TUNEWRIGHT_CHECK_LABELS=1), a denom below 0, options that exclude each other.
        TypeError: hidden or labels are DTensors.
    """
    config = weighting or PLAIN
    weight_VH, bias = gather(weight_VH), None if bias is None else gather(bias)
    checks.tensors(hidden_NH, weight_VH, labels_N, bias)
    checks.columns(len(labels_N), token_weights=token_weights, external=external, sequence_ids=sequence_ids)
    checks.numbers(softcap, logit_scale, temperature, label_smoothing, z_loss)
    checks.reduction(reduction, denom)
    checks.weighting(config, thresholds, select, sequence_ids, external)
    checks.execution(config, backend, deterministic, vocab_group)
    shard = None if vocab_group is None else vocab_shard(vocab_group, len(weight_VH), weight_VH.device)
    rows = counting_rows(labels_N, ignore_index, shard.vocab_size if shard else len(weight_VH))
    dtype = resolve_dtype(hidden_NH, compute_dtype)
    device = hidden_NH.device
    with exact_types(device.type, deterministic):
        batch = pick_rows(
            hidden_NH, labels_N, rows, dtype, token_weights=token_weights, external=external, sequence_ids=sequence_ids
        )
        spec = HeadSpec(
            LogitTransform(logit_scale, softcap, temperature),
            choose_rows(backend, device.type, dtype, deterministic=deterministic),
            plan_chunks(
                batch.num_counted, len(weight_VH), dtype, device, chunk_bytes=chunk_bytes, accumulate=accumulate
            ),
            dtype,
            label_smoothing,
            z_loss,
            shard,
            deterministic,
        )
        known, ask = _where_to_cut(config, thresholds, select)
        plan = choose_plan(
            per_token_gradients=reduction == "none" or differentiable_entropy, needs_batch_statistics=ask is not None
        )
        rule = WeightRule(config, batch, _denominator(batch, reduction, denom), batch.of_rows(known))
        outcome = PLANS[plan](Work(spec, weight_VH, bias, batch, rule, ask))
        if select is not None and ask is None:
            select.observe(outcome.stats.entropy, p=outcome.stats.p)
    loss = batch.spread(outcome.loss) if reduction == "none" else outcome.loss.sum()
    return _whole_batch(loss, outcome, batch, spec, plan)


def _where_to_cut(
    config: EntropyConfig, thresholds: Thresholds | None, select: Selector | None
) -> tuple[Thresholds | None, Selector | None]:
    """Return thresholds that are known already, and who is asked once statistics are there; one of them or neither."""
    if thresholds is not None:
        return thresholds, None
    known = select.current() if select is not None and select.is_lagged else None
    if known is not None or not config.needs_thresholds:
        return known, None
    return None, select or Selector(config)


def _denominator(batch: Batch, reduction: Reduction, denom: Tensor | float | None) -> Tensor:
    """Return what the loss is a mean over as a scalar of the device; made there, so that nothing is waited for."""
    if isinstance(denom, Tensor):
        return denom.detach().to(batch.hidden.device, statistics_dtype(batch.hidden)).reshape(())
    number = 1.0 if reduction != "mean" else batch.num_counted if denom is None else denom
    return torch.full((), number, dtype=statistics_dtype(batch.hidden), device=batch.hidden.device)


def _whole_batch(loss: Tensor, outcome: Outcome, batch: Batch, spec: HeadSpec, plan: PlanName) -> LinearCE:
    """Put the numbers of the rows that count back to their places among all."""
    stats = batch.spread_stats(outcome.stats)
    has_history = plan == "P3"
    return LinearCE(
        loss=loss,
        nll=batch.spread(outcome.nll) if has_history else stats.nll,
        entropy=batch.spread(outcome.entropy) if has_history else stats.entropy,
        weight=batch.spread(outcome.weight),
        correct=stats.correct,
        stats=stats,
        thresholds=outcome.thresholds,
        backend=spec.kernels.name,
        plan=plan,
    )

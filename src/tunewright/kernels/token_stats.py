"""What a head says of every token, without a gradient: entropy, nll, and the likeliest words. For analysis.

The statistics pass of `head.py`: a chunk of logits at a time, 2HV FLOP a row. Legend: N rows, C rows of a chunk, k
words, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from tunewright.kernels import checks
from tunewright.kernels.backends import Backend, choose_rows
from tunewright.kernels.batch import counting_rows, pick_rows
from tunewright.kernels.head import Head, HeadSpec, as_tokens, exact_types, resolve_dtype, statistics_pass
from tunewright.kernels.parallel import gather
from tunewright.kernels.planner import plan_chunks
from tunewright.kernels.rows import LogitTransform, RowStats, top_logits
from tunewright.losses.entropy import IGNORED, TokenStats


class TokenReport(NamedTuple):
    """What is known of N tokens.

    Attributes:
        stats: [N] columns; those of ignored rows are 0.
        top_log_probs: [N, k] float32, log p of the likeliest words, highest first; None without `top_k`.
        top_ids: int64 [N, k], which words they are; None without `top_k`.
    """

    stats: TokenStats
    top_log_probs: Tensor | None = None
    top_ids: Tensor | None = None


@torch.no_grad()
def token_stats_of(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    labels_N: Tensor,
    *,
    bias: Tensor | None = None,
    ignore_index: int = IGNORED,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    temperature: float = 1.0,
    top_k: int = 0,
    compute_dtype: torch.dtype | Literal["auto"] = "auto",
    backend: Backend = "auto",
    chunk_bytes: int | None = None,
) -> TokenReport:
    """Return statistics of each row, and with `top_k` its likeliest words.

    Args:
        hidden_NH: [N, H], what goes into the head, shifted already.
        weight_VH: [V, H].
        labels_N: int64 [N]. Rows labelled `ignore_index` are left out.
        bias: [V] or None.
        ignore_index: label of the rows that do not count.
        softcap: as for `fused_linear_ce`, like the next two.
        logit_scale: factor on the logits.
        temperature: > 0.
        top_k: how many words, 0 for none; at most V are given. Costs one more walk over the logits.
        compute_dtype: of the matmul; see `fused_linear_ce`.
        backend: which row functions.
        chunk_bytes: budget for the logits held at once.

    Raises:
        ValueError, TypeError: as `fused_linear_ce`.
    """
    weight_VH, bias = gather(weight_VH), None if bias is None else gather(bias)
    checks.tensors(hidden_NH, weight_VH, labels_N, bias)
    checks.numbers(softcap, logit_scale, temperature)
    dtype, device, vocab_size = resolve_dtype(hidden_NH, compute_dtype), hidden_NH.device, len(weight_VH)
    with exact_types(device.type, deterministic=False):
        batch = pick_rows(hidden_NH, labels_N, counting_rows(labels_N, ignore_index, vocab_size), dtype)
        chunking = plan_chunks(batch.num_counted, vocab_size, dtype, device, chunk_bytes=chunk_bytes)
        spec = HeadSpec(
            LogitTransform(logit_scale, softcap, temperature), choose_rows(backend, device.type, dtype), chunking, dtype
        )
        k = min(top_k, vocab_size)
        top_log_probs = torch.zeros(batch.num_counted, k, device=device)
        top_ids = torch.zeros(batch.num_counted, k, dtype=torch.int64, device=device)

        def observe(rows: slice, stats: RowStats, logits_CV: Tensor) -> None:
            if k:
                z_Ck, top_ids[rows] = top_logits(logits_CV, k, spec.transform)
                top_log_probs[rows] = z_Ck - stats.log_sum_exp[:, None]

        stats = statistics_pass(Head(spec, weight_VH, bias), batch.hidden, batch.labels, observe)
    found = batch.spread_stats(as_tokens(stats, vocab_size))
    return TokenReport(found, batch.spread(top_log_probs), batch.spread(top_ids)) if k else TokenReport(found)

"""Log-probabilities of given texts, for `HfBackend.log_probs`. Legend: B rows, C continuation tokens, V words.

What stands before a continuation is read once, also where several continuations follow it (the options of a question);
then all continuations are read at once, a stretch at a time, so that the logits of a long text never stand in memory
together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event

import torch
from torch import Tensor

from tunewright.backends.prefill import Reader, Start
from tunewright.backends.protocol import Continuation, ContinuationScore

LOGIT_TOKENS = 512  # of a batch at once: 100 MB of logits at 49,152 words
PADDING = -1


def plan_continuations(continuations: Sequence[Continuation], batch_size: int) -> list[list[Continuation]]:
    """Return them in batches: those of one prompt together, prompts of similar length together, the longest first.

    Raises:
        ValueError: one has nothing before its continuation, or no continuation; names it.
    """
    for one in continuations:
        if not 1 <= one.start < len(one.token_ids):
            raise ValueError(f"{one.id}: start {one.start} of {len(one.token_ids)} tokens")
    ordered = sorted(
        continuations, key=lambda one: (-one.start, one.token_ids[: one.start], -len(one.token_ids), one.id)
    )
    return [ordered[at : at + batch_size] for at in range(0, len(ordered), batch_size)]


def score_batch(reader: Reader, batch: list[Continuation], start: Start | None, stop: Event) -> list[ContinuationScore]:
    """Return the scores of one batch; `start` is what most continuations begin with."""
    began = time.perf_counter()
    reading = reader.read([one.token_ids[: one.start] for one in batch], start)
    logits, mask, positions = reading.logits, reading.mask, reading.positions
    targets = _right_padded([one.token_ids[one.start :] for one in batch]).to(mask.device)
    found = [_of_targets(logits[:, None], targets[:, :1])]
    width = max(1, LOGIT_TOKENS // len(batch))
    last = targets.shape[1] - 1
    for at in range(0, last, width):
        if stop.is_set():
            break
        part = targets[:, at : min(at + width, last)]
        mask = torch.cat([mask, (part != PADDING).long()], dim=1)
        steps = positions + torch.arange(at + 1, at + 1 + part.shape[1], device=mask.device)
        logits = reader.logits(part.clamp(min=0), mask, steps, reading.cache, reading.held, keep=0)
        found.append(_of_targets(logits, targets[:, at + 1 : at + 1 + part.shape[1]]))
    log_probs, greedy = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    return _scores(batch, log_probs, greedy, time.perf_counter() - began)


def _of_targets(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p of `targets` `(B, C)` under `logits` `(B, C, V)`, and whether each was the likeliest word."""
    scores = logits.float()
    chosen = scores.gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return chosen - scores.logsumexp(-1), scores.argmax(-1) == targets


def _right_padded(rows: Sequence[tuple[int, ...]]) -> Tensor:
    ids = torch.full((len(rows), max(map(len, rows))), PADDING)
    for row, token_ids in enumerate(rows):
        ids[row, : len(token_ids)] = torch.tensor(token_ids)
    return ids


def _scores(batch: list[Continuation], log_probs: Tensor, greedy: Tensor, seconds: float) -> list[ContinuationScore]:
    work = sum(len(one.token_ids) for one in batch)
    return [
        ContinuationScore(
            id=one.id,
            log_probs=tuple(values[: len(one.token_ids) - one.start]),
            seconds=seconds * len(one.token_ids) / work,
            is_greedy=all(best[: len(one.token_ids) - one.start]),
        )
        for one, values, best in zip(batch, log_probs.tolist(), greedy.tolist(), strict=True)
    ]

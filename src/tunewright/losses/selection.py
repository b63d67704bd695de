"""Where to cut: the entropy above which a token is among the highest share, of one row, one batch, or the whole step.

    exact_threshold     the tokens at hand, exactly, any number of them; `torch.quantile` refuses more than 2^24
    EntropyHistogram    (histogram.py) adds up over micro-batches and devices, wrong by 0.4% of H at most
    Selector            what a training loop asks: keeps the state of `scope` and hands out `Thresholds`

A threshold is always one of "at or above", so equal entropies stay together, and the share that was really taken is
reported beside it. Entropies are in nats. Nothing here has a gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tunewright.losses.histogram import NLL_RANGE, RANK_SLACK, Cut, count_dtype
from tunewright.losses.histogram import EntropyHistogram as EntropyHistogram  # found here too
from tunewright.recipe.sections import EntropyConfig

EMA_DECAY = 0.9  # a step counts half after 7 more: the threshold follows the model and not the batch


@dataclass(frozen=True)
class Thresholds:
    """Where a weighting cuts. Each is a scalar, or has one value a token (scope `sequence`); None: not needed.

    Attributes:
        high_entropy: nats; tokens at or above it are the high ones.
        low_entropy: nats; tokens at or below it are the low ones.
        low_p: probability of the label at or below which it is low.
        mean_entropy: nats, over the steps before.
        share: realised share of the scope's tokens that the mask keeps; None where it is not known, that is, for
            `conflict_mask` over a wider scope than one call.
    """

    high_entropy: Tensor | None = None
    low_entropy: Tensor | None = None
    low_p: Tensor | None = None
    mean_entropy: Tensor | None = None
    share: Tensor | None = None

    def rows(self, rows: slice | Tensor) -> Thresholds:
        """Return the thresholds of some tokens; those that hold for all stay as they are."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return Thresholds(
            **{name: value[rows] if value is not None and value.dim() else value for name, value in found.items()}
        )


def exact_threshold(values: Tensor, mask: Tensor | None, quantile: float) -> Cut:
    """Return the value at or above which lie the tokens of a quantile: of n, those of rank >= quantile * (n - 1).

    They are the tokens that `values >= torch.quantile(values, quantile)` takes, of any number of values. One wait for
    the device with a mask, none without. O(n).

    Args:
        values: any shape, any floating type.
        mask: of the same shape, True or 1 for what counts; None for all.
        quantile: in (0, 1).

    Returns:
        The threshold, a scalar; +inf where nothing counts. A NaN stands above all numbers.
    """
    counted = (values if mask is None else values[mask.bool()]).detach().flatten()
    n = counted.numel()
    if n == 0:
        return Cut(values.new_full((), math.inf), values.new_zeros(()))
    rank = math.ceil(quantile * (n - 1) - RANK_SLACK)
    # CUDA's kthvalue walks a long row with one block, and refuses to run in deterministic mode; its sort is fast.
    threshold = counted.sort().values[rank] if counted.is_cuda else counted.kthvalue(rank + 1).values
    return Cut(threshold, (counted >= threshold).to(torch.float32).mean())


def sequence_thresholds(values: Tensor, mask: Tensor | None, sequence_ids: Tensor, quantile: float) -> Tensor:
    """Return for each token the exact threshold of its own sequence, as `exact_threshold` would give it.

    Args:
        values: [N] or [B, T].
        mask: of the same shape, or None.
        sequence_ids: whole numbers >= 0 of the same shape: tokens with one number belong together, wherever they stand.
        quantile: in (0, 1).

    Returns:
        Shape of `values`; +inf for a sequence of which nothing counts.
    """
    flat, ids = values.detach().flatten(), sequence_ids.flatten().long()
    counts = torch.ones_like(ids) if mask is None else mask.flatten().long()
    order = torch.where(counts.bool(), flat, -math.inf).argsort(stable=True)
    order = order[ids[order].argsort(stable=True)]  # by sequence, inside it by value, what does not count first
    num_sequences = int(ids.max()) + 1 if len(ids) else 0
    sizes = torch.bincount(ids, minlength=num_sequences)
    n = torch.zeros_like(sizes).index_add_(0, ids, counts)
    below = torch.ceil(quantile * (n - 1).clamp(min=0).to(count_dtype(n.device)) - RANK_SLACK)
    taken = n - below.long()
    at = (sizes.cumsum(0) - taken).clamp(max=max(len(ids) - 1, 0))
    of_sequence = torch.where(n > 0, flat[order[at]], math.inf)
    return of_sequence[ids].reshape(values.shape)


def kept(config: EntropyConfig, thresholds: Thresholds, entropy: Tensor, p: Tensor | None) -> Tensor:
    """Return which tokens the mask of a quantile type keeps, bool.

    Raises:
        ValueError: a threshold that the type needs is missing.
    """
    if config.type == "conflict_mask":
        surely: Tensor = entropy <= _given(thresholds.low_entropy, config)
        unlikely: Tensor = _given(p, config) <= _given(thresholds.low_p, config)
        return ~(surely & unlikely)
    cut = _given(thresholds.high_entropy, config) if config.threshold is None else config.threshold
    high: Tensor = entropy >= cut
    return high if config.type == "top_quantile" else ~high


def exact_thresholds(
    config: EntropyConfig,
    entropy: Tensor,
    mask: Tensor | None = None,
    sequence_ids: Tensor | None = None,
    p: Tensor | None = None,
) -> Thresholds:
    """Return the exact thresholds of the tokens at hand: one for all, or one a sequence where ids are given.

    Args:
        config: of a type that cuts at a quantile.
        entropy: nats, any shape.
        mask: of the same shape, or None for all.
        sequence_ids: as for `sequence_thresholds`.
        p: probability of the labels; only `conflict_mask` needs it.
    """

    def cut(values: Tensor, quantile: float) -> Tensor:
        if sequence_ids is None:
            return exact_threshold(values, mask, quantile).threshold
        return sequence_thresholds(values, mask, sequence_ids, quantile)

    quantile = float(_given(config.resolved().quantile, config))
    if config.type == "conflict_mask":  # the lowest are the highest of the negated
        found = Thresholds(low_entropy=-cut(-entropy, 1 - quantile), low_p=-cut(-_given(p, config), 1 - quantile))
    else:
        found = Thresholds(high_entropy=cut(entropy, 1 - quantile))
    keeps = kept(config, found, entropy, p)
    counts = torch.ones_like(keeps) if mask is None else mask.bool()
    share = (keeps & counts).sum() / counts.sum().clamp(min=1)
    return Thresholds(found.high_entropy, found.low_entropy, found.low_p, share=share)


def _given(value: Any, config: EntropyConfig) -> Any:
    if value is None:
        raise ValueError(
            f"weighting {config.type} cuts at a quantile: hand over `Selector(config).thresholds(entropy, mask, p=p)`"
        )
    return value


# ── scope ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Selector:
    """Hands out the thresholds of a weighting over its `scope`, and keeps what that needs from step to step.

        scope          thresholds of                                          how
        sequence       each sequence                                          exact, `thresholds`
        micro_batch    the tokens of one forward pass on one device           exact, `thresholds`
        global_batch   the tokens seen in this optimizer step, all devices    histogram, one all-reduce a call
        ema            the steps before, all devices                          histogram, one all-reduce a step

    `thresholds` before each loss and `end_step` after each optimizer step is all a loop must do. With `global_batch`
    the first micro-batches of a step would be cut by fewer tokens than the last; a loop that can run the forward
    passes of a step first calls `observe` for each and then `current`. With `ema` (and for the mean of `exponential`)
    `current` is known before the forward pass, so the loss needs one pass only; then `observe` after it.

    Args:
        config: the weighting. Types that need no thresholds get empty ones.
        group: processes that share a batch; None for all. Every one of them must make the same calls, with no tokens
            where it has none.
        decay: what the counts of all earlier steps are multiplied by when a step is added (`ema`).
    """

    def __init__(self, config: EntropyConfig, group: dist.ProcessGroup | None = None, decay: float = EMA_DECAY):
        self.config = config.resolved()
        self.group, self.decay = group, decay
        self._step = {"entropy": EntropyHistogram()}
        if config.type == "conflict_mask":
            self._step["nll"] = EntropyHistogram(*NLL_RANGE)
        self._past: dict[str, EntropyHistogram] | None = None

    @property
    def is_lagged(self) -> bool:
        """True where thresholds come from the steps before, so that they are known before the forward pass."""
        return self.config.type == "exponential" or (self.config.needs_thresholds and self.config.scope == "ema")

    @property
    def is_accumulated(self) -> bool:
        """True where thresholds come from more than one call: the scopes `global_batch` and `ema`."""
        return self.is_lagged or (self.config.needs_thresholds and self.config.scope == "global_batch")

    def thresholds(
        self,
        entropy: Tensor,
        mask: Tensor | None = None,
        sequence_ids: Tensor | None = None,
        p: Tensor | None = None,
    ) -> Thresholds:
        """Return the thresholds for these tokens, and count them for the scopes that accumulate.

        Args:
            entropy: nats, [N] or [B, T].
            mask: of the same shape, True or 1 for what counts; None for all.
            sequence_ids: of the same shape, for scope `sequence`; of a [B, T] batch the rows are the default.
            p: probability of the labels, for `conflict_mask`.

        Raises:
            ValueError: scope `sequence` of flat tokens without ids, or `conflict_mask` without p.
        """
        if self.is_accumulated:
            self.observe(entropy, mask, p)
            return self.current() or self._cut(self._reduced())
        if not self.config.needs_thresholds:
            return Thresholds()
        ids = self._ids(entropy, sequence_ids) if self.config.scope == "sequence" else None
        return exact_thresholds(self.config, entropy, mask, ids, p)

    def observe(self, entropy: Tensor, mask: Tensor | None = None, p: Tensor | None = None) -> None:
        """Count tokens of this step, without asking for thresholds. Nothing to do for exact scopes."""
        if not self.is_accumulated:
            return
        self._step["entropy"].add(entropy, mask)
        if "nll" in self._step:
            self._step["nll"].add(-_given(p, self.config).log(), mask)

    def current(self) -> Thresholds | None:
        """Return what is known without further tokens; None for exact scopes and in the first step of `ema`.

        With `global_batch` it is made of everything observed in this step, on all devices (one all-reduce).
        """
        if self.is_lagged:
            return None if self._past is None else self._cut(self._past)
        return self._cut(self._reduced()) if self.is_accumulated else None

    def end_step(self) -> None:
        """Close an optimizer step: what was observed in it goes into the moving counts (`ema`), or is forgotten."""
        if self.is_lagged:
            reduced = self._reduced()
            self._past = reduced if self._past is None else self._past
            for name, past in self._past.items():
                if past is not reduced[name]:
                    past.merge(reduced[name], self.decay)
        for histogram in self._step.values():
            histogram.reset()

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on as if nothing had happened."""
        past = None if self._past is None else _states(self._past)
        return {"step": _states(self._step), "past": past}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave, of a selector of the same weighting."""
        self._step = _histograms(state["step"])
        self._past = None if state["past"] is None else _histograms(state["past"])

    def _reduced(self) -> dict[str, EntropyHistogram]:
        return {name: histogram.all_reduce(self.group) for name, histogram in self._step.items()}

    def _cut(self, histograms: dict[str, EntropyHistogram]) -> Thresholds:
        entropy = histograms["entropy"]
        if self.config.type == "exponential":
            return Thresholds(mean_entropy=entropy.mean())
        quantile = float(_given(self.config.quantile, self.config))
        if self.config.type == "conflict_mask":
            low_p = (-histograms["nll"].threshold(1 - quantile).threshold).exp()
            return Thresholds(low_entropy=entropy.low_threshold(quantile), low_p=low_p)
        cut = entropy.threshold(1 - quantile)
        share = cut.share if self.config.type == "top_quantile" else 1 - cut.share
        return Thresholds(high_entropy=cut.threshold, share=share)

    def _ids(self, entropy: Tensor, sequence_ids: Tensor | None) -> Tensor:
        if sequence_ids is not None:
            return sequence_ids
        if entropy.dim() != 2:
            raise ValueError("scope sequence: flat tokens need `sequence_ids`, the number of the sequence of each")
        return torch.arange(len(entropy), device=entropy.device)[:, None].expand_as(entropy)


def _states(histograms: dict[str, EntropyHistogram]) -> dict[str, Any]:
    return {name: histogram.state_dict() for name, histogram in histograms.items()}


def _histograms(states: dict[str, Any]) -> dict[str, EntropyHistogram]:
    found = {name: EntropyHistogram() for name in states}
    for name, histogram in found.items():
        histogram.load_state_dict(states[name])
    return found

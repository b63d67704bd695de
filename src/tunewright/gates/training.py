"""Gates on a training run that has ended: `loss_is_finite`, `loss_fell`, `entropy_collapsed`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunewright.artifacts.verdict import Verdict, judge

COLLAPSED_SHARE = 0.1  # the tour, which is sound, ends at 0.06 of its start: so this alone is no fault
SURER_THAN_RIGHT = 0.25  # of the least entropy that an accuracy allows: a bound on means, with room for one noisy tenth


def loss_is_finite(losses: Sequence[float | None]) -> Verdict:
    """FAIL when any logged loss is not a number (logged as None)."""
    bad = [index for index, loss in enumerate(losses) if loss is None]
    first = f"; the first at line {bad[0] + 1} of metrics.jsonl" if bad else ""
    return judge(
        "loss_is_finite",
        not bad,
        measured=f"{len(bad)} of {len(losses)} logged losses are not finite{first}",
        bound="none",
        remedy="lower `learning_rate`, or train in float32; then look at the rows of that step",
        evidence="metrics.jsonl",
    )


def loss_fell(first: float, last: float) -> Verdict:
    """WARN when the mean loss of the last tenth of the steps is not below that of the first tenth."""
    return judge(
        "loss_fell",
        last < first,
        measured=f"{first:.3f} -> {last:.3f}, means of the first and last tenth of the steps",
        bound="lower at the end",
        remedy="more steps, another `learning_rate`, or look whether the rows can be learned at all",
        evidence="metrics.jsonl",
        warn=True,
    )


def entropy_collapsed(entropies: Sequence[float | None], accuracies: Sequence[float | None]) -> Verdict:
    """WARN when the model ends far surer than it is right: its doubt is gone, and its mistakes are not.

    Fine-tuning on a rigid format lowers the entropy, and should: what can be known becomes certain. But a model that
    knows what it does not know keeps some. If its probabilities hold, the mean of max p is its accuracy `a`, and so
    by Jensen mean H >= mean(-ln max p) >= -ln a. Collapsed means both: mean H in the last tenth of the steps below
    COLLAPSED_SHARE of that in the first tenth, and below SURER_THAN_RIGHT of -ln a. A loss whose weights rise with an
    entropy that is not detached does this (it pays for low entropy), and so does a learning rate that is far too high.

    The bound takes no loss, since a weighted loss is no mean NLL.

    Args:
        entropies: mean entropy of the trained tokens, nats, one a logged step; None where not finite.
        accuracies: share of the trained tokens that are the first choice, one a logged step.
    """
    pairs = [(h, a) for h, a in zip(entropies, accuracies, strict=True) if h is not None and a is not None]
    first, last = _end([h for h, _ in pairs], first=True), _end([h for h, _ in pairs], first=False)
    accuracy = _end([a for _, a in pairs], first=False)
    least = SURER_THAN_RIGHT * -math.log(min(max(accuracy, 1e-6), 1.0))
    return judge(
        "entropy_collapsed",
        not pairs or last >= COLLAPSED_SHARE * first or last >= least,
        measured=f"mean entropy {first:.3g} -> {last:.3g} nats, top-1 accuracy {accuracy:.1%} at the end"
        if pairs
        else "no step logged an entropy",
        bound=f"at least {COLLAPSED_SHARE:.0%} of its start, or {least:.2g} nats: a quarter of -ln(accuracy)",
        remedy="lower `learning_rate`, train fewer steps, and keep `detach: true` in `weighting`",
        evidence="metrics.jsonl",
        warn=True,
    )


def _end(values: Sequence[float], *, first: bool) -> float:
    """Return the mean of the first or the last tenth of `values`; 0 for none."""
    size = max(1, round(len(values) / 10))
    part = values[:size] if first else values[-size:]
    return sum(part) / len(part) if part else 0.0

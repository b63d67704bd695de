"""Gates on a training run: what its curves say, and what its dev rows say.

    loss_is_finite     no loss and no gradient is NaN or infinite; the run stops at the first
    loss_fell          the end is below the start
    loss_spikes        no step, and no stretch of steps, climbs back above the start
    weights_moved      the adapter is another one than at the start
    entropy_collapsed  the model is not surer than it is right
    loss_is_learning   where the loss falls, the score of the task on dev rows leaves the floor
    train_dev_gap      the loss on dev rows does not rise while that on training rows falls

docs/pipeline/learning.md says how the bounds were found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunewright.artifacts.verdict import Verdict, judge

COLLAPSED_SHARE = 0.1  # the tour, which is sound, ends at 0.06 of its start: so this alone is no fault
SPIKE = 3.0  # sound tours of 2 to 16 rows a step reach 1.4 times the highest of their start
MIN_STRETCH = 5
FELL = 0.1
FLOOR = 0.05
ROSE, ROSE_NATS = 0.1, 0.02
SURER_THAN_RIGHT = 0.25  # of the least entropy that an accuracy allows: a bound on means, with room for one noisy tenth


def loss_is_finite(
    losses: Sequence[float | None], gradients: Sequence[float | None] = (), stopped: str = ""
) -> Verdict:
    """FAIL when any logged loss or gradient norm is not a number (logged as None).

    Args:
        losses: one a logged step.
        gradients: norms, one a logged step; may be left out.
        stopped: why training ended before its last step, and what was kept.
    """
    pairs = list(zip(losses, gradients, strict=True)) if gradients else [(loss, 0.0) for loss in losses]
    bad = [index for index, values in enumerate(pairs) if None in values]
    what = "losses or gradient norms" if gradients else "losses"
    first = f"; the first at line {bad[0] + 1} of metrics.jsonl" if bad else ""
    return judge(
        "loss_is_finite",
        not bad,
        measured=f"{len(bad)} of {len(losses)} logged {what} are not finite{first}"
        + (f"; {stopped}" if stopped else ""),
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


def loss_spikes(losses: Sequence[float | None]) -> Verdict:
    """WARN when the loss climbs back: one step far above all of the start, or a stretch above the mean of the start.

    Small batches are noisy: sound runs of two rows a step have single losses of twice their start. So a spike is a
    step above SPIKE times the highest loss of the first tenth (five steps at least); and a relapse is a tenth of the
    steps whose mean is above that of the first, after one whose mean was below half of it.
    """
    known = [loss for loss in losses if loss is not None]
    size = max(MIN_STRETCH, round(len(known) / 10))
    start, rest = known[:size], known[size:]
    ceiling = SPIKE * max(start, default=0.0)
    spikes = [step for step, loss in enumerate(known, 1) if step > size and loss > ceiling]
    relapse = _relapse(rest, sum(start) / max(1, len(start)), size)
    return judge(
        "loss_spikes",
        not spikes and relapse is None,
        measured=f"{len(spikes)} of {len(known)} logged losses above {ceiling:.3g}"
        + (f", the first at line {spikes[0]}" if spikes else "")
        + (f"; the mean of {size} steps climbed back to {relapse:.3g}" if relapse is not None else ""),
        bound=f"none above {SPIKE:g} times the highest of the first {size}; no stretch back above their mean",
        remedy="lower `learning_rate` or `max_grad_norm`, raise `warmup`; look at the rows of that step",
        evidence="metrics.jsonl",
        warn=True,
    )


def _relapse(losses: Sequence[float], start: float, size: int) -> float | None:
    """Return the highest mean of a stretch after the lowest, if that was below half of `start` and this is above it."""
    means = [sum(losses[at : at + size]) / size for at in range(0, len(losses) - size + 1, size)]
    if not means or min(means) >= start / 2:
        return None
    highest = max(means[means.index(min(means)) :])
    return highest if highest > start else None


def weights_moved(still: int, matrices: int, gradients: Sequence[float | None]) -> Verdict:
    """FAIL when training left the adapter as it was: all its B matrices are 0, as they begin, or all gradients were.

    Args:
        still: B matrices that are exactly 0.
        matrices: all of them.
        gradients: norms, one a logged step.
    """
    flat = sum(norm == 0 for norm in gradients)
    moved = still < matrices and (not gradients or flat < len(gradients))
    return judge(
        "weights_moved",
        moved,
        measured=f"{still} of {matrices} B matrices are still 0; the gradient was 0 in {flat} of {len(gradients)} "
        "logged steps",
        bound="not all",
        remedy="nothing was trained: look whether any token has a label (`tw show rows RUN --tokens`), at "
        "`lora.targets`, and at `learning_rate`",
        evidence="metrics.jsonl",
    )


def loss_is_learning(
    losses: tuple[float, float], scores: Sequence[float], num_rows: int, metric: str, *, warn: bool = False
) -> Verdict:
    """FAIL when the loss fell while the task's score on dev rows never left the floor.

    A loss may fall on the format, on the wrong tokens, or on what the evaluation does not render: the model gets better
    at something that is not the task. The floor is FLOOR (one row of twenty), or the score at the start if that is
    lower; a model that could do the task before is not at the floor.

    Args:
        losses: mean -log p of the trained tokens, at the start and at the end.
        scores: of the dev rows in [0, 1], from step 0 on.
        num_rows: dev rows.
        metric: what is scored.
        warn: warn instead.
    """
    first, last = losses
    fell = last <= (1 - FELL) * first
    best = max(scores, default=0.0)
    told = " -> ".join(f"{score:.0%}" for score in scores)
    return judge(
        "loss_is_learning",
        not (fell and scores and best <= FLOOR),
        measured=f"loss {first:.3f} -> {last:.3f}; {metric} {told or 'not measured'} on {num_rows} dev rows",
        bound=f"where the loss falls by {FELL:.0%}, a score above {FLOOR:.0%}",
        remedy="read the answers in dev_answers.jsonl beside their references: a wrong format, a template that differs "
        "from training, no end-of-turn, or a task that is too hard for this model",
        evidence="dev.jsonl",
        warn=warn,
    )


def train_dev_gap(train: float, dev: Sequence[float]) -> Verdict:
    """WARN when the loss on the dev rows has risen from its lowest: what is learned since is the training rows.

    Args:
        train: mean -log p of the trained tokens in the last tenth of the steps.
        dev: the same on the dev rows, from step 0 on; the same rows each time, so little of a change is chance.
    """
    lowest, last = min(dev, default=0.0), dev[-1] if dev else 0.0
    return judge(
        "train_dev_gap",
        last <= (1 + ROSE) * lowest + ROSE_NATS,
        measured=f"dev loss {' -> '.join(f'{value:.3f}' for value in dev)}, train {train:.3f} at the end "
        f"(gap {last - train:+.3f})",
        bound=f"at most {ROSE:.0%} and {ROSE_NATS:g} nats above its lowest, {lowest:.3f}",
        remedy="fewer steps or a lower `learning_rate`, or more rows: the dev loss was lowest at measurement "
        f"{(dev.index(lowest) if dev else 0) + 1} of {len(dev)}",
        evidence="dev.jsonl",
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

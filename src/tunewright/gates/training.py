"""Gates on a training run that has ended: `loss_is_finite`, `loss_fell`."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.artifacts.verdict import Verdict, judge


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

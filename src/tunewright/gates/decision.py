"""Gate `score_required`: a decision point. Is the score on the side where the run may go on?

The value decides, since that is what the recipe asks about; the interval says how sure that is. A bound inside the
interval is a decision that another draw of rows could turn round, and the verdict says so, whichever way it fell.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.artifacts.scores import MetricSummary
from tunewright.artifacts.verdict import Verdict, judge
from tunewright.errors import UserError
from tunewright.recipe.sections import Decision

NAME = "score_required"


def score_required(summary: Sequence[MetricSummary], require: Decision, main_metric: str = "") -> Verdict:
    """FAIL (or WARN, as `on_fail` says) when the score is not at least `above`, or not below `below`.

    Raises:
        UserError: the metric was not scored.
    """
    metric = _metric(summary, require.metric or main_metric)
    asked = [(require.above, metric.value >= require.above)] if require.above is not None else []
    asked += [(require.below, metric.value < require.below)] if require.below is not None else []
    inside = [bound for bound, _ in asked if metric.low <= bound <= metric.high]
    named = " and ".join(f"{bound:g}" for bound, _ in asked)
    sure = f"{named} outside the interval: shown"
    if inside:
        sure = f"{' and '.join(f'{bound:g}' for bound in inside)} inside the interval: not shown on so few rows"
    return judge(
        NAME,
        all(right for _, right in asked),
        measured=f"{metric.metric} {metric.value:.3g} ({metric.low:.3g} to {metric.high:.3g}, n = {metric.num_rows}), "
        + sure,
        bound=_bound(require),
        remedy=_remedy(metric, require),
        evidence="scores.jsonl",
        warn=require.on_fail == "warn",
    )


def _metric(summary: Sequence[MetricSummary], name: str) -> MetricSummary:
    for metric in summary:
        if name in ("", metric.metric):
            return metric
    raise UserError(
        f"no metric {name!r} in these scores", where="require.metric",
        expected=" | ".join(metric.metric for metric in summary),
    )  # fmt: skip


def _bound(require: Decision) -> str:
    parts = [f"at least {require.above:g}"] if require.above is not None else []
    parts += [f"below {require.below:g}"] if require.below is not None else []
    return " and ".join(parts)


def _remedy(metric: MetricSummary, require: Decision) -> str:
    if require.below is not None and metric.value >= require.below:
        return "the model can do this already: a harder task, or no training; or is it another model than was meant?"
    return "more or better rows, more steps, a larger model; read the failures in the report before any of them"

"""The paired test of one metric, chosen by its scores and by how its rows are grouped; docs/statistics.md says why."""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.artifacts.comparison import Outcome, PairedTest
from tunewright.stages.compare.pairs import Paired
from tunewright.stats import paired as stats
from tunewright.stats.corrections import holm
from tunewright.stats.groups import design_effect
from tunewright.stats.power import least_detectable, least_detectable_paired


def paired_tests(metrics: Sequence[Paired], confidence: float, seed: int) -> list[PairedTest]:
    """Return the test of each metric, p-values Holm-corrected over them, with the verdict that follows."""
    tests = [paired_test(metric, confidence, seed) for metric in metrics]
    return [
        test.model_copy(update={"p_value": p, "verdict": outcome(test.gain, p, confidence)})
        for test, p in zip(tests, holm([test.p_value_raw for test in tests]), strict=True)
    ]


def paired_test(metric: Paired, confidence: float, seed: int) -> PairedTest:
    """Return the test of one metric by itself."""
    difference = metric.candidate - metric.baseline
    num_rows, num_groups = len(difference), len(set(metric.groups))
    gained, lost = int((metric.gains > 0).sum()), int((metric.gains < 0).sum())
    effect = design_effect(difference, metric.groups)
    by_group = " by group" if num_groups < num_rows else ""
    if metric.binary:
        name = "exact McNemar" + by_group
        p_value = stats.mcnemar_by_group(difference, metric.groups)
        # One discordant row more on either side (Agresti & Min 2005): none seen does not mean that there are none.
        discordance = (gained + lost + 2) / (num_rows + 2)
        least = least_detectable_paired(num_rows / effect, discordance, confidence=confidence) or 1.0
    else:
        name = "paired permutation" + by_group
        p_value = stats.permutation_p(difference, metric.groups, seed)
        least = least_detectable(stats.difference_error(difference, metric.groups), confidence=confidence)
        least = min(least, stats.largest_difference(metric.baseline, metric.candidate))
    return PairedTest(
        metric=metric.metric,
        baseline=float(metric.baseline.mean()),
        candidate=float(metric.candidate.mean()),
        difference=float(difference.mean()),
        interval=stats.difference_interval(metric.baseline, metric.candidate, metric.groups, confidence),
        p_value=p_value,
        p_value_raw=p_value,
        test=name,
        num_rows=num_rows,
        num_groups=num_groups,
        gained=gained,
        lost=lost,
        least_detectable=least,
        verdict=outcome(float(metric.gains.mean()), p_value, confidence),
        higher_is_better=metric.higher_is_better,
        unscored=metric.unscored,
        design_effect=effect,
    )


def outcome(gain: float, p_value: float, confidence: float) -> Outcome:
    """Return the verdict: never "equal", since absence of evidence shows nothing."""
    if p_value >= 1 - confidence:
        return "not shown"
    return "better" if gain > 0 else "worse"

"""Gate `better_than_baseline`: did the candidate win by as much as the recipe asks for?"""

from __future__ import annotations

from tunewright.artifacts.comparison import PairedTest
from tunewright.artifacts.verdict import Status, Verdict, judge
from tunewright.recipe.sections import Require

NAME = "better_than_baseline"


def better_than_baseline(test: PairedTest, require: Require | None) -> Verdict:
    """Judge the main metric.

    With `require`: FAILED (WARNED with `on_fail: warn`) unless the difference reaches `better_by` and is significant.
    Without: FAILED only when the
    candidate is shown to be worse, WARNED when nothing is shown.
    """
    measured = (
        f"{test.metric} {test.baseline:.1%} -> {test.candidate:.1%} "
        f"({100 * test.difference:+.1f} points, {100 * test.interval[0]:+.1f} to {100 * test.interval[1]:+.1f}), "
        f"p = {test.p_value:.2g}, n = {test.num_rows}"
    )
    if test.unscored:
        measured += f"; {test.unscored} more rows are unscored and count for neither side"
    if require is not None:
        return judge(
            NAME,
            test.verdict == "better" and test.gain >= require.better_by,
            measured=measured,
            bound=f"better by at least {100 * require.better_by:.1f} points, and significant",
            remedy=_remedy(test),
            evidence="comparison.json",
            warn=require.on_fail == "warn",
        )
    status = {"better": Status.PASSED, "worse": Status.FAILED, "not shown": Status.WARNED}[test.verdict]
    return Verdict(
        name=NAME,
        status=status,
        measured=measured,
        bound="not worse",
        remedy="" if status is Status.PASSED else _remedy(test),
        evidence="comparison.json",
    )


def _remedy(test: PairedTest) -> str:
    if test.verdict == "worse":
        return "keep the baseline; read the rows it lost in the report, then change data or learning rate"
    if test.verdict == "not shown":
        return (
            f"so many rows show a difference of {100 * test.least_detectable:.1f} points at best; what they show is "
            f"that it is not worse by more than {100 * test.not_worse_by:.1f}: evaluate on more rows, or train for a "
            "larger effect"
        )
    return "it is better, but by less than asked for: more or better rows, more steps, or a lower `better_by`"

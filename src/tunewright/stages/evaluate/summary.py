"""What the scores of all rows come to: a value and a 95% interval for every metric, and pass@k with repeats.

Answers without a score count in nothing. The question is what was sampled: repeats are averaged first, and rows of one
cluster count as the fewer rows that they are worth.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tunewright.artifacts.scores import MetricSummary, ScoreRow
from tunewright.stats.bootstrap import cluster_draws
from tunewright.stats.groups import group_index
from tunewright.stats.intervals import metric_interval
from tunewright.stats.repeats import pass_k_estimate, repeated_mean
from tunewright.suites.protocol import Metric, Suite

AGGREGATE_DRAWS = 1000  # each draw computes the metric again over all rows
MOST = 1e300


def summarise(rows: Sequence[ScoreRow], suite: Suite, seed: int) -> list[MetricSummary]:
    """Return every metric that some row scores; `intervals_in_words` says how the intervals are made."""
    found = []
    for metric in suite.metrics:
        counted = [row for row in rows if metric.name in row.scores]
        if counted:
            found.append(_summary(metric, counted, suite, seed))
    return found


def _summary(metric: Metric, rows: list[ScoreRow], suite: Suite, seed: int) -> MetricSummary:
    whole = suite.aggregate(rows) if suite.aggregate else {}
    if metric.name in whole:
        value = whole[metric.name]
        low, high = _aggregate_interval(metric.name, rows, suite, seed)
    else:
        value, low, high = _mean_and_interval(metric.name, rows)
    return MetricSummary(
        metric=metric.name,
        value=value,
        low=low,
        high=high,
        num_rows=len({row.row_id for row in rows}),
        denominator=metric.denominator,
        binary=metric.binary,
        higher_is_better=metric.higher_is_better,
    )


def _mean_and_interval(name: str, rows: Sequence[ScoreRow]) -> tuple[float, float, float]:
    values, groups = [row.scores[name] for row in rows], [row.group for row in rows]
    if any(row.repeat for row in rows):
        estimate = repeated_mean(values, [row.row_id for row in rows], groups)
        value, low, high = estimate.value, estimate.low, estimate.high
    else:
        value, (low, high) = sum(values) / len(values), metric_interval(values, groups)
    # one cluster says nothing of others: its interval has no ends, and JSON has no infinity
    return value, max(low, -MOST), min(high, MOST)


def _aggregate_interval(name: str, rows: Sequence[ScoreRow], suite: Suite, seed: int) -> tuple[float, float]:
    """Return the percentile bootstrap over clusters of a metric that is no mean over rows."""
    assert suite.aggregate is not None
    index, num_groups = group_index([row.group for row in rows])
    if num_groups == 1:
        return -MOST, MOST  # as for a mean: it says nothing of others
    members: list[list[ScoreRow]] = [[] for _ in range(num_groups)]
    for row, group in zip(rows, index, strict=True):
        members[group].append(row)
    values = []
    for draws in cluster_draws(num_groups, seed, AGGREGATE_DRAWS):
        for counts in draws.astype(int):
            drawn = [row for group, times in zip(members, counts, strict=True) for row in group * times]
            values.append(suite.aggregate(drawn).get(name))
    low, high = np.quantile([value for value in values if value is not None], [0.025, 0.975])
    return float(low), float(high)


def pass_k(rows: Sequence[ScoreRow], suite: Suite, repeats: int) -> tuple[MetricSummary, ...]:
    """Return pass@k and pass^k of the main metric for k = 1, 2, 4, … and all answers; empty where it is graded."""
    metric = next((one for one in suite.metrics if one.name == suite.main_metric), None)
    if repeats < 2 or metric is None or not metric.binary:
        return ()
    answers: dict[str, list[ScoreRow]] = defaultdict(list)
    for row in rows:
        if metric.name in row.scores:
            answers[row.row_id].append(row)
    if not answers:
        return ()
    right = [int(sum(row.scores[metric.name] for row in of_row)) for of_row in answers.values()]
    counts = [len(of_row) for of_row in answers.values()]
    groups = [of_row[0].group for of_row in answers.values()]
    sizes = sorted({2**power for power in range(1, repeats.bit_length()) if 2**power <= repeats} | {repeats})
    found = []
    for k in (k for k in sizes if k <= min(counts)):
        for sign, all_of_them in (("@", False), ("^", True)):
            estimate = pass_k_estimate(right, counts, k, all_of_them=all_of_them, groups=groups)
            found.append(
                MetricSummary(
                    metric=f"{metric.name} pass{sign}{k}",
                    value=estimate.value,
                    low=estimate.low,
                    high=estimate.high,
                    num_rows=len(counts),
                    denominator=metric.denominator,
                    binary=False,
                )
            )
    return tuple(found)


def intervals_in_words(rows: Sequence[ScoreRow], repeats: int) -> str:
    """Return how the intervals were made."""
    num_rows, num_groups = len({row.row_id for row in rows}), len({row.group for row in rows})
    clustered = f", as many as {num_groups} groups are worth" if num_groups < num_rows else ""
    averaged = f" of means over {repeats} answers" if repeats > 1 else ""
    return f"95%, Wilson on {num_rows} rows{averaged}{clustered}; Student's t or a bootstrap for what is no share"

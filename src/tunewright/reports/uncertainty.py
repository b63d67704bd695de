"""How the entropies of the trained tokens moved while a model trained: ridges over time, and where the loss lay.

reads    lines of metrics.jsonl with `entropy_histogram` and `nll_by_entropy_decile` (losses/metrics.py)

Runs from before these were written have none, and nothing is shown of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tunewright.reports import charts, words
from tunewright.reports.columns import Series, columns, ridge

NUM_RIDGES = 7
LOWEST_NATS, HIGHEST_NATS, NUM_BINS = 1e-6, 12.6, 64  # those of `losses.metrics.histogram_edges`; a test compares
BINS_A_POINT = 2  # bins drawn as one: the noise of a few thousand tokens is not worth a spike
SURE_NATS = 0.01  # half of all tokens of reasoning lie below (arXiv:2506.01939)
AXIS_NATS = (1e-6, 1e-4, 0.01, 1.0)

Line = dict[str, Any]


def bin_edges() -> list[float]:
    """Return the edges in nats of `entropy_histogram`; its first bin also holds all below it."""
    step = math.log(HIGHEST_NATS / LOWEST_NATS) / NUM_BINS
    return [LOWEST_NATS * math.exp(step * index) for index in range(NUM_BINS + 1)]


def uncertainty(lines: Sequence[Line]) -> dict[str, Any] | None:
    """Return the figures of one training for the template, or None where the run did not write them."""
    told = [line for line in lines if _is_histogram(line.get("entropy_histogram"))]
    if not told:
        return None
    parts = _slices(told)
    return {
        "ridges": _ridges(parts),
        "axis": Markup(_axis()),
        "deciles": _deciles(parts),
    }


def _is_histogram(value: Any) -> bool:
    return isinstance(value, list) and len(value) == NUM_BINS and sum(value) > 0


def _slices(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines in at most NUM_RIDGES stretches of the training, all about as long."""
    count = min(NUM_RIDGES, len(lines))
    cuts = [round(index * len(lines) / count) for index in range(count + 1)]
    return [list(lines[left:right]) for left, right in itertools.pairwise(cuts)]


def _steps(part: Sequence[Line]) -> str:
    first, last = part[0]["step"], part[-1]["step"]
    return f"step {words.count(first)}" if first == last else f"steps {words.count(first)}–{words.count(last)}"


def _counts(part: Sequence[Line]) -> list[float]:
    return [float(sum(column)) for column in zip(*(line["entropy_histogram"] for line in part), strict=True)]


def _ridges(parts: Sequence[Sequence[Line]]) -> list[dict[str, Any]]:
    counted = [_counts(part) for part in parts]
    points = [[sum(c[at : at + BINS_A_POINT]) for at in range(0, NUM_BINS, BINS_A_POINT)] for c in counted]
    highest = max(max(point) / sum(point) for point in points)
    return [_ridge(*one, highest) for one in zip(parts, counted, points, strict=True)]


def _ridge(part: Sequence[Line], counts: Sequence[float], points: Sequence[float], highest: float) -> dict[str, Any]:
    means = [line["entropy"] for line in part if line.get("entropy") is not None]
    mean = f"{words.significant(sum(means) / len(means))}" if means else "–"
    sure = words.percent(_share_below(counts, SURE_NATS))
    spoken = f"{_steps(part)}: mean entropy {mean} nats, {sure} of the tokens below {SURE_NATS} nats"
    return {"steps": _steps(part), "mean": mean, "sure": sure, "svg": Markup(ridge(points, highest, spoken))}


def _share_below(counts: Sequence[float], nats: float) -> float:
    """Return the share of the tokens in bins that end at or below `nats`, give or take half a bin."""
    inside = sum(count for count, edge in zip(counts, bin_edges()[1:], strict=True) if edge <= nats * 1.13)
    return inside / sum(counts)


def _axis() -> str:
    scale = charts.Scale(math.log(LOWEST_NATS), math.log(HIGHEST_NATS))
    return charts.axis(scale, [math.log(nats) for nats in AXIS_NATS], ["≈ 0", "0.0001", "0.01", "1 nat"])


def _deciles(parts: Sequence[Sequence[Line]]) -> dict[str, Any] | None:
    """Return the share of the loss by tenth of entropy, at the start of the training and at its end."""
    ends = list(dict.fromkeys((0, len(parts) - 1)))
    shares = [_mean_shares(parts[index]) for index in ends]
    if not all(shares):
        return None
    css = ("base", "tuned") if len(ends) > 1 else ("tuned",)
    names = [_steps(parts[index]) for index in ends]
    told = [[f"{name}: tenth {n} of the tokens, {words.percent(share)} of the loss" for n, share in enumerate(row, 1)]
            for name, row in zip(names, shares, strict=True)]  # fmt: skip
    series = [
        Series(one, [100 * share for share in row], says) for one, row, says in zip(css, shares, told, strict=True)
    ]
    axis = charts.axis(charts.Scale(0, 10), (0.5, 9.5), ("surest", "least sure"))
    svg = columns(series, f"share of the loss by tenth of entropy, {words.join_words(names)}")
    return {"svg": Markup(svg), "axis": Markup(axis), "key": list(zip(css, names, strict=True))}


def _mean_shares(part: Sequence[Line]) -> list[float]:
    rows = [line["nll_by_entropy_decile"] for line in part if line.get("nll_by_entropy_decile")]
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)] if rows else []

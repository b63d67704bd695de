"""Distributions as SVG text: columns side by side, and ridges over time. The same rules as in `charts.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tunewright.reports import charts
from tunewright.reports.charts import CURVE_HEIGHT, Scale

SLOT_FILLED = 0.82  # of a slot's width; the rest parts neighbours
RIDGE_HEIGHT = 46


@dataclass(frozen=True)
class Series:
    """The columns of one model: `role` is the CSS class (`base` hollow, `tuned` filled)."""

    role: str
    values: Sequence[float | None]
    titles: Sequence[str]
    """what each column says when it is pointed at"""


def columns(series: Sequence[Series], label: str) -> str:
    """Return a column chart with ticks from 0; the series of a slot stand side by side.

    Args:
        series: one or two, of equal length; None leaves a gap.
        label: what a screen reader says.
    """
    highest = max((value for one in series for value in one.values if value is not None), default=0.0)
    y_ticks = charts.ticks(0.0, highest or 1.0)
    y_scale = Scale(0.0, y_ticks[-1])
    bars = "".join(_bars(one, index, len(series), y_scale) for index, one in enumerate(series))
    return (
        f'<svg class="columns" width="100%" height="{CURVE_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{charts.grid(y_ticks, y_scale)}{bars}</svg>"
    )


def _bars(series: Series, index: int, num_series: int, y_scale: Scale) -> str:
    slot = 100 / len(series.values)
    width = SLOT_FILLED * slot / num_series
    parts = []
    for place, (value, title) in enumerate(zip(series.values, series.titles, strict=True)):
        if value is not None:
            x = slot * (place + (1 - SLOT_FILLED) / 2) + index * width
            parts.append(_bar(x, width, y_scale.at(value), title, series.role))
    return "".join(parts)


def _bar(x: float, width: float, height: float, title: str, role: str) -> str:
    return (
        f'<rect class="{escape(role)}" x="{x:.2f}%" width="{width:.2f}%" y="{100 - height:.2f}%" '
        f'height="{height:.2f}%"><title>{escape(title)}</title></rect>'
    )


def ridge(counts: Sequence[float], highest: float, label: str) -> str:
    """Return one ridge: the outline of a histogram, to be set close under the one before.

    Args:
        counts: of the bins; their share of the sum is drawn.
        highest: the share that takes the full height, the same for all ridges of a figure.
        label: what a screen reader says.
    """
    total = sum(counts) or 1.0
    heights = [100 - 100 * count / total / (highest or 1.0) for count in counts]
    spots = [(index + 0.5, y) for index, y in enumerate(heights)]
    line = " ".join(f"{x:g},{y:.1f}" for x, y in [(0, heights[0]), *spots, (len(heights), heights[-1])])
    return (
        f'<svg class="ridge" width="100%" height="{RIDGE_HEIGHT}" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {len(counts)} 100" preserveAspectRatio="none"><title>{escape(label)}</title>'
        f'<polygon points="0,100 {line} {len(counts)},100"/>'
        f'<polyline points="{line}" vector-effect="non-scaling-stroke"/></svg>'
    )

"""Charts as SVG text. Pure functions: numbers in, one `<svg>` element out, everything escaped.

Two kinds are enough here: a value with its interval on a common scale (`whisker`), and a curve over steps (`curve`).
Positions are in percent and there is no view box around text, so that a chart takes any width while its type keeps
its size: the same element is right on a phone, on a wide screen and on paper. Colours come from the page's style
sheet through classes; no chart says something by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tunewright.reports.words import significant

LANE_HEIGHT = 26
CURVE_HEIGHT = 150
TINY = 1e-300  # below this arithmetic runs out of digits
MOST_POINTS = 600  # about one a pixel of the widest plot: more makes the page heavy and the line no truer


@dataclass(frozen=True)
class Scale:
    """A linear scale: `low` lies at 0%, `high` at 100% of the width or height."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """Return the position of `value` in percent, kept inside the plot."""
        width = self.high - self.low
        share = (value - self.low) / width if width else 0.5
        return round(100 * min(max(share, 0.0), 1.0), 2)


RATES = Scale(0.0, 1.0)


def around_zero(values: Sequence[float]) -> Scale:
    """Return a scale in whole tenths that holds 0 and all `values`, and a tenth to either side of 0."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return Scale(min(math.floor(10 * low) / 10, -0.1), max(math.ceil(10 * high) / 10, 0.1))


def ticks(low: float, high: float, at_most: int = 4) -> list[float]:
    """Return round numbers (1, 2, 2.5 or 5 times a power of ten) that cover `low` to `high`, the ends included."""
    size = max(abs(low), abs(high))
    if high - low <= 1e-6 * size or size < TINY:  # flat, or as good as: ticks would be equal after rounding
        spare = size / 2 if size >= TINY else 0.5
        low, high = low - spare, high + spare
    rough = (high - low) / at_most
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{index * step:.9g}") for index in range(first, last + 1)]


def smooth(values: Sequence[float], width: int) -> list[float]:
    """Return the centred moving mean over `width` values; at the ends over those that are there."""
    half = width // 2
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def smoothing_width(num_points: int) -> int:
    """Return an odd window of about a twelfth of the points; 1, which is none, for short curves."""
    return 1 if num_points < 12 else max(3, num_points // 12 | 1)


def thin(points: Sequence[tuple[float, float]], at_most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return at most `at_most` of the points, evenly spaced, the first and the last among them."""
    if len(points) <= at_most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (at_most - 1))] for i in range(at_most)]


def whisker(value: float, low: float, high: float, *, scale: Scale, label: str, role: str) -> str:
    """Return a dot with its interval on one lane; a scale that reaches below 0 gets a line at 0.

    Args:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
        scale: what 0% and 100% of the width mean.
        label: what a screen reader says, and the tool tip.
        role: `base`, `beside` or `tuned` (a ring, a diamond, a disc), or an outcome; becomes the CSS class.
    """
    middle, left, right, at = LANE_HEIGHT / 2, scale.at(low), scale.at(high), scale.at(value)
    return (
        f'<svg class="whisker {escape(role)}" width="100%" height="{LANE_HEIGHT}" role="img" '
        f'aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f"{_zero(scale)}"
        f'<line class="span" x1="{left}%" x2="{right}%" y1="{middle}" y2="{middle}"/>'
        + "".join(_cap(x, middle) for x in (left, right))
        + _mark(role, at, middle)
        + "</svg>"
    )


def _zero(scale: Scale) -> str:
    return f'<line class="zero" x1="{scale.at(0)}%" x2="{scale.at(0)}%" y1="0" y2="100%"/>' if scale.low < 0 else ""


def _cap(x: float, middle: float) -> str:
    return f'<line class="span" x1="{x}%" x2="{x}%" y1="{middle - 4}" y2="{middle + 4}"/>'


def _mark(role: str, x: float, middle: float) -> str:
    """A diamond for what stands beside, else a disc; the style sheet makes a ring of the base's."""
    if role != "beside":
        return f'<circle class="dot" cx="{x}%" cy="{middle}" r="5"/>'
    return (
        f'<svg x="{x}%" y="{middle}" overflow="visible"><rect class="dot" x="-4.4" y="-4.4" width="8.8" height="8.8" '
        'transform="rotate(45)"/></svg>'
    )


def axis(scale: Scale, at: Sequence[float], labels: Sequence[str]) -> str:
    """Return the labels under lanes; a screen reader skips them, since each lane says its own numbers."""
    texts = (f'<text x="{scale.at(x)}%" y="14">{escape(text)}</text>' for x, text in zip(at, labels, strict=True))
    return f'<svg class="axis" width="100%" height="18" aria-hidden="true">{"".join(texts)}</svg>'


def curve(points: Sequence[tuple[float, float]], *, ident: str, label: str, smoothed: bool = True) -> str:
    """Return a line over steps with round ticks, and a cursor that the page's script moves.

    Args:
        points: `(step, value)`, steps rising; at least one.
        ident: key of the curve's numbers in the page's data.
        label: what a screen reader says.
        smoothed: draw the moving mean strongly, and the points themselves thinly behind it.
    """
    shown, mean = with_mean(points, smoothed)
    x_scale, y_ticks = step_scale(shown), value_ticks(shown)
    y_scale = Scale(y_ticks[0], y_ticks[-1])
    raw_class = "raw" if mean else "main"
    lines = _path(shown, x_scale, y_scale, raw_class) + (_path(mean, x_scale, y_scale, "main") if mean else "")
    return (
        f'<svg class="curve" data-curve="{escape(ident)}" width="100%" height="{CURVE_HEIGHT}" role="img" tabindex="0" '
        f'aria-label="{escape(label)}">{grid(y_ticks, y_scale)}'
        f'<svg width="100%" height="100%" viewBox="0 0 100 100" preserveAspectRatio="none">{lines}</svg>'
        '<line class="cursor" y1="0" y2="100%" x1="0" x2="0" visibility="hidden"/>'
        '<circle class="cursor-dot" r="4" cx="0" cy="0" visibility="hidden"/></svg>'
    )


def with_mean(
    points: Sequence[tuple[float, float]], smoothed: bool
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return the points that are drawn, and their moving mean; no mean for short curves or where none is wanted."""
    width = smoothing_width(len(points)) if smoothed else 1
    shown = thin(points)
    if width == 1:
        return shown, []
    mean = smooth([y for _, y in points], width)
    return shown, thin(list(zip([x for x, _ in points], mean, strict=True)))


def step_scale(points: Sequence[tuple[float, float]]) -> Scale:
    """Return the scale of the steps: from the first to the last point."""
    return Scale(points[0][0], points[-1][0])


def value_ticks(points: Sequence[tuple[float, float]]) -> list[float]:
    """Return the ticks of the values. Zero is shown when it is near: a cut axis makes small changes look large."""
    values = [y for _, y in points]
    low, high = min(values), max(values)
    return ticks(0.0 if 0 <= low < 0.6 * high else low, high)


def grid(at: Sequence[float], scale: Scale) -> str:
    """Return hairlines and their values, for inside a plot."""
    parts = []
    for value in at:
        y = round(100 - scale.at(value), 2)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y}%" y2="{y}%"/>')
        parts.append(f'<text class="tick" x="0" y="{y}%" dx="-8" dy="4">{escape(significant(value))}</text>')
    return "".join(parts)


def _path(points: Sequence[tuple[float, float]], x_scale: Scale, y_scale: Scale, css: str) -> str:
    spots = " ".join(f"{x_scale.at(x)},{round(100 - y_scale.at(y), 2)}" for x, y in points)
    return f'<polyline class="{css}" points="{spots}" vector-effect="non-scaling-stroke"/>'


def bar(share: float, label: str) -> str:
    """Return a horizontal bar over `share` (0 to 1) of the width."""
    width = round(100 * min(max(share, 0.0), 1.0), 2)
    return (
        f'<svg class="bar" width="100%" height="10" role="img" aria-label="{escape(label)}">'
        f'<rect x="0" y="1" height="8" width="{width}%"/></svg>'
    )


def tug(left: float, right: float, label: str) -> str:
    """Return two bars from a line in the middle: what was lost to the left, what was gained to the right.

    Args:
        left: length of the left bar, as a share (0 to 1) of its half.
        right: that of the right one.
        label: what a screen reader says, and the tool tip.
    """
    lost, gained = (round(50 * min(max(share, 0.0), 1.0), 2) for share in (left, right))
    return (
        f'<svg class="tug" width="100%" height="14" role="img" aria-label="{escape(label)}">'
        f"<title>{escape(label)}</title>"
        f'<rect class="lost" x="{round(50 - lost, 2)}%" y="2" height="10" width="{lost}%"/>'
        f'<rect class="gained" x="50%" y="2" height="10" width="{gained}%"/>'
        '<line class="zero" x1="50%" x2="50%" y1="0" y2="100%"/></svg>'
    )

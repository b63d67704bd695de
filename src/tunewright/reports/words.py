"""Numbers and findings as a person says them. Pure functions, text in and text out.

Rates are kept in [0, 1] everywhere and become percent only here; a difference of two rates is given in points. The
minus sign is the real one (U+2212), so that a column of differences lines up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tunewright.artifacts.comparison import Outcome, PairedTest
from tunewright.errors import printable as printable  # for the modules that print
from tunewright.progress import clock

MINUS = "−"
NO_END = 1e300  # records hold it for the end of an interval that has none: JSON has no infinity
SMALLEST_P = 1e-12  # below this a p-value says no more than "certain, if the assumptions hold"

SKILLS = {
    "tool-calls": "calls tools",
    "exact-match": "answers",
    "extraction": "extracts",
    "instructions": "follows instructions",
    "multiple-choice": "answers",
    "multiple-choice-letter": "answers",
    "reasoning-gym": "reasons",
    "ranking": "ranks",
    "perplexity": "predicts text",
}
"""What a model does in a suite, as a verb."""

CHOICES: dict[str, str] = {"better": "keep", "worse": "drop", "not shown": "not shown"}
"""What to do with a change of that outcome."""

_ABBREVIATIONS = {"json": "JSON", "f1": "F1", "bfcl": "BFCL", "ndcg": "nDCG", "mrr": "MRR"}


def metric_label(metric: str) -> str:
    """Return `call_f1` as `call F1`."""
    return " ".join(_ABBREVIATIONS.get(word, word) for word in metric.replace("-", "_").split("_"))


def decimal(value: float, digits: int = 1) -> str:
    """Return `value` rounded, without trailing zeros, with a real minus sign: `48`, `48.7`, `−3.2`."""
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "0") else text.replace("-", MINUS)


def percent(rate: float) -> str:
    """Return a rate in [0, 1] as `48.7%`; a rate that is almost, but not, none or all is not rounded to it."""
    if 0 < rate < 0.0005:
        return "<0.1%"
    if 0.9995 < rate < 1:
        return ">99.9%"
    return f"{decimal(100 * rate)}%"


def points(difference: float) -> str:
    """Return a difference of two rates as `+48 points`."""
    text = decimal(100 * difference)
    sign = "+" if not text.startswith(MINUS) and text != "0" else ""
    unit = "point" if text.lstrip(MINUS) == "1" else "points"
    return f"{sign}{text} {unit}"


def interval(low: float, high: float) -> str:
    """Return an interval of rates, or of their differences, in percent or points without the unit: `40 to 56`."""
    return f"{decimal(100 * low)} to {decimal(100 * high)}"


@dataclass(frozen=True)
class Unit:
    """How the scores of a metric are said: as rates in percent and points, or as plain numbers."""

    is_rate: bool

    @classmethod
    def of(cls, values: Iterable[float]) -> Unit:
        """Return that of a metric with these values: what leaves [0, 1], as a perplexity does, is no rate."""
        return cls(all(0 <= value <= 1 for value in values))

    def value(self, score: float) -> str:
        """Return a score: `48%`, `12.3`."""
        return percent(score) if self.is_rate else significant(score)

    def difference(self, difference: float) -> str:
        """Return a difference of two scores with its sign: `+48 points`, `+1.2`."""
        if self.is_rate:
            return points(difference)
        return ("+" if difference > 0 else "") + significant(difference)

    def interval(self, low: float, high: float) -> str:
        """Return an interval of scores, or of their differences, without a unit."""
        return interval(low, high) if self.is_rate else f"{significant(low)} to {significant(high)}"


def unit_of(test: PairedTest) -> Unit:
    """Return how the numbers of a paired test are said; what is better when lower, as bits per byte, is no rate."""
    return Unit(test.higher_is_better and Unit.of((test.baseline, test.candidate)).is_rate)


def p_value(p: float) -> str:
    """Return `p = 0.031`, `p = 3e-5`, or `p < 1e-12`."""
    if p < SMALLEST_P:
        return "p < 1e-12"
    if p < 0.001:
        mantissa, exponent = f"{p:.0e}".split("e")
        return f"p = {mantissa}e{int(exponent)}"
    return f"p = {p:.2g}" if p < 0.1 else f"p = {decimal(p, 2)}"


def count(number: float) -> str:
    """Return a whole number with its thousands apart: `270,123`."""
    return f"{round(number):,}"


def plural(number: int, noun: str, many: str | None = None) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{count(number)} {noun if number == 1 else many or noun + 's'}"


def significant(value: float, digits: int = 3) -> str:
    """Return a plain number of no fixed size: `0.312`, `12.4`, `1,040`, `2.5e-4`; what stands for no end is `∞`."""
    if value == 0:
        return "0"
    if abs(value) >= NO_END:
        return "∞" if value > 0 else f"{MINUS}∞"
    if abs(value) >= 999.5:
        return count(value).replace("-", MINUS)
    if abs(value) < 0.001:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{decimal(float(mantissa), digits - 1)}e{int(exponent)}"
    return f"{value:.{digits}g}".replace("-", MINUS)


def took(seconds: float | None) -> str:
    """Return how long something took, or a dash where nobody knows."""
    if seconds is None:
        return "–"
    return clock(seconds) if seconds >= 1 else "under 1 s"


def moment(iso: str | None, *, with_time: bool = True) -> str:
    """Return an ISO 8601 time as `21 November 2026, 05:28 UTC`; what is no such time comes back as it is."""
    if not iso:
        return "–"
    try:
        when = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    when = when.astimezone(UTC) if when.tzinfo else when
    day = f"{when.day} {when:%B %Y}"
    return f"{day}, {when:%H:%M} UTC" if with_time else day


def model_name(model: str) -> str:
    """Return the last part of a folder, file or hub id: what people call the model."""
    return model.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")


def evidence(test: PairedTest, confidence: float) -> str:
    """Return the numbers of one paired test: `+48 points, 95% interval 40 to 56, p < 1e-12, n = 150`."""
    unit = unit_of(test)
    return ", ".join(
        (
            unit.difference(test.difference),
            f"{percent(confidence)} interval {unit.interval(*test.interval)}",
            p_value(test.p_value),
            f"n = {count(test.num_rows)}",
        )
    )


def change(test: PairedTest) -> str:
    """Return `args exact 0% → 48%`."""
    unit = unit_of(test)
    return f"{metric_label(test.metric)} {unit.value(test.baseline)} → {unit.value(test.candidate)}"


def claim(test: PairedTest, verdict: Outcome, *, model: str, suite: str) -> str:
    """Return the finding of a comparison without its evidence: `… calls tools better: args exact 0% → 48%`.

    Args:
        test: the paired test of the main metric.
        verdict: of the comparison.
        model: as the recipe names it.
        suite: decides the verb.
    """
    does = f"{model_name(model)} {SKILLS.get(suite, 'does')}"
    if verdict == "not shown":
        return f"Not shown that {does} better: {change(test)}"
    return f"{does} {verdict}: {change(test)}"


def beside_sentence(test: PairedTest, baseline: str, confidence: float) -> str:
    """Return the finding against a further baseline, named `baseline` in words."""
    return f"Against {baseline}: {test.verdict}, {change(test)} ({evidence(test, confidence)})."


def power_sentence(test: PairedTest) -> str:
    """Return what this many rows could have shown."""
    least = unit_of(test).difference(test.least_detectable).lstrip("+")
    return f"{plural(test.num_rows, 'row')} like these show a true difference of {least} or more with 80% power."


def join_words(items: Iterable[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    *head, last = [*items] or [""]
    return f"{', '.join(head)} and {last}" if head else last

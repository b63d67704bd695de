r"""Grader `number`: is the answer's number right, within a tolerance?

Where the number stands in the answer (`where`):

    last     the last number in the text
    boxed    inside the last \boxed{…}
    hashes   after the last ####, as GSM8K's references have it
    tag      inside the last <answer>…</answer>
    auto     the first of boxed, hashes, tag that has a number, else the last number; a heading is no hashes
    only     the whole text, and nothing else

The reference is read in the same way (`auto`), so a worked solution may serve as one. Numbers may have a sign,
thousands separators, a decimal part, an exponent, a % or currency sign (which do not change the value), or be a
fraction: 3/4, \frac{3}{4}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from tunewright.graders.base import SampleGrader
from tunewright.graders.protocol import Grade, Sample
from tunewright.graders.spec import Context, GraderSpec, Template
from tunewright.graders.template import Unscored, render

# Every part begins with another kind of character than the one before it ends with, so a scan is linear.
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][-+]?\d{1,3})?|\.\d+")
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d{1,20})\}\{(\d{1,20})\}")
_SLASH = re.compile(r"\s{0,3}/\s{0,3}(\d{1,20})(?![\d.,]*\d)")
_COMMAND = re.compile(r"\\[a-zA-Z]+")  # of LaTeX
_ITEM = re.compile(r"[\s*_]*\d+[.):][\s*_]+[^\W\d_]")  # of a numbered list
MAX_DIGITS = 300
MAX_READ = 20_000  # characters: the number that counts stands at the end

Where = Literal["auto", "last", "boxed", "hashes", "tag", "only"]


class Spec(GraderSpec):
    """Compare a number."""

    type: Literal["number"]
    input: Template = Field(default="{{ sample.output_text }}", description="the text that is graded")
    reference: Template = Field(default="{{ item.reference }}", description="the right number, or a text that has it")
    where: Where = Field(default="auto", description="where the number stands in the answer")
    tolerance: float = Field(default=0.0, ge=0, description="largest absolute difference that is still right")
    relative_tolerance: float = Field(default=1e-9, ge=0, description="the same as a share of the reference")


class Number(SampleGrader):
    """Compares the number of an answer with the reference's."""

    type = "number"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return 1.0 or 0.0; an answer without a number is wrong, a reference without one is an error."""
        spec = self._spec
        wanted = find_number(render(spec.reference, sample, item), "auto")
        if wanted is None:
            raise Unscored("invalid_variable_error", "the reference has no number")
        said = find_number(render(spec.input, sample, item), spec.where)
        if said is None:
            return Grade(0.0, "no number")
        right = math.isclose(said, wanted, rel_tol=spec.relative_tolerance, abs_tol=spec.tolerance)
        return Grade(float(right), f"{said:g}" if right else f"{said:g} is not {wanted:g}")


def find_number(text: str, where: Where) -> float | None:
    """Return the number of an answer, or None if it has none there."""
    if where == "auto":
        places = (_boxed(text), _marked(text), _tag(text), text)
        return next((number for place in places if place and (number := last_number(place)) is not None), None)
    if where == "only":
        numbers = _numbers(text)
        rest = text.strip().lstrip("+-$€£").rstrip("%.")
        return numbers[-1] if len(numbers) == 1 and rest and not rest.strip("0123456789.,eE/+- ") else None
    place = text if where == "last" else _PLACES[where](text)
    return None if place is None else last_number(place)


def last_number(text: str) -> float | None:
    """Return the last number in `text`, or None. Linear in its length."""
    numbers = _numbers(text)
    return numbers[-1] if numbers else None


def _numbers(text: str) -> list[float]:
    r"""Return the numbers of the last MAX_READ characters; a fraction is one, a \frac too."""
    text = text[-MAX_READ:]
    text = _FRACTION.sub(lambda found: f" {found[1]}/{found[2]} ", text)
    found: list[float] = []
    at = 0
    while (match := _NUMBER.search(text, at)) is not None:
        at = match.end()
        value = _value(match[0])
        slash = _SLASH.match(text, at)
        if slash is not None and value is not None and int(slash[1]):
            value, at = value / int(slash[1]), slash.end()
        if value is not None:
            found.append(-value if _is_negative(text, match.start()) else value)
    return found


def _value(digits: str) -> float | None:
    value = float(digits.replace(",", "")) if len(digits) <= MAX_DIGITS else math.inf
    return value if math.isfinite(value) else None


def _is_negative(text: str, begin: int) -> bool:
    """True for a minus before the number, a currency sign between or not; not for the hyphen of `5-3` or `GPT-4`."""
    begin -= begin > 0 and text[begin - 1] in "$€£"
    return begin > 0 and text[begin - 1] in "-−" and (begin < 2 or not text[begin - 2].isalnum())


def _boxed(text: str) -> str | None:
    r"""Return what stands in the last \boxed{…}, braces inside it included; None if there is none or it never ends."""
    begin = text.rfind("\\boxed{")
    depth = 0
    for at in range(begin + 6, len(text)) if begin >= 0 else ():
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[begin + 7 : at]
    return None


def _hashes(text: str) -> str | None:
    _, found, tail = text.rpartition("####")
    return tail.split("\n", 1)[0] if found else None


def _marked(text: str) -> str | None:
    """Return what stands behind the last #### that marks a result: others open a heading in markdown."""
    tails = (line.rpartition("####")[2] for line in reversed(text.split("\n")) if "####" in line)
    return next((tail for tail in tails if not _is_heading(tail)), None)


def _is_heading(tail: str) -> bool:
    r"""True for `Step 1: Add`, `Conclusion` and `1. Add`; not for `3 apples`, `$5` and `\frac{1}{2}`."""
    number = _NUMBER.search(tail)
    lead = _COMMAND.sub("", tail[: number.start()]) if number else ""
    return number is None or any(map(str.isalpha, lead)) or bool(_ITEM.match(tail))


def _tag(text: str) -> str | None:
    end = text.rfind("</answer>")
    begin = text.rfind("<answer>", 0, end) if end >= 0 else -1
    return text[begin + 8 : end] if begin >= 0 else None


_PLACES: dict[str, Callable[[str], str | None]] = {"boxed": _boxed, "hashes": _hashes, "tag": _tag}


def from_spec(spec: Spec, context: Context) -> Number:
    """Return the grader of a spec."""
    return Number(spec)

"""What all parsers give back, and the strict reading of JSON they share.

A region is one attempt at a call, and counts once: as a call if it holds a name and an object of arguments, else as
malformed. Text outside of all regions is stray.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

Tools = Sequence[Mapping[str, Any]]

JSON_SPACE = " \t\r\n"
# The longest answer asked for is 8,192 tokens; few tokens are longer than 12 characters. A bound at all keeps the time
# linear: the decoder's error message costs as much as the text before the error is long.
MAX_CALL_CHARS = 100_000
# Deeper than any tool's arguments, and far from Python's own limit of 1,000 in what walks them later.
MAX_DEPTH = 64


@dataclass(frozen=True)
class ToolCall:
    """One well-formed call."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer holds."""

    calls: list[ToolCall]
    malformed: list[str]
    """the raw text of regions that are no call"""
    stray: str
    """text outside the regions, trimmed"""
    raw: list[str]
    """the raw text of every region, in order"""

    @property
    def regions(self) -> int:
        """Attempted calls: calls and malformed together."""
        return len(self.raw)


class Collector:
    """Takes regions and stray text in the order of the answer."""

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._malformed: list[str] = []
        self._stray: list[str] = []
        self._raw: list[str] = []

    def region(self, raw: str, call: ToolCall | None) -> None:
        """Count one region; None is a malformed one."""
        self._raw.append(raw)
        if call is None:
            self._malformed.append(raw)
        else:
            self._calls.append(call)

    def stray(self, text: str) -> None:
        """Keep text that is in no region."""
        self._stray.append(text)

    def answer(self) -> ParsedAnswer:
        """Return all that was taken."""
        return ParsedAnswer(self._calls, self._malformed, "".join(self._stray).strip(), self._raw)


def skip_space(text: str, at: int) -> int:
    """Return the first place from `at` on that is not white space of JSON."""
    while at < len(text) and text[at] in JSON_SPACE:
        at += 1
    return at


def read_json(text: str, at: int) -> tuple[Any, int] | None:
    """Return the JSON value that begins at `at` and where it ends, or None if there is none.

    Refused: a key that stands twice, NaN and infinities, numbers too large for a float, more than MAX_CALL_CHARS.
    """
    try:
        value, length = _DECODER.raw_decode(text[at : at + MAX_CALL_CHARS])
    except (ValueError, RecursionError):  # ValueError: broken JSON, a number without end, what _DECODER refuses
        return None
    return value, at + length


def as_call(name: Any, arguments: Any) -> ToolCall | None:
    """Return the call if the name is text, the arguments are an object, and JSON can hold both."""
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return ToolCall(name, arguments) if _is_storable([name, arguments]) else None


def object_call(value: Any, arguments_key: str) -> ToolCall | None:
    """Return the call in a JSON object `{"name": …, arguments_key: {…}}`; other keys are left alone."""
    return as_call(value.get("name"), value.get(arguments_key)) if isinstance(value, dict) else None


def _is_storable(value: Any) -> bool:
    """False for half a surrogate pair, which JSON can escape and no file can hold, and for what is nested too deep."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # ValueError: also an integer of too many digits
        return False
    return _depth(value) <= MAX_DEPTH


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        level = [inner for outer in level for inner in _children(outer)]
        depth += 1
    return depth


def _children(value: Any) -> list[Any]:
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return list(found)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)

"""Read tool calls out of an answer: strictly, in the Hermes form `<tool_call>{"name", "arguments"}</tool_call>`.

Every region counts: as a call if its JSON is an object with a name and an object of arguments, else as malformed, so
that the valid-JSON rate can be measured. Answers come from a model and may be anything: no input crashes this or takes
more than linear time.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_JSON_SPACE = " \t\r\n"
# The longest answer asked for is 8,192 tokens; few tokens are longer than 12 characters. A bound at all keeps the time
# linear: the decoder's error message costs as much as the text before the error is long.
MAX_CALL_CHARS = 100_000


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
    regions: int
    """calls and malformed together"""
    stray: str
    """text outside the regions, trimmed"""


def parse_tool_calls(text: str) -> ParsedAnswer:
    """Read the tool calls in `text`, in order.

    A region left open at the end is malformed. A literal `</tool_call>` inside a JSON string does not end a region.
    """
    calls: list[ToolCall] = []
    malformed: list[str] = []
    stray: list[str] = []
    at = 0
    while (begin := text.find(OPEN, at)) >= 0:
        stray.append(text[at:begin])
        call, at = _region(text, begin + len(OPEN))
        if call is None:
            malformed.append(text[begin:at])
        else:
            calls.append(call)
    stray.append(text[at:])
    return ParsedAnswer(calls, malformed, len(calls) + len(malformed), "".join(stray).strip())


def _region(text: str, begin: int) -> tuple[ToolCall | None, int]:
    """Return the call of the region whose content begins at `begin`, if it is one, and where the region ends."""
    begin = _skip_space(text, begin)
    try:
        value, length = _DECODER.raw_decode(text[begin : begin + MAX_CALL_CHARS])
    except (ValueError, RecursionError):  # ValueError: broken JSON, a number without end, what _DECODER refuses
        return None, _region_end(text, begin)
    end = _skip_space(text, begin + length)
    if not text.startswith(CLOSE, end):
        return None, _region_end(text, end)
    return _as_call(value), end + len(CLOSE)


def _region_end(text: str, begin: int) -> int:
    close = text.find(CLOSE, begin)
    return close + len(CLOSE) if close >= 0 else len(text)


def _skip_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _JSON_SPACE:
        at += 1
    return at


def _as_call(value: Any) -> ToolCall | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments")
    if not isinstance(arguments, dict) or not _is_storable(value):
        return None
    return ToolCall(value["name"], arguments)


def _is_storable(value: Any) -> bool:
    """False for half a surrogate pair, which JSON can escape and no file can hold."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True


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

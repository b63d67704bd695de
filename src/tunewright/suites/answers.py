"""Reading values out of what a model said, in time linear in its length; nothing here raises for any text."""

from __future__ import annotations

import json
import math
from typing import Any, Final

MAX_JSON_CHARS: Final = 1_000_000
MAX_JSON_DEPTH: Final = 100  # no form is nested so deep, and every walk over a value may go down by recursion
_FENCE: Final = "```"


class NoJSONError(ValueError):
    """The text holds no JSON value; the message says why."""


def json_of(text: str) -> Any:
    """Return the JSON value that `text` is: the whole of it, or the whole inside of one code fence around it.

    Raises:
        NoJSONError: it is none. NaN, Infinity, and half of a surrogate pair are no JSON; nor is a key twice, where
            readers differ in which of its values holds.
    """
    inner = unfenced(text.strip())
    if len(inner) > MAX_JSON_CHARS:
        raise NoJSONError(f"longer than {MAX_JSON_CHARS} characters")
    try:
        value = json.loads(inner, parse_constant=_refuse, parse_float=_float, object_pairs_hook=_object)
        json.dumps(value, ensure_ascii=False).encode()  # finds "\\ud800", which no file can hold
    except NoJSONError:
        raise
    except RecursionError:
        raise NoJSONError("nested too deep") from None
    except ValueError as error:
        raise NoJSONError(str(error)) from None
    if _is_deep(value):
        raise NoJSONError("nested too deep")
    return value


def unfenced(text: str) -> str:
    """Return the inside of the code fence that `text` is, or `text`."""
    if not (text.startswith(_FENCE) and text.endswith(_FENCE) and len(text) >= 2 * len(_FENCE)):
        return text
    head, newline, body = text[len(_FENCE) : -len(_FENCE)].partition("\n")
    if not newline:
        return head.strip()
    return body.strip() if head.strip().isalnum() or not head.strip() else text


def _refuse(name: str) -> Any:
    raise NoJSONError(f"{name} is no JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NoJSONError(f"{text} is too large a number")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NoJSONError("a key stands twice")
    return found

"""Qwen3-Coder and Qwen3.5: `<tool_call><function=f><parameter=key>value</parameter>…</function></tool_call>`.

Values are text, so the tool's schema says what they are: a number that is no number stays text, and the schema check
of the suite sees it. A `<function=` without `<tool_call>` before it is an attempt at a call, and malformed; so is a
parameter that is not closed before the next one opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tunewright.chat.tool_parsers.parsed import (
    MAX_CALL_CHARS,
    Collector,
    ParsedAnswer,
    ToolCall,
    Tools,
    as_call,
    read_json,
    skip_space,
)

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_END_FUNCTION, _END_PARAMETER = "</function>", "</parameter>"
_START = re.compile(r"<tool_call>|<function=")
_FUNCTION = re.compile(r"<function=([^>\n]{1,200})>")
_PARAMETER = re.compile(r"<parameter=([^>\n]{1,200})>")
_VALUE_END = re.compile(r"</parameter>|<parameter=|</function>|</tool_call>")


def parse(text: str, tools: Tools = ()) -> ParsedAnswer:
    """Read the tool calls in `text`, in order; `tools` give the values their types."""
    schemas = {tool["function"]["name"]: _properties(tool["function"]) for tool in tools}
    found = Collector()
    at = 0
    while start := _START.search(text, at):
        found.stray(text[at : start.start()])
        call, at = _region(text, start, schemas)
        found.region(text[start.start() : at], call)
    found.stray(text[at:])
    return found.answer()


def _properties(function: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


def _region(text: str, start: re.Match[str], schemas: Mapping[str, Mapping[str, Any]]) -> tuple[ToolCall | None, int]:
    """Return the call of the region that opens with `start`, if it is one, and where the region ends."""
    if start[0] != OPEN:
        return None, _end(text, start.end(), _END_FUNCTION)
    function = _FUNCTION.match(text, skip_space(text, start.end()))
    if function is None:
        return None, _end(text, start.end(), CLOSE)
    name = function[1].strip()
    arguments, at = _arguments(text, function.end(), schemas.get(name, {}))
    if arguments is None or not text.startswith(_END_FUNCTION, at):
        return None, _end(text, at, CLOSE)
    at = skip_space(text, at + len(_END_FUNCTION))
    if not text.startswith(CLOSE, at) or at - start.start() > MAX_CALL_CHARS:
        return None, _end(text, at, CLOSE)
    return as_call(name, arguments), at + len(CLOSE)


def _arguments(text: str, at: int, schemas: Mapping[str, Any]) -> tuple[dict[str, Any] | None, int]:
    """Return the parameters that stand at `at`, None if one is broken or stands twice, and where they end."""
    arguments: dict[str, Any] = {}
    at = skip_space(text, at)
    while parameter := _PARAMETER.match(text, at):
        key = parameter[1].strip()
        end = _VALUE_END.search(text, parameter.end())
        if end is None or end[0] != _END_PARAMETER or key in arguments:
            return None, parameter.end()
        value = text[parameter.end() : end.start()].removeprefix("\n").removesuffix("\n")
        arguments[key] = typed(value, schemas.get(key))
        at = skip_space(text, end.end())
    return arguments, at


def _end(text: str, at: int, closing: str) -> int:
    close = text.find(closing, at)
    return close + len(closing) if close >= 0 else len(text)


def typed(text: str, schema: Any) -> Any:
    """Return the value that `text` stands for under `schema`; the text itself where it stands for none.

    Types are tried in the order of the schema, text last.
    """
    for name in _types(schema):
        read = _as_type(text.strip(), name)
        if read is not None:
            return read[0]
    return text


def _types(schema: Any) -> list[str]:
    """Return the types that a schema allows, of unions too, in order."""
    if not isinstance(schema, Mapping):
        return []
    kind = schema.get("type")
    named = [kind] if isinstance(kind, str) else kind if isinstance(kind, list) else []
    unions = [inner for key in ("anyOf", "oneOf") for inner in _list(schema.get(key)) if isinstance(inner, Mapping)]
    inner = [name for union in unions for name in _list(union.get("type")) or [union.get("type")]]
    return [name for name in [*named, *inner] if isinstance(name, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


_BOOLEANS = {"true": True, "false": False}
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}


def _as_type(text: str, name: str) -> tuple[Any] | None:
    """Return the value in a tuple, as null is a value too."""
    if name == "boolean":  # the template writes Python's True, models JSON's true
        value = _BOOLEANS.get(text.lower())
        return None if value is None else (value,)
    if name == "null":
        return (None,) if text in ("null", "None") else None
    wanted = _JSON_TYPES.get(name)
    read = read_json(text, 0) if wanted else None
    if wanted is None or read is None or read[1] != len(text):
        return None
    value = read[0]
    return (value,) if isinstance(value, wanted) and not isinstance(value, bool) else None

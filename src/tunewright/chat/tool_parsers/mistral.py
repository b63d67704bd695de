"""Mistral: `[TOOL_CALLS][{"name", "arguments"}, …]` (v3, v7) and `[TOOL_CALLS]name[ARGS]{…}` (v11 on, one mark a call).

The newer form may carry an id: `[TOOL_CALLS]name[CALL_ID]id[ARGS]{…}`; the ids say nothing about the call.
"""

from __future__ import annotations

import re

from tunewright.chat.tool_parsers.parsed import (
    Collector,
    ParsedAnswer,
    ToolCall,
    Tools,
    as_call,
    object_call,
    read_json,
    skip_space,
)

MARK, ARGS = "[TOOL_CALLS]", "[ARGS]"
_NAME = re.compile(r"\s*([\w.\-]{1,200})(?:\[CALL_ID\]\w{1,64})?\[ARGS\]")


def parse(text: str, tools: Tools = ()) -> ParsedAnswer:
    """Read the tool calls in `text`, in order."""
    found = Collector()
    at = 0
    while (begin := text.find(MARK, at)) >= 0:
        found.stray(text[at:begin])
        inner = skip_space(text, begin + len(MARK))
        if text.startswith("[", inner) and not text.startswith(MARK, inner):
            at = _array(text, inner, found)
        else:
            call, at = _named(text, inner)
            found.region(text[begin:at], call)
    found.stray(text[at:])
    return found.answer()


def _array(text: str, at: int, found: Collector) -> int:
    """Take the objects of the array at `at` one by one; return where it ends.

    A broken object, or an array left open, makes one malformed region of all up to the next mark.
    """
    at, first = skip_space(text, at + 1), True
    while not (first and text.startswith("]", at)):
        read = read_json(text, at)
        if read is None:
            return _broken(text, at, found)
        value, end = read
        found.region(text[at:end], object_call(value, "arguments"))
        at, first = skip_space(text, end), False
        if text.startswith("]", at):
            break
        if not text.startswith(",", at):
            return _broken(text, at, found)
        at = skip_space(text, at + 1)
    return at + 1


def _broken(text: str, at: int, found: Collector) -> int:
    end = _next_mark(text, at)
    found.region(text[at:end] or text[at - 1 : end], None)
    return end


def _named(text: str, at: int) -> tuple[ToolCall | None, int]:
    name = _NAME.match(text, at)
    read = read_json(text, skip_space(text, name.end())) if name else None
    if name is None or read is None:
        return None, _next_mark(text, at)
    arguments, end = read
    return as_call(name[1], arguments), end


def _next_mark(text: str, at: int) -> int:
    mark = text.find(MARK, at)
    return mark if mark >= 0 else len(text)

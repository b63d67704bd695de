"""Hermes, Qwen 2.5 and 3, and what `chat/tools.py` asks for: `<tool_call>{"name", "arguments"}</tool_call>`.

A literal `</tool_call>` inside a JSON string does not end a region; one left open at the end is malformed.
"""

from __future__ import annotations

from tunewright.chat.tool_parsers.parsed import (
    Collector,
    ParsedAnswer,
    ToolCall,
    Tools,
    object_call,
    read_json,
    skip_space,
)

OPEN, CLOSE = "<tool_call>", "</tool_call>"


def parse(text: str, tools: Tools = ()) -> ParsedAnswer:
    """Read the tool calls in `text`, in order."""
    found = Collector()
    at = 0
    while (begin := text.find(OPEN, at)) >= 0:
        found.stray(text[at:begin])
        call, at = _region(text, begin + len(OPEN))
        found.region(text[begin:at], call)
    found.stray(text[at:])
    return found.answer()


def _region(text: str, begin: int) -> tuple[ToolCall | None, int]:
    """Return the call of the region whose content begins at `begin`, if it is one, and where the region ends."""
    begin = skip_space(text, begin)
    read = read_json(text, begin)
    if read is None:
        return None, _region_end(text, begin)
    value, end = read
    end = skip_space(text, end)
    if not text.startswith(CLOSE, end):
        return None, _region_end(text, end)
    return object_call(value, "arguments"), end + len(CLOSE)


def _region_end(text: str, begin: int) -> int:
    close = text.find(CLOSE, begin)
    return close + len(CLOSE) if close >= 0 else len(text)

"""Llama 3.x in JSON: `{"name": …, "parameters": {…}}`, several joined by `;`, optionally behind `<|python_tag|>`.

Nothing marks a call but its place, so the place decides: the answer's first character is `{`, or the tag stands before
it. Behind a broken object no boundary can be trusted (a `;` may stand inside a string), so all the rest is one
malformed region; text behind a whole one is stray.
"""

from __future__ import annotations

from tunewright.chat.tool_parsers.parsed import (
    Collector,
    ParsedAnswer,
    Tools,
    object_call,
    read_json,
    skip_space,
)

TAG = "<|python_tag|>"
_JOIN = ";"


def parse(text: str, tools: Tools = ()) -> ParsedAnswer:
    """Read the tool calls in `text`, in order."""
    found = Collector()
    at = _start(text)
    found.stray(text[:at].replace(TAG, ""))
    more = at < len(text)
    while more:
        at, more = _object(text, at, found)
    found.stray(text[at:])
    return found.answer()


def _start(text: str) -> int:
    """Return where the first object stands; the length of the text if it holds none."""
    first = skip_space(text, 0)
    tag = text.find(TAG)
    if tag < 0 or text.startswith("{", first):
        return first if text.startswith("{", first) else len(text)
    return skip_space(text, tag + len(TAG))


def _object(text: str, at: int, found: Collector) -> tuple[int, bool]:
    """Take the object at `at`; return where it ended, with what joins it to the next, and if there is a next."""
    read = read_json(text, at) if text.startswith("{", at) else None
    if read is None:
        found.region(text[at:], None)
        return len(text), False
    value, end = read
    found.region(text[at:end], object_call(value, "parameters"))
    then = skip_space(text, end)
    joined = text.startswith((_JOIN, TAG), then)
    if not joined:
        return end, False
    then = skip_space(text, then + len(_JOIN if text[then] == _JOIN else TAG))
    return (then, True) if text.startswith("{", then) else (end, False)

"""What a row says, as plain text and as words: what filters measure and duplicates are found by.

System messages and tool schemas are left out: they are the same in many rows, and would make all rows alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow

_WORD: Final = re.compile(r"\w+")
_ASCII_WORDS: Final = bytes(
    ord(chr(code).lower()) if code < 128 and _WORD.match(chr(code)) else ord(" ") for code in range(256)
)
Message = Mapping[str, Any]


def words(text: str) -> list[str]:
    """Return the words of a text in lower case: runs of letters, digits and underscores."""
    if text.isascii():  # one pass over the bytes: ten times as fast as the pattern, and the same words
        return text.encode().translate(_ASCII_WORDS).decode().split()
    return _WORD.findall(text.lower())


def content_of(message: Message) -> str:
    """Return the text of a message, its text parts joined by newlines; empty where it only calls tools."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content)
    return content or ""


def calls_of(message: Message) -> list[tuple[str, Any]]:
    """Return the tool calls of a message as (name, arguments)."""
    return [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()]


def spoken(message: Message) -> str:
    """Return what a message says, its tool calls as JSON below its text."""
    if "tool_calls" not in message and isinstance(text := message.get("content"), str):
        return text
    lines = [content_of(message), *(f"{name} {canonical(arguments)}" for name, arguments in calls_of(message))]
    return "\n".join(line for line in lines if line)


def question(row: ChatRow) -> str:
    """Return what the user says in all turns."""
    return "\n".join(content_of(message) for message in row.messages if message["role"] == "user")


def answers(row: ChatRow) -> Iterator[str]:
    """Yield what the assistant says, a turn at a time."""
    return (spoken(message) for message in row.messages if message["role"] == "assistant")


def whole(row: ChatRow) -> str:
    """Return all that is said but by the system."""
    return "\n".join(spoken(message) for message in row.messages if message["role"] != "system")


def shingles(listed: list[str], size: int) -> list[str]:
    """Return the runs of `size` words, in order; a shorter text is one run; no words, no run."""
    if len(listed) <= size:
        return [" ".join(listed)] if listed else []
    return [" ".join(run) for run in zip(*(listed[start:] for start in range(size)), strict=False)]


# ── JSON that says the same ─────────────────────────────────────────────────────────────────────────────────────────

_MOST_TRIES: Final = 64
_DECODER: Final = json.JSONDecoder()


def canonical(value: Any) -> str:
    """Return JSON in one form: keys sorted, 1.0 as 1, no blanks."""
    return json.dumps(_plain_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain_numbers(item) for key, item in value.items()}
    return value


def with_canonical_json(text: str) -> str:
    """Return the text with the JSON objects and arrays in it in their one form; broken ones stay.

    At most 64 places are tried, so that a text of brackets costs no more than its length.
    """
    pieces, at = [], 0
    for _ in range(_MOST_TRIES):
        begin = min((place for place in (text.find("{", at), text.find("[", at)) if place >= 0), default=-1)
        if begin < 0:
            break
        pieces.append(text[at:begin])
        try:
            value, end = _DECODER.raw_decode(text, begin)
            pieces.append(canonical(value))
        except (ValueError, RecursionError):
            end = begin + 1
            pieces.append(text[begin])
        at = end
    return "".join([*pieces, text[at:]])

"""Change every text of a row: message contents, text parts, and the strings in the arguments of tool calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunewright.artifacts.dataset import ChatRow

Change = Callable[[str], str]


def with_changed_texts(row: ChatRow, change: Change) -> ChatRow:
    """Return the row with every text changed; the same object where nothing changed."""
    messages = [_message(message, change) for message in row.messages]
    return row if messages == row.messages else row.model_copy(update={"messages": messages})


def _message(message: dict[str, Any], change: Change) -> dict[str, Any]:
    changed = dict(message)
    for key in ("content", "reasoning_content", "thinking", "reasoning"):
        if key in message:
            changed[key] = _value(message[key], change)
    if message.get("tool_calls"):
        changed["tool_calls"] = [_call(call, change) for call in message["tool_calls"]]
    return changed


def _call(call: dict[str, Any], change: Change) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": _value(function["arguments"], change)}}


def _value(value: Any, change: Change) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_value(item, change) for item in value]
    if isinstance(value, dict):
        return {key: item if key == "type" else _value(item, change) for key, item in value.items()}
    return value

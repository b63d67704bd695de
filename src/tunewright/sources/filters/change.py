"""Change every text of a row: message contents, text parts, and the strings in the arguments of tool calls.

The rejected answer of a preference row is one of its texts. It stands in `meta`, whose form is not checked: all the
strings in it are changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunewright.artifacts.dataset import ChatRow

Change = Callable[[str], str]


def with_changed_texts(row: ChatRow, change: Change) -> ChatRow:
    """Return the row with every text changed; the same object where nothing changed."""
    messages = [_message(message, change) for message in row.messages]
    meta = row.meta
    if "rejected" in meta:
        meta = meta | {"rejected": _value(meta["rejected"], change)}
    same = messages == row.messages and meta == row.meta
    return row if same else row.model_copy(update={"messages": messages, "meta": meta})


def _message(message: dict[str, Any], change: Change) -> dict[str, Any]:
    changed = dict(message)
    if "content" in message:
        changed["content"] = _content(message["content"], change)
    for key in ("reasoning_content", "thinking", "reasoning"):
        if key in message:
            changed[key] = _value(message[key], change)
    if message.get("tool_calls"):
        changed["tool_calls"] = [_call(call, change) for call in message["tool_calls"]]
    return changed


def _content(content: Any, change: Change) -> Any:
    """Return a content, changed but for the `type` of its parts, which says what they are."""
    if not isinstance(content, list):
        return _value(content, change)
    return [{key: item if key == "type" else _value(item, change) for key, item in part.items()} for part in content]


def _call(call: dict[str, Any], change: Change) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": _value(function["arguments"], change)}}


def _value(value: Any, change: Change) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_value(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _value(item, change) for key, item in value.items()}
    return value

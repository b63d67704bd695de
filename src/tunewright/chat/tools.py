"""Tools in text, for models whose chat template has no place for them. This is the one way we do it.

The functions go into the system turn, the assistant's calls are text between <tool_call> tags (the Hermes form, which
most servers can parse), and what a tool returned comes back in a user turn between <tool_response> tags. Documented
for users in docs/pipeline/format.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from tunewright.errors import DataError

INSTRUCTION = (
    "You can call the functions below. Answer with one JSON object per call inside <tool_call></tool_call> tags, "
    "and nothing else."
)


def normalize_tools(tools: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Return the tools in OpenAI's form; a bare `{name, description, parameters}` is wrapped.

    Raises:
        DataError: a tool has no name.
    """
    return [_wrapped(index, tool) for index, tool in enumerate(tools or ())]


def _wrapped(index: int, tool: Any) -> dict[str, Any]:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(f"tool {index} is {str(tool)[:120]}",
                        expected='{"type": "function", "function": {"name", "description", "parameters"}}')  # fmt: skip
    return dict(tool) if "function" in tool else {"type": "function", "function": dict(function)}


def system_text(tools: Sequence[Mapping[str, Any]], own: str = "") -> str:
    """Return the system turn that offers `tools`: the conversation's own system text first, then the functions."""
    lines = "\n".join(_function_json(tool["function"]) for tool in tools)
    offer = f"{INSTRUCTION}\n<tools>\n{lines}\n</tools>"
    return f"{own}\n\n{offer}" if own else offer


def _function_json(function: Mapping[str, Any]) -> str:
    shown = {key: function[key] for key in ("name", "description", "parameters") if key in function}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


def calls_text(calls: Sequence[Mapping[str, Any]]) -> str:
    """Return an assistant's calls as text, one `<tool_call>…</tool_call>` a line."""
    return "\n".join(_call_text(call["function"]) for call in calls)


def _call_text(function: Mapping[str, Any]) -> str:
    call = {"name": function["name"], "arguments": function["arguments"]}
    return f"<tool_call>{json.dumps(call, ensure_ascii=False)}</tool_call>"


def offer_in_system(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with `tools` in their system turn, which is made where there is none."""
    if not tools:
        return [dict(message) for message in messages]
    has_system = bool(messages) and messages[0]["role"] == "system"
    own = messages[0]["content"] if has_system else ""
    rest = messages[1:] if has_system else messages
    return [{"role": "system", "content": system_text(tools, own)}, *(dict(message) for message in rest)]


def calls_in_content(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with calls and tool results as text: no `tool_calls` and no `tool` role are left."""
    return list(_as_text(messages))


def _as_text(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for is_tool, run in groupby(messages, key=lambda message: message["role"] == "tool"):
        if is_tool:  # results of one turn stand together in one user turn
            parts = [f"<tool_response>\n{message['content']}\n</tool_response>" for message in run]
            yield {"role": "user", "content": "\n".join(parts)}
        else:
            yield from map(_answer_as_text, run)


def _answer_as_text(message: Mapping[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return dict(message)
    text = calls_text(calls)
    content = message.get("content")
    rest = {key: value for key, value in message.items() if key not in ("tool_calls", "content")}
    return {**rest, "content": f"{content}\n{text}" if content else text}

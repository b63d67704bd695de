"""Names of tools for vendors that take only letters, digits, `_` and `-`, at most 64: there and back again.

`math.gcd` is sent as `math_gcd`, and a call of `math_gcd` that comes back is read as one of `math.gcd`. What was sent
is then not what our own template shows, and `prompt_hash` says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tunewright.backends.protocol import Prompt
from tunewright.backends.wire import wire_tool

MAX_CHARS = 64
_STRICT = re.compile(r"[A-Za-z0-9_-]{1,64}")


def with_strict_names(prompt: Prompt) -> tuple[Prompt, dict[str, str]]:
    """Return a prompt whose tools and calls have names that every vendor takes, and the way back: sent -> real."""
    tools = [wire_tool(tool) for tool in prompt.tools or ()]
    names = strict_names([str(tool["function"]["name"]) for tool in tools])
    if all(real == sent for real, sent in names.items()):
        return prompt, {}
    messages = tuple(_renamed(message, names) for message in prompt.messages or ())
    renamed = tuple({**tool, "function": _called(tool["function"], names)} for tool in tools)
    return replace(prompt, messages=messages, tools=renamed), {sent: real for real, sent in names.items()}


def strict_names(names: list[str]) -> dict[str, str]:
    """Return real -> sent. Names that are right stay; no two are sent as one."""
    found = {name: name for name in names if _STRICT.fullmatch(name)}
    taken = set(found)
    for name in names:
        if name in found:
            continue
        base = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:MAX_CHARS] or "_"
        sent, number = base, 2
        while sent in taken:
            sent, number = f"{base[: MAX_CHARS - len(str(number)) - 1]}_{number}", number + 1
        found[name] = sent
        taken.add(sent)
    return found


def _renamed(message: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    if not message.get("tool_calls"):
        return message
    calls = [{**call, "function": _called(call["function"], names)} for call in message["tool_calls"]]
    return {**message, "tool_calls": calls}


def _called(function: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {**function, "name": names.get(function["name"], function["name"])}

"""Rows that are too long because of tools that they do not call: `overlong: drop_tools`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.render import Renderer

TOOLS_DROPPED: Final = "tools_dropped"
"""in a row's `meta`: how many it has lost"""


def with_fewer_tools(row: ChatRow, limit: int, renderer: Renderer) -> ChatRow | None:
    """Return a row without the last tools that it does not call, as few as must go; None where that is not enough.

    A tool that is called stays, and the first where none is: with nothing to choose from there is nothing to refuse.

    Args:
        row: one of more than `limit` tokens.
        limit: tokens that it may have, prompt and answer together.
        renderer: tells how many it has.

    Raises:
        DataError, ModelError: the row cannot be rendered.
    """
    tools, called = row.tools or [], _called(row.messages)
    spare = [at for at, tool in enumerate(tools) if _name(tool) not in called]
    if len(spare) == len(tools):
        spare = spare[1:]
    for count in range(1, len(spare) + 1):
        gone = set(spare[-count:])
        kept = [tool for at, tool in enumerate(tools) if at not in gone]
        if len(renderer.conversation(row.messages, kept).token_ids) <= limit:
            return row.model_copy(update={"tools": kept, "meta": {**row.meta, TOOLS_DROPPED: count}})
    return None


def _called(messages: Sequence[Mapping[str, Any]]) -> set[str]:
    return {_name(call) for message in messages for call in message.get("tool_calls") or ()}


def _name(tool_or_call: Mapping[str, Any]) -> str:
    return str(tool_or_call["function"]["name"])

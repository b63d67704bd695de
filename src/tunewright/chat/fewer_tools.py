"""Rows that are too long because of tools that they do not call: `overlong: drop_tools`."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.messages import plain
from tunewright.chat.render import Renderer
from tunewright.chat.tools import normalize_tools

TOOLS_DROPPED: Final = "tools_dropped"
"""in a row's `meta`: how many it has lost"""


def with_fewer_tools(row: ChatRow, limit: int, renderer: Renderer) -> ChatRow | None:
    """Return a row without the last tools that it does not call, as few as must go; None where that is not enough.

    A tool that is called stays, also where the call is text, and the first where none is: with nothing to choose from
    there is nothing to refuse.

    Args:
        row: one of more than `limit` tokens.
        limit: tokens that it may have, prompt and answer together.
        renderer: tells how many it has.

    Raises:
        DataError, ModelError: the row cannot be rendered.
    """
    names = [tool["function"]["name"] for tool in normalize_tools(row.tools)]
    answers = [plain(message) for message in row.messages if message["role"] == "assistant"]
    spare = [at for at, name in enumerate(names) if not any(_names(answer, name) for answer in answers)]
    if len(spare) == len(names):
        spare = spare[1:]

    def without(count: int) -> ChatRow:
        gone = set(spare[len(spare) - count :])
        kept = [tool for at, tool in enumerate(row.tools or ()) if at not in gone]
        return row.model_copy(update={"tools": kept, "meta": {**row.meta, TOOLS_DROPPED: count}})

    def fits(count: int) -> bool:
        shorter = without(count)
        return len(renderer.conversation(shorter.messages, shorter.tools).token_ids) <= limit

    if not spare or not fits(len(spare)):
        return None
    return without(bisect_left(range(len(spare)), True, lo=1, key=fits))


def _names(answer: Mapping[str, Any], tool: str) -> bool:
    """True if an answer calls a tool, or its text holds the tool's name as a word."""
    calls = [call.get("function", call) for call in answer.get("tool_calls") or ()]
    in_text = re.search(rf"(?<![\w.]){re.escape(tool)}(?![\w.])", str(answer.get("content") or ""))
    return in_text is not None or tool in (call.get("name") for call in calls)

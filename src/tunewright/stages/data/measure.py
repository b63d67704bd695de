"""Measure rows as the model will see them: how many tokens, how many trained, how they end."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.artifacts.dataset import ChatRow, TokenStats
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, ModelError


@dataclass(frozen=True)
class MeasuredRow:
    """A row and its size in tokens."""

    row: ChatRow
    num_tokens: int
    num_trained: int
    last_trained: int | None
    """id of the last trained token"""


def measure(row: ChatRow, renderer: Renderer) -> MeasuredRow:
    """Render a row and count.

    Raises:
        DataError, ModelError: the row cannot be rendered; names source and row.
    """
    try:
        rendered = renderer.conversation(row.messages, row.tools)
    except (DataError, ModelError) as error:
        where = f"{row.source} row {row.id}" + (f": {error.where}" if error.where else "")
        raise type(error)(error.seen, where=where, expected=error.expected, fix=error.fix) from None
    trained = [token for token, counts in zip(rendered.token_ids, rendered.trained, strict=True) if counts]
    return MeasuredRow(row, len(rendered.token_ids), len(trained), trained[-1] if trained else None)


def token_stats(rows: Sequence[MeasuredRow]) -> TokenStats:
    """Return the token counts of one part; all 0 where it has no rows."""
    lengths = sorted(row.num_tokens for row in rows) or [0]
    return TokenStats(
        rows=len(rows),
        tokens=sum(lengths),
        trained_tokens=sum(row.num_trained for row in rows),
        shortest=lengths[0],
        median=statistics.median_low(lengths),
        longest=lengths[-1],
    )

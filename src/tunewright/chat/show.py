"""Rows as people look at them: each token as text, and whether it is trained."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.render import Renderer

MarkedRow = tuple[str, list[tuple[str, bool]]]


def marked_rows(rows: Iterable[ChatRow], renderer: Renderer, limit: int | None = None) -> list[MarkedRow]:
    """Return `(row id, [(piece, trained), …])` for the first `limit` rows; pieces joined are the row's text."""
    return [_marked(row, renderer) for row in islice(rows, limit)]


def _marked(row: ChatRow, renderer: Renderer) -> MarkedRow:
    rendered = renderer.conversation(row.messages, row.tools)
    pieces = renderer.pieces(rendered.token_ids)
    return row.id, list(zip(pieces, rendered.trained, strict=True))

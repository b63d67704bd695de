"""Rows for the tests of filters."""

from __future__ import annotations

from typing import Any

from tunewright.artifacts.dataset import ChatRow


def row(answer: str, question: str = "How do I do that?", *, id: str = "r", **fields: Any) -> ChatRow:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return ChatRow(id=id, messages=messages, **fields)


def code(source: str, tag: str = "python") -> ChatRow:
    return row(f"Like this:\n\n```{tag}\n{source}\n```\n\nThat is all.")

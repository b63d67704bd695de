"""Rows on disk: `train.jsonl` and `test.jsonl` of a `data` stage, one chat row a line.

A chat row is `{id, messages, tools?, source, group, meta}`. The last message is the assistant's answer. `group` is the
cluster (function, template, document) for the split and for standard errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.files import read_jsonl


class ChatRow(BaseModel):
    """One conversation. `messages` are OpenAI's; the `arguments` of a tool call are an object, not a string."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    source: str = ""
    group: str = ""
    meta: dict[str, Any] = {}

    @property
    def prompt(self) -> list[dict[str, Any]]:
        """The messages before the answer."""
        return self.messages[:-1]

    @property
    def answer(self) -> dict[str, Any]:
        """The last message: what the assistant should say."""
        return self.messages[-1]


class Rows(BaseModel):
    """One part of a dataset: a JSON-lines file of chat rows."""

    model_config = ConfigDict(frozen=True)

    path: Path

    def __iter__(self) -> Iterator[ChatRow]:  # type: ignore[override]  # rows, not pydantic's (name, value) pairs
        for _, row in read_jsonl(self.path):
            yield ChatRow.model_construct(**row)

    def load(self, limit: int | None = None) -> list[ChatRow]:
        """Return the rows as a list, at most `limit`."""
        rows = list(self)
        return rows if limit is None else rows[:limit]


class SourceCount(BaseModel):
    """What became of the rows of one source."""

    model_config = ConfigDict(frozen=True)

    source: str
    read: int
    kept: int
    dropped: dict[str, int]
    """reason -> rows"""
    shortened: int = 0
    """of those kept: rows that lost tools so that they fit"""


class TokenStats(BaseModel):
    """Tokens of the kept rows of one part. Lengths are of whole rows, prompt and answer."""

    model_config = ConfigDict(frozen=True)

    rows: int
    tokens: int
    trained_tokens: int
    shortest: int
    median: int
    longest: int


class Dataset(Artifact):
    """The result of `data`: two files, and what was counted on the way."""

    kind: ClassVar[str] = "data"

    train_rows: int
    test_rows: int
    train_groups: int
    test_groups: int
    sources: list[SourceCount]
    train_tokens: TokenStats
    test_tokens: TokenStats

    def part(self, name: str) -> Rows:
        """Return the rows of `train` or `test`."""
        return Rows(path=self.folder / f"{name}.jsonl")

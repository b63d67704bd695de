"""Rows for graders: what stands in a file, as items; and what is a row's id, question and gold answer.

Graders are used on chat rows and on the files that people bring from elsewhere, whose columns are their own. So a
record of a file keeps all its columns, and where it is a conversation with an answer it gets `messages` (the prompt)
and `reference` (the answer's text) as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import read_jsonl
from tunewright.errors import DataError
from tunewright.graders.protocol import Row, item_of, reference_text
from tunewright.sources.formats import to_row

GOLD_COLUMNS = ("gold", "reference", "reference_answer", "answer", "completion", "solution", "target")
PROMPT_COLUMNS = ("prompt", "question", "input", "instruction")


def read_items(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON-lines file as items, each with an `id`.

    Raises:
        DataError: no such file, a broken line, no rows, or two with one id; names the line.
    """
    items: dict[str, dict[str, Any]] = {}
    for line, record in read_jsonl(path):
        found = _item(record, f"{path}:{line}", f"{path.stem}-{line}")
        if found["id"] in items:
            raise DataError(f"id {found['id']!r} stands there twice", where=f"{path}:{line}", expected="unique ids")
        items[found["id"]] = found
    if not items:
        raise DataError("the file is empty", where=str(path), expected="one JSON object a line")
    return list(items.values())


def _item(record: Mapping[str, Any], where: str, fallback_id: str) -> dict[str, Any]:
    own_id = record.get("id")
    named = {**record, "id": str(own_id) if own_id is not None else fallback_id}
    try:
        row = to_row(record, where=where, fallback_id=fallback_id, source="")
    except DataError:
        return named  # no conversation with an answer: the columns are all there is
    return {**named, **item_of(row)}


def row_id(row: Row) -> str:
    """Return the id of a row."""
    return row.id if isinstance(row, ChatRow) else str(row["id"])


def gold_of(row: Row) -> str | None:
    """Return the gold answer's text: a chat row's answer, or the first of GOLD_COLUMNS that holds text or a number."""
    if isinstance(row, ChatRow):
        return reference_text(row.answer) or None
    values = [row[name] for name in GOLD_COLUMNS if name in row]
    texts = [str(value) for value in values if isinstance(value, str | int | float) and not isinstance(value, bool)]
    return next((text for text in texts if text.strip()), None)


def prompt_of(row: Row) -> list[dict[str, Any]]:
    """Return the messages that a model is asked; [] where the row has none."""
    messages = row.prompt if isinstance(row, ChatRow) else row.get("messages")
    if isinstance(messages, list) and messages:
        return [*messages] if messages[-1].get("role") != "assistant" else messages[:-1]
    text = (
        next((row[name] for name in PROMPT_COLUMNS if isinstance(row.get(name), str)), None)
        if isinstance(row, Mapping)
        else None
    )
    return [{"role": "user", "content": text}] if text else []


def question_text(row: Row) -> str:
    """Return the last user message of a row, "" where it has none."""
    asked = [message.get("content") for message in prompt_of(row) if message.get("role") == "user"]
    return str(asked[-1]) if asked else ""


def answers_by_row(path: Path) -> dict[str, list[str]]:
    """Return the answers of a JSON-lines file, by row id.

    A line has `id` (or `row_id`) and either `answers`, a list of texts, or one `answer`; lines of one id add up.

    Raises:
        DataError: a line that has neither.
    """
    found: dict[str, list[str]] = {}
    for line, record in read_jsonl(path):
        name = record.get("row_id", record.get("id"))
        answers = record.get("answers", [record.get("answer")])
        if (
            name is None
            or not isinstance(answers, Sequence)
            or not answers
            or not all(isinstance(a, str) for a in answers)
        ):
            raise DataError("no answers of a row", where=f"{path}:{line}", expected='{"id": …, "answers": ["…", …]}')
        found.setdefault(str(name), []).extend(answers)
    return found

"""The rows of a suite's file, and how each becomes a question.

Without a template, rows are chat rows in any format of `sources/formats.py`. With one, a row is any JSON object: the
template makes the question of its fields, `reference` makes the right answer, and all fields stand in the row's meta
for the scorers. Templates are Jinja in a sandbox: `{{ question }}`, `{% for choice in choices %}…{% endfor %}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from jinja2 import StrictUndefined, Template
from pydantic import Field

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import read_jsonl
from tunewright.chat.sandbox import Sandbox
from tunewright.errors import DataError
from tunewright.sources.jsonl import read_rows
from tunewright.suites.options import Options
from tunewright.suites.protocol import cluster_of

MAX_QUESTION_CHARS: Final = 2_000_000  # that of a row: sources/dropped.py


class Prompt(Options):
    """How a row becomes a question."""

    system: str | None = Field(default=None, description="a system message in front of every question")
    template: str | None = Field(default=None, description='the question, of a row\'s fields: "{{ question }}"')
    reference: str = Field(default="{{ reference }}", description="the right answer, of a row's fields")

    def applied(self, row: ChatRow, cluster: str) -> ChatRow:
        """Return a chat row with the system message in place of its own, and its cluster as group."""
        messages = row.messages
        if self.system is not None:
            kept = [message for message in messages if message["role"] != "system"]
            messages = [{"role": "system", "content": self.system}, *kept]
        if self.template is not None:
            question = row.prompt[-1].get("content") if row.prompt else ""
            fields = {**row.meta, "id": row.id, "question": question, "reference": row.answer.get("content")}
            asked = {"role": "user", "content": render(self.template, fields, f"row {row.id}")}
            messages = [*messages[:-2], asked, messages[-1]]
        return row.model_copy(update={"messages": messages, "group": cluster_of(row, cluster)})

    def ask(self, record: Mapping[str, Any], where: str, fallback_id: str, cluster: str) -> ChatRow:
        """Return any JSON object as a chat row.

        Raises:
            DataError: a template fails, or uses a field that the record lacks.
        """
        question = render(str(self.template), record, where)
        reference = render(self.reference, record, where)
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        row_id = str(record.get("id") or fallback_id)
        row = ChatRow(
            id=row_id,
            messages=[
                *system,
                {"role": "user", "content": question},
                {"role": "assistant", "content": reference},
            ],
            source=str(record.get("source") or ""),
            group=str(record.get("group") or row_id),
            meta=dict(record),
        )
        return row.model_copy(update={"group": cluster_of(row, cluster)})


def rows_of_file(path: Path, columns: Mapping[str, str], prompt: Prompt, cluster: str) -> list[ChatRow]:
    """Return the rows of a JSON-lines file as questions.

    Raises:
        DataError: no such file, no row, a broken line, two rows with one id, a failing template; names file and line.
    """
    if prompt.template is None:
        return [prompt.applied(row, cluster) for row in read_rows(path, columns)]
    rows: dict[str, ChatRow] = {}
    for line, record in read_jsonl(path):
        where = f"{path}:{line}"
        named = {**record, **{name: record[column] for name, column in columns.items() if column in record}}
        row = prompt.ask(named, where, f"{path.stem}-{line}", cluster)
        if row.id in rows:
            raise DataError(f"id {row.id!r} stands in another line too", where=where, expected="ids that are unique")
        rows[row.id] = row
    if not rows:
        raise DataError("the file is empty", where=str(path), expected="one JSON object a line")
    return list(rows.values())


def render(template: str, fields: Mapping[str, Any], where: str) -> str:
    """Return `template` with a row's fields filled in.

    Raises:
        DataError: the template is broken or fails, or uses a field that is not there.
    """
    try:
        sandbox, compiled = _compiled(template)
        with sandbox.counting():
            text = compiled.render(fields)
    except Exception as error:  # whatever Python can raise, a template can
        raise DataError(
            f"the template of the prompt fails: {str(error)[:1000]}", where=where,
            expected=f"fields of the row: {', '.join(map(str, fields))}"[:300],
        ) from None  # fmt: skip
    if len(text) > MAX_QUESTION_CHARS:
        raise DataError(f"the template makes {len(text)} characters of it", where=where)
    return text


@lru_cache(maxsize=64)
def _compiled(template: str) -> tuple[Sandbox, Template]:
    sandbox = Sandbox(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    sandbox.add_filter("tojson", lambda value: json.dumps(value, ensure_ascii=False))
    with sandbox.counting():
        return sandbox, sandbox.from_string(template)

"""The formats a record may have, and how each becomes a chat row.

    messages         messages (+ tools)
    conversations    conversations (+ system, tools)           ShareGPT, OpenAI's messages too
    hermes           the same, with <tool_call> in the text
    preference       chosen + rejected (+ prompt)
    prompt           prompt + completion
    alpaca           instruction (+ input) + output
    text             text + prompt
    question         question + answer                         GSM8K; not with passages or choices beside them
    ms-marco         query + passages                          ranking rows: `ranking/` reads them

`chat_formats.py` says how each is read. The format is found by the columns that are there, in this order; `format:`
of a source says it instead. A column `id` names the row (else `<stem>-<line>`), `group` its cluster (else its id);
`tools` and `meta` come along. A file with other column names is read with a mapping: `columns: {messages: dialogue}`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.messages import check_messages
from tunewright.errors import DataError
from tunewright.sources.chat_formats import (
    Reader,
    Record,
    from_alpaca,
    from_completion,
    from_hermes,
    from_messages,
    from_preference,
    from_question,
    from_sharegpt,
    from_text,
    is_hermes,
    parsed,
)


@dataclass(frozen=True)
class Format:
    """A form that records have: the columns it needs, and how they are read."""

    columns: tuple[str, ...]
    read: Reader


FORMATS: Final = {
    "messages": Format(("messages",), from_messages),
    "conversations": Format(("conversations",), from_sharegpt),
    "hermes": Format(("conversations",), from_hermes),
    "preference": Format(("chosen", "rejected"), from_preference),
    "prompt": Format(("prompt", "completion"), from_completion),
    "alpaca": Format(("instruction", "output"), from_alpaca),
    "text": Format(("prompt", "text"), from_text),
    "question": Format(("question", "answer"), from_question),
}
"""in the order in which they are looked for"""

MORE_THAN_A_QUESTION: Final = (
    "passage", "passages", "context", "contexts", "document", "documents", "choices", "options",
)  # fmt: skip
"""A question beside one of these cannot be answered without it, so question and answer alone make no row."""
RANKING_COLUMNS: Final = ("query", "passages")
_FORMATS_IN_WORDS: Final = " | ".join(" + ".join(form.columns) for form in FORMATS.values() if form.read != from_hermes)
_FIELDS: Final = (
    "messages", "conversations", "prompt", "completion", "chosen", "rejected", "instruction", "input", "output", "text",
    "tools", "system", "question", "answer",
)  # fmt: skip


def to_row(
    record: Record,
    *,
    where: str,
    fallback_id: str,
    source: str,
    columns: Mapping[str, str] | None = None,
    format: str = "auto",
) -> ChatRow:
    """Return a record as a chat row, checked.

    Args:
        record: one JSON object.
        where: its place, for errors: `file:line`.
        fallback_id: the id of a record that has none.
        source: the name of its source.
        columns: field -> the column it stands in, where it has another name.
        format: one of FORMATS; auto: the first whose columns are there.

    Raises:
        DataError: no known format, or messages that are no conversation; says which columns are there.
    """
    if not columns and format in ("auto", "messages") and (plain := _plain(record, fallback_id, source)) is not None:
        return plain
    named = _rename(record, columns or {}, where)
    form = _known(format, named, where) if format != "auto" else detect_format(named, where)
    read = FORMATS[form].read(named, where)
    check_messages(read.messages, where=where)
    row_id = _identifier(named, "id", where) or fallback_id
    row = ChatRow(
        id=row_id,
        messages=read.messages,
        tools=_tools(read.tools if read.tools is not None else named.get("tools"), where),
        source=source,
        group=_identifier(named, "group", where) or row_id,
        meta={**_meta(named.get("meta"), where), **read.meta},
    )
    _check_storable(row, where)
    return row


_PLAIN_COLUMNS: Final = {"id", "messages", "group", "source"}
_PLAIN_MESSAGE: Final = {"role", "content"}
_PLAIN_ROLES: Final = ("user", "assistant")


def _plain(record: Record, fallback_id: str, source: str) -> ChatRow | None:
    """Return the row of a record that is one already, of nothing but sound text; None of any other, right or wrong.

    Most rows of large files are such, and this takes a fifth of the time.
    """
    messages, row_id = record.get("messages"), record.get("id", fallback_id)
    group = record.get("group", row_id)
    if type(messages) is not list or not messages or not record.keys() <= _PLAIN_COLUMNS:
        return None
    texts = [row_id, group]
    for message in messages:
        if (
            type(message) is not dict
            or message.keys() != _PLAIN_MESSAGE
            or message["role"] not in ("user", "assistant")
        ):
            return None
        texts.append(message["content"])
    if messages[0]["role"] != "user" or messages[-1]["role"] != "assistant" or not row_id or not group:
        return None
    try:
        "".join(texts).encode()
    except (TypeError, UnicodeEncodeError):  # TypeError: a value that is no text
        return None
    return ChatRow.model_construct(id=row_id, messages=messages, tools=None, source=source, group=group, meta={})


def _rename(record: Record, columns: Mapping[str, str], where: str) -> dict[str, Any]:
    named = dict(record)
    for field, column in columns.items():
        if column not in record:
            raise DataError(
                f"no column {column!r}, which `columns:` gives for {field!r}", where=where,
                expected=f"one of: {_listed(record)}", fix=_did_you_mean(column, record) or "mend `columns:`",
            )  # fmt: skip
        named.pop(column, None)
    return {**named, **{field: record[column] for field, column in columns.items()}}


def detect_format(record: Record, where: str = "") -> str:
    """Return the format of a record, by the columns that it has: the first of FORMATS.

    Raises:
        DataError: no known format; says which columns are there.
    """
    for name, form in FORMATS.items():
        if name == "question" and any(column in record for column in MORE_THAN_A_QUESTION):
            continue
        if all(column in record for column in form.columns):
            return "hermes" if name == "conversations" and is_hermes(record) else name
    if all(column in record for column in RANKING_COLUMNS):
        raise DataError(
            "a query with passages, not a conversation", where=where, expected="conversations",
            fix="`tw data rank` makes ranking rows of it",
        )  # fmt: skip
    raise DataError(
        f"no columns that make a conversation; there are: {_listed(record)}", where=where,
        expected=_FORMATS_IN_WORDS, fix=_mapping_hint(record),
    )  # fmt: skip


def _known(format: str, record: Record, where: str) -> str:
    if format not in FORMATS:
        raise DataError(f"format {format!r}", where=where, expected="auto, " + ", ".join(FORMATS))
    lacking = [column for column in FORMATS[format].columns if column not in record]
    if lacking:
        raise DataError(
            f"no column {lacking[0]!r}, which the format {format!r} needs; there are: {_listed(record)}", where=where,
            expected=" + ".join(FORMATS[format].columns), fix=_mapping_hint(record),
        )  # fmt: skip
    return format


def _mapping_hint(record: Record) -> str:
    for column in map(str, record):
        close = difflib.get_close_matches(column.lower(), _FIELDS, n=1, cutoff=0.7)
        if close:
            return (
                f"did you mean {close[0]!r} by {column!r}? then add `columns: {{{close[0]}: {column}}}` to the source, "
                f"or `--column {close[0]}={column}` to `tw data`"
            )
    return (
        "say which column is which: `columns: {prompt: …, completion: …}` in a recipe's source, "
        "`--column prompt=… --column completion=…` with `tw data`; elsewhere rename them"
    )


def _did_you_mean(column: str, record: Record) -> str:
    close = difflib.get_close_matches(column, map(str, record), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _listed(record: Record) -> str:
    return ", ".join(map(str, record)) or "none"


# ── the other columns ───────────────────────────────────────────────────────────────────────────────────────────────


def _tools(value: Any, where: str) -> list[dict[str, Any]] | None:
    tools = parsed(value, f"{where}: tools")
    if tools in (None, [], {}):
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise DataError(f"tools is {str(tools)[:80]}", where=where, expected="a list of function objects")
    return tools


def _identifier(record: Record, name: str, where: str) -> str:
    value = record.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{name} is a {type(value).__name__}", where=where, expected="text or a whole number")
    return str(value)


def _meta(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise DataError(f"meta is a {type(value).__name__}", where=where, expected="an object")
    return value


def _check_storable(row: ChatRow, where: str) -> None:
    """Refuse what JSON cannot hold: NaN, dates, half a surrogate pair."""
    if _is_text_alone(row):
        return
    try:
        held = [row.id, row.group, row.messages, row.tools, row.meta]
        json.dumps(held, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):  # UnicodeEncodeError is a ValueError
        _name_what_is_not_json(row, where)
    try:
        row.model_dump(mode="json")  # stops at a smaller depth than json does
    except ValueError as error:
        raise _not_json("the row", error, where) from None


def _is_text_alone(row: ChatRow) -> bool:
    """True for a row of nothing but sound text, which most are: JSON holds it."""
    if row.tools is not None or row.meta:
        return False
    texts = [row.id, row.group, *(value for message in row.messages for value in message.values())]
    try:
        "".join(texts).encode()
    except (TypeError, UnicodeEncodeError):  # TypeError: a value that is no text
        return False
    return all(type(key) is str and key.isascii() for message in row.messages for key in message)


def _name_what_is_not_json(row: ChatRow, where: str) -> None:
    for name in ("id", "group", "messages", "tools", "meta"):
        try:
            json.dumps(getattr(row, name), ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise DataError(f"{name} has half of a surrogate pair", where=where, expected="valid Unicode") from None
        except (TypeError, ValueError, RecursionError) as error:
            raise _not_json(name, error, where) from None


def _not_json(name: str, error: Exception, where: str) -> DataError:
    return DataError(f"{name} has a value that JSON cannot hold: {error}", where=where, expected="plain JSON values")

"""The formats a record may have, and how each becomes a chat row.

    messages (+ tools)                  OpenAI's chat messages; tools, calls and arguments may be JSON in a string
    conversations (+ system, tools)     ShareGPT: a list of {from, value}
    prompt + completion                 text each, or lists of messages
    instruction (+ input) + output      Alpaca

A column `id` names the row (else `<stem>-<line>`), `group` its cluster (else its id); `tools` and `meta` come along.
A file with other column names is read with a mapping: `columns: {messages: dialogue}`.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.messages import check_messages
from tunewright.errors import DataError

Record = Mapping[str, Any]

_FORMATS_IN_WORDS = "messages | conversations | prompt + completion | instruction + output"
_FIELDS = ("messages", "conversations", "prompt", "completion", "instruction", "input", "output", "tools", "system")

# Who speaks, in the data sets that follow ShareGPT. A `function_call` is the assistant calling.
_SHAREGPT_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
    "tool": "tool", "observation": "tool", "function_call": "assistant",
}  # fmt: skip


def to_row(
    record: Record, *, where: str, fallback_id: str, source: str, columns: Mapping[str, str] | None = None
) -> ChatRow:
    """Return a record as a chat row, checked.

    Args:
        record: one JSON object.
        where: its place, for errors: `file:line`.
        fallback_id: the id of a record that has none.
        source: the name of its source.
        columns: field -> the column it stands in, where it has another name.

    Raises:
        DataError: no known format, or messages that are no conversation; says which columns are there.
    """
    named = _rename(record, columns or {}, where)
    messages = _reader(named, where)(named, where)
    check_messages(messages, where=where)
    row_id = _identifier(named, "id", where) or fallback_id
    row = ChatRow(
        id=row_id,
        messages=messages,
        tools=_tools(named.get("tools"), where),
        source=source,
        group=_identifier(named, "group", where) or row_id,
        meta=_meta(named.get("meta"), where),
    )
    _check_storable(row, where)
    return row


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


def _reader(record: Record, where: str) -> Callable[[Record, str], Any]:
    for needs, reader in _READERS.items():
        if all(name in record for name in needs):
            return reader
    raise DataError(
        f"no columns that make a conversation; there are: {_listed(record)}", where=where,
        expected=_FORMATS_IN_WORDS, fix=_mapping_hint(record),
    )  # fmt: skip


def _mapping_hint(record: Record) -> str:
    for column in map(str, record):
        close = difflib.get_close_matches(column.lower(), _FIELDS, n=1, cutoff=0.7)
        if close:
            return (
                f"did you mean {close[0]!r} by {column!r}? then add `columns: {{{close[0]}: {column}}}` to the source"
            )
    return "say which column is which: `columns: {prompt: …, completion: …}` in the source"


def _did_you_mean(column: str, record: Record) -> str:
    close = difflib.get_close_matches(column, map(str, record), n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def _listed(record: Record) -> str:
    return ", ".join(map(str, record)) or "none"


# ── one reader a format ─────────────────────────────────────────────────────────────────────────────────────────────


def _from_messages(record: Record, where: str) -> Any:
    messages = record["messages"]
    if not isinstance(messages, list):
        return messages  # check_messages says what is wrong with it
    return [_with_call_objects(message, f"{where}: message {index}") for index, message in enumerate(messages)]


def _with_call_objects(message: Any, where: str) -> Any:
    """Return the message with its calls, and the arguments of each, as objects; files have them as JSON in a string."""
    if not isinstance(message, Mapping) or "tool_calls" not in message:
        return message
    calls = _parsed(message["tool_calls"], f"{where}: tool_calls")
    if calls in (None, [], {}):  # columnar files give every message every key
        return {key: value for key, value in message.items() if key != "tool_calls"}
    if not isinstance(calls, list):
        raise DataError(f"tool_calls is {str(calls)[:80]}", where=where, expected="a list of calls")
    return {**message, "tool_calls": [_call_with_object(call, where) for call in calls]}


def _call_with_object(call: Any, where: str) -> Any:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    arguments = _parsed(function.get("arguments"), f"{where}: arguments of a tool call")
    rest = {key: value for key, value in call.items() if key == "id" and value}
    return {**rest, "type": "function", "function": {"name": function.get("name"), "arguments": arguments}}


def _from_sharegpt(record: Record, where: str) -> Any:
    turns = record["conversations"]
    if not isinstance(turns, list):
        return turns
    opening = [{"role": "system", "content": record["system"]}] if record.get("system") else []
    return opening + [_sharegpt_message(turn, f"{where}: message {index}") for index, turn in enumerate(turns)]


def _sharegpt_message(turn: Any, where: str) -> Any:
    if not isinstance(turn, Mapping) or "from" not in turn:
        return _with_call_objects(turn, where)  # some sets keep OpenAI's messages in this column
    speaker = turn["from"]
    if not isinstance(speaker, str) or speaker not in _SHAREGPT_ROLES:
        raise DataError(f"role {speaker!r}", where=where, expected=" | ".join(_SHAREGPT_ROLES))
    if speaker == "function_call":
        call = _parsed(turn.get("value"), where)
        calls = call if isinstance(call, list) else [call]
        return {"role": "assistant", "content": None, "tool_calls": [_call_with_object(c, where) for c in calls]}
    return {"role": _SHAREGPT_ROLES[speaker], "content": turn.get("value")}


def _from_completion(record: Record, where: str) -> Any:
    prompt, completion = record["prompt"], record["completion"]
    if isinstance(prompt, list) and isinstance(completion, list):
        return _from_messages({"messages": prompt + completion}, where)
    return _opened(record, [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}])


def _from_alpaca(record: Record, where: str) -> Any:
    question = record["instruction"]
    if record.get("input") and isinstance(question, str):
        question = f"{question}\n\n{record['input']}"
    return _opened(record, [{"role": "user", "content": question}, {"role": "assistant", "content": record["output"]}])


def _opened(record: Record, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    system = record.get("system")
    return [{"role": "system", "content": system}, *messages] if system else messages


_READERS: dict[tuple[str, ...], Callable[[Record, str], Any]] = {
    ("messages",): _from_messages,
    ("conversations",): _from_sharegpt,
    ("prompt", "completion"): _from_completion,
    ("instruction", "output"): _from_alpaca,
}


# ── the other columns ───────────────────────────────────────────────────────────────────────────────────────────────


def _parsed(value: Any, where: str) -> Any:
    """Return `value`, parsed where it is JSON in a string."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except (ValueError, RecursionError) as error:
        raise DataError(f"broken JSON in a string: {error}", where=where, expected="JSON") from None


def _tools(value: Any, where: str) -> list[dict[str, Any]] | None:
    tools = _parsed(value, f"{where}: tools")
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
    for name in ("id", "group", "messages", "tools", "meta"):
        try:
            json.dumps(getattr(row, name), ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise DataError(f"{name} has half of a surrogate pair", where=where, expected="valid Unicode") from None
        except (TypeError, ValueError, RecursionError) as error:
            raise _not_json(name, error, where) from None
    try:
        row.model_dump(mode="json")  # stops at a smaller depth than json does
    except ValueError as error:
        raise _not_json("the row", error, where) from None


def _not_json(name: str, error: Exception, where: str) -> DataError:
    return DataError(f"{name} has a value that JSON cannot hold: {error}", where=where, expected="plain JSON values")

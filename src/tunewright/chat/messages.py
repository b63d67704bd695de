"""What a conversation must look like before any template sees it. Errors name the message by its index, from 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunewright.errors import DataError

ROLES = ("system", "user", "assistant", "tool")
# Newer names first: transformers fills `reasoning_content` from the others, so templates can count on it.
_REASONING = ("reasoning_content", "thinking", "reasoning")


def check_messages(messages: Any, *, where: str = "", ends_with_answer: bool = True) -> None:
    """Raise DataError unless `messages` is a conversation in OpenAI's form.

    Roles are known; a system message stands only at the front; the assistant does not open; contents are text (a
    string, a list of text parts, or null beside tool calls); tool calls have a name and an object of arguments.

    Args:
        messages: the conversation.
        where: the place of the row, for errors: `file:line`.
        ends_with_answer: True for a row to train on, which must end with the assistant; False for a prompt, which
            must not.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise DataError(f"messages is a {type(messages).__name__}", where=where or None, expected="a list of messages")
    if not messages:
        raise DataError("an empty conversation", where=where or None, expected="at least one message")
    for index, message in enumerate(messages):
        _check_message(index, message, f"{where}: message {index}" if where else f"message {index}")
    _check_end(messages, where, ends_with_answer)


def _check_message(index: int, message: Any, where: str) -> None:
    if not isinstance(message, Mapping):
        raise DataError(f"a {type(message).__name__}", where=where, expected="an object with role and content")
    role = message.get("role")
    if role not in ROLES:
        raise DataError(f"role {role!r}", where=where, expected=" | ".join(ROLES), fix="rename the role in the data")
    if role == "system" and index > 0:
        raise DataError("a system message", where=where, expected="system only as the first message",
                        fix="join it with the first message")  # fmt: skip
    if role == "assistant" and index == 0:
        raise DataError("the assistant opens the conversation", where=where, expected="a user message before it")
    _check_calls(message, where)
    _check_content(message, where)


_CALL_FORM = '{"type": "function", "function": {"name": text, "arguments": object}}'


def _check_calls(message: Mapping[str, Any], where: str) -> None:
    calls = message.get("tool_calls")
    if calls is None:
        return
    if message["role"] != "assistant" or not isinstance(calls, list):
        raise DataError("tool_calls", where=where, expected="a list of calls, in a message of the assistant")
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        fits = isinstance(function, Mapping) and isinstance(function.get("name"), str)
        if not fits or not isinstance(function.get("arguments"), Mapping):  # type: ignore[union-attr]  # fits says so
            raise DataError(f"tool call {number} is {str(call)[:120]}", where=where, expected=_CALL_FORM)


def _check_content(message: Mapping[str, Any], where: str) -> None:
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    for part in parts:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise DataError(
                f"content is {_describe(content)}", where=where,
                expected="text, a list of {type: text} parts, or null beside tool_calls",
            )  # fmt: skip
        if not is_unicode(text):
            raise DataError("content has half of a surrogate pair", where=where, expected="valid Unicode")


def is_unicode(text: str) -> bool:
    """False for half a surrogate pair, which JSON can escape and no file, tokenizer or terminal takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _describe(content: Any) -> str:
    if content is None:
        return "null"
    if isinstance(content, list):
        kinds = {str(part.get("type")) if isinstance(part, Mapping) else type(part).__name__ for part in content}
        return f"a list of parts of type {', '.join(sorted(kinds))}"
    return f"a {type(content).__name__}"


def _check_end(messages: Sequence[Mapping[str, Any]], where: str, ends_with_answer: bool) -> None:
    last = messages[-1]["role"]
    if ends_with_answer and last != "assistant":
        raise DataError(
            f"the conversation ends with the {last}", where=where or None,
            expected="the assistant's answer at the end", fix="add the answer, or cut the row before it",
        )  # fmt: skip
    if not ends_with_answer and last == "assistant":
        raise DataError(
            "the prompt ends with the assistant", where=where or None, expected="a user or tool message at the end"
        )


def plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy as templates take it: text parts joined by newlines (as servers do), reasoning under one name."""
    copy = dict(message)
    if isinstance(copy.get("content"), list):
        copy["content"] = "\n".join(part["text"] for part in copy["content"])
    if not copy.get("tool_calls"):
        copy.pop("tool_calls", None)  # some templates ask only whether the key is there
    reasoning = next((copy[name] for name in _REASONING if copy.get(name) is not None), None)
    return copy if reasoning is None else {"thinking": reasoning, **copy, "reasoning_content": reasoning}

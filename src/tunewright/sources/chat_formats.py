"""How a record of each format becomes messages: one reader a format, from a record with our field names.

messages         OpenAI's chat messages; tools, calls and arguments may be JSON in a string
conversations    ShareGPT: a list of {from, value}
hermes           ShareGPT whose calls stand in the text: <tools>, <tool_call>, <tool_response>
preference       chosen + rejected (+ prompt): the chosen answer is the answer, the other goes to `meta.rejected`
prompt           prompt + completion: text each, or lists of messages
alpaca           instruction (+ input) + output
text             prompt + text; a text alone has no question
question         question + answer, as prompt + completion
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tunewright.errors import DataError

Record = Mapping[str, Any]

# Who speaks, in the data sets that follow ShareGPT. A `function_call` is the assistant calling.
SHAREGPT_ROLES: Final = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system",
    "tool": "tool", "observation": "tool", "function_call": "assistant",
}  # fmt: skip


@dataclass(frozen=True)
class Conversation:
    """What a reader found. `messages` is checked by the caller; `tools` are in the text of some formats."""

    messages: Any
    tools: Any = None
    meta: dict[str, Any] = field(default_factory=dict)


Reader = Callable[[Record, str], Conversation]


def parsed(value: Any, where: str) -> Any:
    """Return `value`, parsed where it is JSON in a string.

    Raises:
        DataError: a string that is no JSON.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "{}")
    except (ValueError, RecursionError) as error:
        raise DataError(f"broken JSON in a string: {error}", where=where, expected="JSON") from None


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def from_messages(record: Record, where: str) -> Conversation:
    """Read OpenAI's chat messages."""
    return Conversation(_messages(_listed(record["messages"], where), where))


def _listed(value: Any, where: str) -> Any:
    """Return a list that stands as JSON in a string, as in CSV; anything else as it is."""
    return parsed(value, where) if isinstance(value, str) and value.lstrip().startswith("[") else value


def _messages(messages: Any, where: str) -> Any:
    if not isinstance(messages, list):
        return messages  # check_messages says what is wrong with it
    return [with_call_objects(message, f"{where}: message {index}") for index, message in enumerate(messages)]


def with_call_objects(message: Any, where: str) -> Any:
    """Return the message with its calls, and the arguments of each, as objects; files have them as JSON in a string."""
    if not isinstance(message, Mapping):
        return message
    message = _without_absent(message)
    if "tool_calls" not in message:
        return message
    calls = parsed(message["tool_calls"], f"{where}: tool_calls")
    if calls in (None, [], {}):  # columnar files give every message every key
        return {key: value for key, value in message.items() if key != "tool_calls"}
    if not isinstance(calls, list):
        raise DataError(f"tool_calls is {str(calls)[:80]}", where=where, expected="a list of calls")
    return {**message, "tool_calls": [_call_with_object(call, where) for call in calls]}


# What columnar files (Parquet) say of a message that has no such key.
_MAY_BE_ABSENT: Final = ("tool_calls", "name", "tool_call_id", "reasoning_content", "thinking", "reasoning")


def _without_absent(message: Mapping[str, Any]) -> Mapping[str, Any]:
    absent = [key for key in _MAY_BE_ABSENT if key in message and message[key] is None]
    return {key: value for key, value in message.items() if key not in absent} if absent else message


def _call_with_object(call: Any, where: str) -> Any:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    arguments = parsed(function.get("arguments"), f"{where}: arguments of a tool call")
    rest = {key: value for key, value in call.items() if key == "id" and value}
    return {**rest, "type": "function", "function": {"name": function.get("name"), "arguments": arguments}}


# ── ShareGPT, and Hermes inside it ──────────────────────────────────────────────────────────────────────────────────


def from_sharegpt(record: Record, where: str) -> Conversation:
    """Read a list of {from, value}; some sets keep OpenAI's messages in this column."""
    turns = _listed(record["conversations"], where)
    if not isinstance(turns, list):
        return Conversation(turns)
    messages = [_sharegpt_message(turn, f"{where}: message {index}") for index, turn in enumerate(turns)]
    return Conversation(opened(record, messages))


def _sharegpt_message(turn: Any, where: str) -> Any:
    if not isinstance(turn, Mapping) or "from" not in turn:
        return with_call_objects(turn, where)
    speaker = turn["from"]
    if not isinstance(speaker, str) or speaker not in SHAREGPT_ROLES:
        raise DataError(f"role {speaker!r}", where=where, expected=" | ".join(SHAREGPT_ROLES))
    if speaker == "function_call":
        call = parsed(turn.get("value"), where)
        calls = call if isinstance(call, list) else [call]
        return {"role": "assistant", "content": None, "tool_calls": [_call_with_object(c, where) for c in calls]}
    return {"role": SHAREGPT_ROLES[speaker], "content": turn.get("value")}


_RESPONSE: Final = re.compile(r"\s*<tool_response>(.*?)</tool_response>\s*", re.DOTALL)
_HERMES_OPENING: Final = "You are a function calling AI model"


def is_hermes(record: Record) -> bool:
    """True where turns carry calls, or the system text carries tools, in Hermes' tags."""
    turns = record.get("conversations")
    texts = [turn.get("value") for turn in turns if isinstance(turn, Mapping)] if isinstance(turns, list) else []
    texts.append(record.get("system"))
    return any(isinstance(text, str) and ("<tool_call>" in text or "<tools>" in text) for text in texts)


def from_hermes(record: Record, where: str) -> Conversation:
    """Read ShareGPT turns with the calls, tools and results that stand in their text as tags.

    A system text of Hermes' own words goes: the model's template says it in its own. The ids of calls are not there.
    """
    read = from_sharegpt(record, where)
    if not isinstance(read.messages, list):
        return read
    messages, tools = [], parsed(record.get("tools"), f"{where}: tools") or None
    for index, message in enumerate(read.messages):
        if isinstance(message, dict) and isinstance(message.get("content"), str):
            message, found = _without_tags(message, f"{where}: message {index}")
            tools = tools or found
        if message is not None:
            messages.append(message)
    return Conversation(messages, tools)


def _without_tags(message: dict[str, Any], where: str) -> tuple[dict[str, Any] | None, Any]:
    role, text = message["role"], message["content"]
    if role == "system" and "<tools>" in text:
        return _hermes_system(text, where)
    if role == "assistant" and "<tool_call>" in text:
        return _hermes_answer(text, where), None
    if role == "tool" and (found := _RESPONSE.fullmatch(text)):
        return {**message, "content": found.group(1).strip()}, None
    return message, None


def _hermes_system(text: str, where: str) -> tuple[dict[str, Any] | None, Any]:
    inside, around = _in_tags(text)
    found = next(filter(None, map(str.strip, inside)), "")  # Hermes' own words name empty tags first
    tools = parsed(found, f"{where}: <tools>") if found else None
    rest = "" if text.lstrip().startswith(_HERMES_OPENING) else around.strip()
    return ({"role": "system", "content": rest} if rest else None), tools


def _in_tags(text: str, opening: str = "<tools>", closing: str = "</tools>") -> tuple[list[str], str]:
    """Return what stands in the tags, and the text without them. Linear also where tags are never closed."""
    inside, around, at = [], [], 0
    while (begin := text.find(opening, at)) >= 0 and (end := text.find(closing, begin)) >= 0:
        around.append(text[at:begin])
        inside.append(text[begin + len(opening) : end])
        at = end + len(closing)
    return inside, "".join([*around, text[at:]])


def _hermes_answer(text: str, where: str) -> dict[str, Any]:
    from tunewright.chat.tool_calls import parse_tool_calls

    answer = parse_tool_calls(text)
    if answer.malformed:
        raise DataError("a <tool_call> that is no JSON call", where=where, expected='{"name": …, "arguments": {…}}')
    calls = [
        {"type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in answer.calls
    ]
    return {"role": "assistant", "content": text[: text.index("<tool_call>")].strip() or None, "tool_calls": calls}


# ── questions and answers ───────────────────────────────────────────────────────────────────────────────────────────


def from_completion(record: Record, where: str) -> Conversation:
    """Read prompt + completion: text each, or lists of messages."""
    return Conversation(_joined(record, record["prompt"], record["completion"], where))


def from_question(record: Record, where: str) -> Conversation:
    """Read question + answer, as prompt + completion."""
    return Conversation(_joined(record, record["question"], record["answer"], where))


def from_preference(record: Record, where: str) -> Conversation:
    """Read chosen + rejected, each a text, or messages that may open with the prompt's."""
    prompt = record.get("prompt")
    chosen, rejected = (_joined(record, prompt, record[name], where) for name in ("chosen", "rejected"))
    last = rejected[-1:] if isinstance(rejected, list) else rejected
    return Conversation(chosen, meta={"rejected": last})


def _joined(record: Record, prompt: Any, answer: Any, where: str) -> Any:
    """Return question and answer as one conversation; an answer in messages may hold the question itself."""
    if isinstance(answer, list) and (isinstance(prompt, list) or _are_messages(answer)):
        if prompt is None or _opens(answer):
            return opened(record, _messages(answer, where))
        asked = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
        return opened(record, _messages([*asked, *answer], where))
    if prompt is None:
        raise DataError(
            "chosen is text, and there is no prompt", where=where, expected="`prompt`, or lists of messages"
        )
    asked = prompt if isinstance(prompt, list) and _are_messages(prompt) else [{"role": "user", "content": prompt}]
    return opened(record, [*_messages(asked, where), {"role": "assistant", "content": answer}])


def _are_messages(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, Mapping) and "role" in item for item in items)


def _opens(messages: list[Any]) -> bool:
    return bool(messages) and isinstance(messages[0], Mapping) and messages[0].get("role") in ("system", "user")


def from_alpaca(record: Record, where: str) -> Conversation:
    """Read instruction (+ input) + output."""
    asked = record["instruction"]
    if record.get("input") and isinstance(asked, str):
        asked = f"{asked}\n\n{record['input']}"
    turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": record["output"]}]
    return Conversation(opened(record, turns))


def from_text(record: Record, where: str) -> Conversation:
    """Read a text as the answer to `prompt`; a text without a question makes no conversation."""
    return from_completion({**record, "completion": record["text"]}, where)


def opened(record: Record, messages: Any) -> Any:
    """Return the messages behind the record's system text, where it has one that they do not open with."""
    system = record.get("system")
    if not system or not isinstance(messages, list):
        return messages
    opening = {"role": "system", "content": system}
    return messages if messages[:1] == [opening] else [opening, *messages]

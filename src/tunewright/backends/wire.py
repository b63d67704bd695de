"""OpenAI's protocol as bytes on the wire: a prompt becomes a request, a response becomes an answer.

    chat_body, completion_body   what is sent
    read_answer                  what came back: text, with tool calls at its end in Hermes form, and the usage
    prompt_hash                  what the model was asked, whoever renders it: equal hashes mean equal prompts

Nothing here opens a connection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tunewright.artifacts.fingerprint import fingerprint
from tunewright.backends.protocol import Prompt, Sampling

_STOPPED = {"stop", "tool_calls", "function_call", "eos", "end_turn", "stop_sequence"}


class BadAnswer(ValueError):
    """A response that is not what the protocol says, or that says the server failed.

    `status` is the error code that stood in the body of a response with status 200, as some gateways send it.
    """

    def __init__(self, seen: str, status: int | None = None):
        super().__init__(seen)
        self.status = status


@dataclass(frozen=True)
class Usage:
    """Tokens of one request as the server counted them; `cached` of the prompt's were read from its cache."""

    prompt: int
    completion: int
    cached: int = 0


@dataclass(frozen=True)
class Answer:
    """What a server answered. `usage` is None when it did not say."""

    text: str
    finish: Literal["stop", "length"]
    usage: Usage | None


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────────


def chat_body(prompt: Prompt, model: str, sampling: Sampling, limit_field: str = "max_tokens") -> dict[str, Any]:
    """Return the body of POST /chat/completions. Optional keys are left out: some servers refuse what they ignore.

    Args:
        prompt: with `messages`.
        model: the name that the server knows it by.
        sampling: how to generate.
        limit_field: `max_tokens`, or `max_completion_tokens` where a vendor wants that.
    """
    body: dict[str, Any] = {"model": model, "messages": wire_messages(prompt.messages or ())}
    if prompt.tools:
        body["tools"] = [wire_tool(tool) for tool in prompt.tools]
    return body | _settings(prompt.id, sampling, limit_field)


def completion_body(prompt: Prompt, text: str | None, model: str, sampling: Sampling) -> dict[str, Any]:
    """Return the body of POST /completions: the token ids themselves, or `text` for servers that take only text."""
    body = {"model": model, "prompt": list(prompt.token_ids) if text is None else text}
    return body | _settings(prompt.id, sampling, "max_tokens")


def _settings(row: str, sampling: Sampling, limit_field: str) -> dict[str, Any]:
    settings: dict[str, Any] = {limit_field: sampling.max_new_tokens, "temperature": sampling.temperature}
    if sampling.top_p != 1.0:
        settings["top_p"] = sampling.top_p
    if sampling.temperature > 0:
        settings["seed"] = row_seed(sampling.seed, row)
    if sampling.stop:
        settings["stop"] = list(sampling.stop)
    return settings


def row_seed(seed: int, row: str) -> int:
    """Return a row's own seed, in [0, 2³¹): the same for the same row, whatever else is asked."""
    digest = hashlib.sha256(f"{seed}\0{row}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def wire_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages as the protocol wants them: arguments as JSON text, and an id on every call and its result."""
    found, open_ids, number = [], list[str](), 0
    for message in messages:
        out = {key: value for key, value in message.items() if value is not None or key == "content"}
        if out.get("tool_calls"):
            calls = []
            for call in out["tool_calls"]:
                calls.append(_wire_call(call, number))
                number += 1
            out["tool_calls"], open_ids = calls, [call["id"] for call in calls]
            out.setdefault("content", None)
        if out.get("role") == "tool":
            expected = open_ids.pop(0) if open_ids else f"call_{number}"
            out.setdefault("tool_call_id", expected)
        found.append(out)
    return found


def _wire_call(call: Mapping[str, Any], number: int) -> dict[str, Any]:
    function = call["function"]
    arguments = function.get("arguments", {})
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {
        "id": call.get("id") or f"call_{number}",
        "type": "function",
        "function": {"name": function["name"], "arguments": text},
    }


def wire_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as the protocol wants it: the bare function description gets its wrapper."""
    return dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}


# ── parity ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def prompt_hash(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None = None) -> str:
    """Return the SHA-256 of what a model was asked: system text, messages and tools.

    The same for a row as our renderer takes it and for the request that was sent for it, so that a hosted model and a
    tuned one can be held against each other. What two writings of the same prompt may differ in does not count: ids of
    calls, arguments as an object or as JSON text, keys that are null, no tools or an empty list of them.
    """
    asked = [_essence(message) for message in messages]
    return fingerprint({"messages": asked, "tools": [wire_tool(tool) for tool in tools or ()]})


def body_hash(body: Mapping[str, Any]) -> str:
    """Return `prompt_hash` of a request as it was sent; of its prompt where it has no messages."""
    if "messages" in body:
        return prompt_hash(body["messages"], body.get("tools"))
    return fingerprint({"prompt": body["prompt"]})


def _essence(message: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in message.items() if value is not None and key not in ("id", "tool_call_id")}
    if message.get("tool_calls"):
        kept["tool_calls"] = [
            {"name": call["function"]["name"], "arguments": _as_value(call["function"].get("arguments", {}))}
            for call in message["tool_calls"]
        ]
        kept["content"] = kept.get("content") or ""
    return kept


def _as_value(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments


# ── responses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def read_answer(response: Any, names: Mapping[str, str] | None = None) -> Answer:
    """Return the answer in a response of /chat/completions or /completions.

    Args:
        response: the JSON value.
        names: tools that were sent under another name: sent -> real (`tool_names.py`).

    Raises:
        BadAnswer: no choice, no text where text must be, an error in the body, or cut by the server's content filter:
            never an empty answer in place of one that is missing.
    """
    if not isinstance(response, dict):
        raise BadAnswer(f"a JSON {type(response).__name__} in place of an object")
    if response.get("error"):
        raise _told_error(response["error"])
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise BadAnswer("a response without a choice")
    choice = choices[0]
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise BadAnswer("the server's content filter cut the answer", status=400)
    if reason not in (*_STOPPED, "length", None):
        raise BadAnswer(f"finish_reason {str(reason)[:40]!r}")
    text = _choice_text(choice, names or {})
    return Answer(text, "length" if reason == "length" else "stop", _usage(response.get("usage")))


def _told_error(error: Any) -> BadAnswer:
    message = error.get("message", error) if isinstance(error, dict) else error
    code = error.get("code") if isinstance(error, dict) else None
    return BadAnswer(f"the server says: {str(message)[:500]}", code if isinstance(code, int) else None)


def _choice_text(choice: Mapping[str, Any], names: Mapping[str, str]) -> str:
    if isinstance(choice.get("text"), str):
        return str(choice["text"])
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadAnswer("a choice without a message")
    text = _content(message.get("content"))
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadAnswer("tool_calls that are no list")
    if text is None and not calls:
        text = message.get("refusal") if isinstance(message.get("refusal"), str) else None
        if text is None and choice.get("finish_reason") is None:
            raise BadAnswer("a message without content")
    return "\n".join([*([text] if text else []), *(hermes_call(call, names) for call in calls)])


def _content(content: Any) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    raise BadAnswer(f"content that is a {type(content).__name__}")


def hermes_call(call: Any, names: Mapping[str, str] | None = None) -> str:
    """Return a served tool call as a model of the Hermes family writes it.

    Arguments that are no JSON stay as they came and make the whole malformed, also where they are cut so that the
    whole would be JSON again.

    Raises:
        BadAnswer: a call without a name.
    """
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadAnswer("a tool call without a name")
    real = (names or {}).get(function["name"], function["name"])
    name, arguments = json.dumps(real, ensure_ascii=False), function.get("arguments")
    raw = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    end = "}"
    if _is_json(raw):
        raw = raw.replace("</tool_call>", "<\\/tool_call>")  # the same JSON, and not the end of the region
    elif _is_json(f'{{"name": {name}, "arguments": {raw}}}'):
        end = ""
    return f'<tool_call>\n{{"name": {name}, "arguments": {raw}{end}\n</tool_call>'


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    counts = [count for count in (prompt, completion, cached or 0) if isinstance(count, int) and count >= 0]
    return Usage(*counts) if len(counts) == 3 else None

"""What a chat template does, found out by rendering small conversations: no template is known by its name.

Found once for a model: the tokens that end an answer, what opens one, whether there is a place for tools and for calls,
and whether one BOS opens the whole text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from tunewright.chat.template import ChatTemplate, Messages
from tunewright.chat.tokens import Codec
from tunewright.errors import ModelError

QUESTION = {"role": "user", "content": "Hello"}
# Plain letters and digits, so that no template trims, escapes or splits it.
MARKER = "TunewrightMarker7f3a9c"


def around_answer(template: ChatTemplate, *then: Mapping[str, Any]) -> tuple[str, str]:
    """Return what the template writes before and behind the first answer of a conversation that goes on with `then`.

    Raises:
        ModelError: it does not write the answer, or writes it twice.
    """
    before, *after = template.render([QUESTION, {"role": "assistant", "content": MARKER}, *then]).split(MARKER)
    if len(after) != 1:
        raise ModelError(
            "the chat template does not write what the assistant says", where=template.where,
            fix="use the model's own chat template",
        )  # fmt: skip
    return before, after[0]


def stop_token_ids(template: ChatTemplate, codec: Codec, known: Sequence[int]) -> tuple[int, ...]:
    """Return the tokens that end an answer: the `known` ones; if the template writes none of them, its last too."""
    _, after = around_answer(template)
    # Gemma's tokenizer lists the line break among its added tokens: it closes no turn.
    written = [token for token in codec.encode(after)[0] if codec.added.get(token, "").strip()]
    if set(written) & set(known) or not written:
        return tuple(known)
    return (*known, written[-1])


def answer_header(template: ChatTemplate, codec: Codec) -> str:
    """Return what opens an earlier answer and is the generation prompt too: equal tokens, not only characters."""
    prompt = generation_prompt(template)
    before, _ = around_answer(template, QUESTION)
    opening = before.removeprefix(template.render([QUESTION]))
    ids, starts = codec.encode(prompt)
    pairs = zip(ids, codec.encode(opening)[0], strict=False)
    num_same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return prompt if num_same == len(ids) else prompt[: starts[num_same]]


def generation_prompt(template: ChatTemplate) -> str:
    """Return what the template adds when the assistant is to answer.

    Raises:
        ModelError: it adds nothing, yet writes a header before an answer: no prompt could end where answers begin.
    """
    without, prompt = template.render([QUESTION]), template.render([QUESTION], add_generation_prompt=True)
    before, _ = around_answer(template)
    if prompt == without and before.removeprefix(prompt).strip():
        raise ModelError(
            f"the chat template has no generation prompt: it writes {before.removeprefix(prompt)!r} before an answer, "
            "but not at the end of a prompt",
            where=template.where,
            fix="add {% if add_generation_prompt %}…{% endif %} to the end of chat_template.jinja",
        )
    return prompt.removeprefix(without)


def opening_bos(template: ChatTemplate, bos: str | None) -> str:
    """Return the token that opens every document, or "" where there is none.

    A token that stands in front of every turn as well (SmolLM2 calls its `<|im_start|>` so) opens no document.
    """
    talk = [QUESTION, {"role": "assistant", "content": "Hi"}, QUESTION]
    text = template.render(talk, add_generation_prompt=True)
    return bos if bos and text.startswith(bos) and text.count(bos) == 1 else ""


TOOL = {
    "type": "function",
    "function": {
        "name": "tunewright_probe",
        "description": "Probe.",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    },
}


def shows_tools(template: ChatTemplate) -> bool:
    """True if the template writes the tools it is given."""
    return _writes(template, ["tunewright_probe"], [QUESTION], [TOOL])


@dataclass(frozen=True)
class CallStyle:
    """How a template wants a message with tool calls: what stands for no content, and the form of the arguments."""

    no_content: str | None
    arguments_as_text: bool

    def applied(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the message in this style; one without calls as it is."""
        calls = message.get("tool_calls")
        if not calls:
            return message
        content = message.get("content") or self.no_content
        return {**message, "content": content, "tool_calls": [self._call(call) for call in calls]}

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        arguments = call["function"]["arguments"]
        shown = json.dumps(arguments, ensure_ascii=False) if self.arguments_as_text else arguments
        return {**call, "function": {**call["function"], "arguments": shown}}


# In order of preference. Many templates print a null as `None`; DeepSeek's see calls only beside a null, and want the
# arguments as text.
_CALL_STYLES = (CallStyle("", False), CallStyle(None, False), CallStyle("", True), CallStyle(None, True))


def call_style(template: ChatTemplate) -> CallStyle | None:
    """Return the first style in which the template writes an assistant's calls, or None if it writes none."""
    function = {"name": "tunewright_call", "arguments": {"tunewright_argument": 1}}
    call = {"id": "probe0001", "type": "function", "function": function}  # Mistral wants ids of nine characters
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    words = ["tunewright_call", "tunewright_argument"]
    fits = (style for style in _CALL_STYLES if _writes(template, words, [QUESTION, style.applied(answer)]))
    return next(fits, None)


def _writes(template: ChatTemplate, words: Sequence[str], messages: Messages, tools: Messages | None = None) -> bool:
    try:
        text = template.render(messages, tools)
    except ModelError:  # it has no place for this at all
        return False
    return all(word in text for word in words)

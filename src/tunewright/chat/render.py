"""The one place that renders: for training, evaluation and serving, messages become tokens here and nowhere else.

reads    a model's tokenizer folder
gives    token ids with a mask that is True exactly on the assistant's tokens and their end-of-turn; prompts that are
         an exact prefix of the conversation they open; text of an answer, and answers decoded again

The mask is exact or there is none: where a template gives no exact answer, the conversation is refused (`spans.py`).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from tunewright.chat import tools as tool_text
from tunewright.chat.folder import TokenizerFolder, read_folder
from tunewright.chat.messages import check_messages, plain
from tunewright.chat.spans import MARKER, Dialect, RenderedText, Turn
from tunewright.chat.template import ChatTemplate, Span
from tunewright.chat.tokens import Codec
from tunewright.errors import ModelError

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]

_QUESTION = {"role": "user", "content": "Hello"}


@dataclass(frozen=True)
class Rendered:
    """A conversation as the model sees it."""

    text: str
    token_ids: list[int]
    trained: list[bool]
    """one a token: does it count in the loss"""
    spans: list[Span]
    """the trained characters of `text`"""


class Renderer:
    """Renders for one model. Make it with `Renderer.from_folder`; it can be shared between threads.

    Attributes:
        stop_token_ids: tokens that end an answer: eos of tokenizer and generation config, and what the template writes.
        pad_token_id: the padding token, or an end-of-turn token where the model has none.
        context_length: longest input in tokens, or None where the model does not say.
        template_sha256: hash of the chat template's source.
        tools_in_template: True if the template has a place for tools; else they go into the system turn as text.
    """

    def __init__(self, folder: TokenizerFolder):
        self.folder = folder.path
        self.context_length = folder.context_length
        self._template = ChatTemplate(folder.template, folder.special_tokens, where=str(folder.path))
        self.template_sha256 = self._template.sha256
        self._codec = Codec(folder.tokenizer)
        self.stop_token_ids = self._stops(folder.stop_token_ids)
        pad = folder.pad_token_id
        self.pad_token_id = pad if pad is not None else next(iter(self.stop_token_ids), 0)
        self.tools_in_template = _shows_tools(self._template)
        self._call_style = _call_style(self._template) if self.tools_in_template else None
        self._bos = _opening_bos(self._template, folder.special_tokens.get("bos_token"))
        stops = tuple(self._codec.tokenizer.id_to_token(stop) or "" for stop in self.stop_token_ids)
        self._dialect = Dialect(self._template, self._header(), tuple(stop for stop in stops if stop))

    @classmethod
    def from_folder(cls, folder: Path) -> Renderer:
        """Load the tokenizer and chat template in `folder`.

        Raises:
            ModelError: no tokenizer, no template, or one that cannot be used; says what to do.
        """
        return cls(read_folder(folder))

    def conversation(self, messages: Messages, tools: Tools | None = None) -> Rendered:
        """Render a whole conversation, with its mask.

        Raises:
            DataError: the messages are not a conversation that ends with an answer; names the message.
            ModelError: the template refuses them, or gives no exact mask.
        """
        check_messages(messages)
        rendered = self._text(messages, tools)
        turns = rendered.turns()
        spans = [span for turn in turns for span in turn.trained]
        token_ids, starts = self._codec.encode(rendered.text, self._cuts(rendered.text, turns))
        return Rendered(rendered.text, token_ids, _inside(starts, spans), spans)

    def prompt(
        self,
        messages: Messages,
        tools: Tools | None = None,
        shots: Iterable[tuple[Messages, Tools | None]] = (),
    ) -> list[int]:
        """Return the token ids of a prompt, up to where the assistant begins to write.

        Without shots it is an exact prefix of `conversation(messages + [answer]).token_ids`.

        Args:
            messages: the conversation so far; the last is not the assistant's.
            tools: the tools of this conversation.
            shots: worked examples, (messages, tools) of whole conversations, put in front; one BOS for all.

        Raises:
            DataError, ModelError: as `conversation`.
        """
        check_messages(messages, ends_with_answer=False)
        text, cuts = "", list[int]()
        for shot_messages, shot_tools in shots:
            check_messages(shot_messages)
            text, cuts = self._join(text, cuts, self._text(shot_messages, shot_tools))
        text, cuts = self._join(text, cuts, self._text(messages, tools, is_prompt=True))
        return self._codec.encode(text, cuts)[0]

    def answer_text(self, message: Mapping[str, Any], tools: Tools | None = None) -> str:
        """Return an assistant message as the model should write it, without its end-of-turn."""
        rendered = self._text([_QUESTION, message], tools)
        turn = rendered.turns()[-1]
        text = rendered.text[turn.begin : turn.end]
        stop = next((stop for stop in self._dialect.stops if text.endswith(stop)), "")
        return text.removesuffix(stop)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of an answer: end-of-turn and padding removed, everything else as the model wrote it."""
        padding = {self.pad_token_id} if self.pad_token_id in self._codec.added else set[int]()
        return self._codec.decode(ids, without=padding | set(self.stop_token_ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return a display text for each token; together they are the text, special tokens included."""
        return self._codec.pieces(ids)

    def _text(self, messages: Messages, tools: Tools | None, is_prompt: bool = False) -> RenderedText:
        prepared, native_tools = self._prepared(messages, tools)
        text, blocks = self._template.render_with_blocks(prepared, native_tools, add_generation_prompt=is_prompt)
        return RenderedText(self._dialect, prepared, native_tools, text, tuple(blocks), is_prompt)

    def _prepared(self, messages: Messages, tools: Tools | None) -> tuple[list[dict[str, Any]], Tools | None]:
        """Return messages and tools as this template takes them."""
        wrapped = tool_text.normalize_tools(tools)
        prepared = [plain(message) for message in messages]
        if self._call_style is None:
            prepared = tool_text.calls_in_content(prepared)
        else:
            prepared = [self._call_style.applied(message) for message in prepared]
        if not self.tools_in_template:
            return tool_text.offer_in_system(prepared, wrapped), None
        return prepared, wrapped or None

    def _cuts(self, text: str, turns: Sequence[Turn]) -> list[int]:
        """Return where tokens must end: before every answer, and behind one that no end-of-turn token closes."""
        open_ends = [turn.end for turn in turns if not text.endswith(self._dialect.stops, turn.begin, turn.end)]
        return [*(turn.begin for turn in turns), *open_ends]

    def _join(self, text: str, cuts: list[int], part: RenderedText) -> tuple[str, list[int]]:
        skipped = len(self._bos) if text and part.text.startswith(self._bos) else 0
        moved = [len(text) + cut - skipped for cut in self._cuts(part.text, part.turns())]
        return text + part.text[skipped:], cuts + moved

    def _stops(self, known: Sequence[int]) -> tuple[int, ...]:
        """Return the tokens that end an answer: the known ones; if the template writes none of them, its last too."""
        _, after = self._around_answer()
        written = [token for token in self._codec.encode(after)[0] if token in self._codec.added]
        if set(written) & set(known) or not written:
            return tuple(known)
        return (*known, written[-1])

    def _header(self) -> str:
        """Return what opens an earlier answer and is the generation prompt too: equal tokens, not only characters."""
        generation_prompt, (before, _) = _generation_prompt(self._template), self._around_answer(_QUESTION)
        opening = before.removeprefix(self._template.render([_QUESTION]))
        ids, starts = self._codec.encode(generation_prompt)
        pairs = zip(ids, self._codec.encode(opening)[0], strict=False)
        num_same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return generation_prompt if num_same == len(ids) else generation_prompt[: starts[num_same]]

    def _around_answer(self, *then: Mapping[str, Any]) -> tuple[str, str]:
        """Return what the template writes before and behind the first answer of a conversation."""
        answer = {"role": "assistant", "content": MARKER}
        before, *after = self._template.render([_QUESTION, answer, *then]).split(MARKER)
        if len(after) != 1:
            raise ModelError(
                "the chat template does not write what the assistant says", where=self._template.where,
                fix="use the model's own chat template",
            )  # fmt: skip
        return before, after[0]


def _inside(starts: Sequence[int], spans: Sequence[Span]) -> list[bool]:
    """Return for each token if it begins inside one of the spans, which are sorted and apart."""
    lefts = [left for left, _ in spans]
    found = (bisect_right(lefts, start) - 1 for start in starts)
    return [index >= 0 and start < spans[index][1] for index, start in zip(found, starts, strict=True)]


def _generation_prompt(template: ChatTemplate) -> str:
    """Return what the template adds when the assistant is to answer.

    Raises:
        ModelError: it adds nothing, yet writes a header before an answer: no prompt could end where answers begin.
    """
    without, prompt = template.render([_QUESTION]), template.render([_QUESTION], add_generation_prompt=True)
    before = template.render([_QUESTION, {"role": "assistant", "content": MARKER}]).split(MARKER)[0]
    if prompt == without and before.removeprefix(prompt).strip():
        raise ModelError(
            f"the chat template has no generation prompt: it writes {before.removeprefix(prompt)!r} before an answer, "
            "but not at the end of a prompt",
            where=template.where,
            fix="add {% if add_generation_prompt %}…{% endif %} to the end of chat_template.jinja",
        )
    return prompt.removeprefix(without)


def _opening_bos(template: ChatTemplate, bos: str | None) -> str:
    """Return the token that opens every document, or "" where there is none.

    A token that stands in front of every turn as well (SmolLM2 calls its `<|im_start|>` so) opens no document.
    """
    talk = [_QUESTION, {"role": "assistant", "content": "Hi"}, _QUESTION]
    text = template.render(talk, add_generation_prompt=True)
    return bos if bos and text.startswith(bos) and text.count(bos) == 1 else ""


_PROBE = {
    "type": "function",
    "function": {
        "name": "tunewright_probe",
        "description": "Probe.",
        "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
    },
}


def _shows_tools(template: ChatTemplate) -> bool:
    """True if the template writes the tools it is given."""
    return _writes(template, ["tunewright_probe"], [_QUESTION], [_PROBE])


@dataclass(frozen=True)
class _CallStyle:
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
_CALL_STYLES = (_CallStyle("", False), _CallStyle(None, False), _CallStyle("", True), _CallStyle(None, True))


def _call_style(template: ChatTemplate) -> _CallStyle | None:
    """Return the first style in which the template writes an assistant's calls, or None if it writes none."""
    function = {"name": "tunewright_call", "arguments": {"tunewright_argument": 1}}
    call = {"id": "probe0001", "type": "function", "function": function}  # Mistral wants ids of nine characters
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    words = ["tunewright_call", "tunewright_argument"]
    fits = (style for style in _CALL_STYLES if _writes(template, words, [_QUESTION, style.applied(answer)]))
    return next(fits, None)


def _writes(template: ChatTemplate, words: Sequence[str], messages: Messages, tools: Tools | None = None) -> bool:
    try:
        text = template.render(messages, tools)
    except ModelError:  # it has no place for this at all
        return False
    return all(word in text for word in words)

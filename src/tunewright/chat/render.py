"""The one place that renders: for training, evaluation and serving, messages become tokens here and nowhere else.

reads    a model's tokenizer folder
gives    token ids with a mask that is True exactly on the assistant's tokens and their end-of-turn; prompts that are
         an exact prefix of the conversation they open; text of an answer, and answers decoded again

The mask is exact or there is none: where a template gives no exact answer, the conversation is refused (`spans.py`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.chat import probe
from tunewright.chat import tools as tool_text
from tunewright.chat.folder import TokenizerFolder, read_folder
from tunewright.chat.messages import check_messages, plain
from tunewright.chat.spans import Dialect, RenderedText, Turn
from tunewright.chat.template import ChatTemplate, Messages, Span
from tunewright.errors import DataError, ModelError

Tools = Messages


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

    def __init__(self, folder: TokenizerFolder, template_kwargs: Mapping[str, Any] | None = None):
        self.folder = folder.path
        self.context_length = folder.context_length
        variables = {**folder.special_tokens, **_checked(template_kwargs or {})}
        self._template = ChatTemplate(folder.template, variables, where=str(folder.path))
        self._start_token = folder.special_tokens.get("bos_token") or folder.special_tokens.get("eos_token") or ""
        self.template_sha256 = self._template.sha256
        self._codec = folder.codec
        self.stop_token_ids = probe.stop_token_ids(self._template, self._codec, folder.stop_token_ids)
        pad = folder.pad_token_id
        self.pad_token_id = pad if pad is not None else next(iter(self.stop_token_ids), 0)
        self.tools_in_template = probe.shows_tools(self._template)
        self._call_style = probe.call_style(self._template) if self.tools_in_template else None
        self._bos = probe.opening_bos(self._template, folder.special_tokens.get("bos_token"))
        stops = tuple(self._codec.tokenizer.id_to_token(stop) or "" for stop in self.stop_token_ids)
        header = probe.answer_header(self._template, self._codec)
        self._dialect = Dialect(self._template, header, tuple(stop for stop in stops if stop))

    @classmethod
    def from_folder(cls, folder: Path, template_kwargs: Mapping[str, Any] | None = None) -> Renderer:
        """Load the tokenizer and chat template in `folder`.

        Args:
            folder: where they lie.
            template_kwargs: what the template is told beside the messages: `{enable_thinking: false}`.

        Raises:
            ModelError: no tokenizer, no template, or one that cannot be used; says what to do.
        """
        return cls(read_folder(folder), template_kwargs)

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
        return self._codec.encode(*self._prompt_text(messages, tools, shots))[0]

    def continuation(
        self,
        text: str,
        messages: Messages | None = None,
        tools: Tools | None = None,
        shots: Iterable[tuple[Messages, Tools | None]] = (),
    ) -> tuple[list[int], int]:
        """Return the token ids of `text` behind its prompt, and the index at which it begins.

        Args:
            text: what may follow; encoded as an answer is.
            messages: the prompt; None for a text that stands alone, behind the tokenizer's own start token.
            tools: the tools of the prompt.
            shots: worked examples, as for `prompt`.

        Raises:
            DataError, ModelError: as `conversation`. DataError: the text has no tokens, or nothing stands before it.
        """
        before, cuts = self._start_token, list[int]()
        if messages is not None:
            before, cuts = self._prompt_text(messages, tools, shots)
        ids, starts = self._codec.encode(before + text, [*cuts, len(before)])
        start = bisect_left(starts, len(before))
        if not 0 < start < len(ids):
            raise DataError(f"{text[:80]!r} has no tokens" if start else "no token stands before the text")
        return ids, start

    def as_sent(self, messages: Messages, tools: Tools | None = None) -> tuple[list[dict[str, Any]], Tools | None]:
        """Return messages and tools as a server of this model must be sent them, so that it renders what we do.

        Where the template has no place for tools they stand in the system turn, and calls in the contents.
        """
        return self._prepared(messages, tools)

    def text_of(self, sent: Messages, sent_tools: Tools | None, *, is_prompt: bool = False) -> str:
        """Return what the template writes for messages `as_sent`; nothing is checked and no mask is made.

        Raises:
            ModelError: the template refuses them.
        """
        return self._template.render(sent, sent_tools, add_generation_prompt=is_prompt)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text that a template wrote: no special token is added."""
        return self._codec.encode(text)[0]

    def answer_text(self, message: Mapping[str, Any], tools: Tools | None = None) -> str:
        """Return an assistant message as the model should write it, without its end-of-turn."""
        rendered = self._text([probe.QUESTION, message], tools)
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

    def _prompt_text(
        self, messages: Messages, tools: Tools | None, shots: Iterable[tuple[Messages, Tools | None]]
    ) -> tuple[str, list[int]]:
        """Return the text of a prompt, and where its tokens must end."""
        check_messages(messages, ends_with_answer=False)
        text, cuts = "", list[int]()
        for shot_messages, shot_tools in shots:
            check_messages(shot_messages)
            text, cuts = self._join(text, cuts, self._text(shot_messages, shot_tools))
        return self._join(text, cuts, self._text(messages, tools, is_prompt=True))

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


_OURS = ("messages", "tools", "documents", "add_generation_prompt")


def _checked(template_kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    taken = [name for name in template_kwargs if name in _OURS]
    if taken:
        raise ModelError(f"`template_kwargs` sets {', '.join(taken)}", fix="leave it out: the renderer sets it")
    return template_kwargs


def _inside(starts: Sequence[int], spans: Sequence[Span]) -> list[bool]:
    """Return for each token if it begins inside one of the spans, which are sorted and apart."""
    lefts = [left for left, _ in spans]
    found = (bisect_right(lefts, start) - 1 for start in starts)
    return [index >= 0 and start < spans[index][1] for index, start in zip(found, starts, strict=True)]

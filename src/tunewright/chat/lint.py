"""Template lint: what a chat template writes, held against the tokenizer that stands beside it.

reads    a tokenizer folder
gives    `TemplateFacts`: measurements only; gates/format.py says what is wrong with them

Found out by rendering: a conversation with and without a system turn, with tools and a call, as a prompt. What looks
like a control token in it (`<|im_end|>`, `<start_of_turn>`) must be one id of this tokenizer; `<|system|>` in a Llama 3
run is five ordinary tokens that the model has never seen in this place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from tunewright.chat import probe
from tunewright.chat.folder import TokenizerFolder
from tunewright.chat.template import ChatTemplate, Messages
from tunewright.chat.tokens import Codec
from tunewright.errors import ModelError

# The forms in which released models write control tokens: <|x|> (most), <｜x｜> (DeepSeek), <|x> and <x|> (Gemma 4),
# Gemma's turns, and sentencepiece's own. `[INST]`, `<think>`, `<tool_call>` are ordinary text in some of them.
CONTROL_TEXT = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>|<\|[A-Za-z_]{1,40}>|<[A-Za-z_]{1,40}\|>|<(?:start|end)_of_turn>"
    r"|</?s>|<(?:bos|eos|pad|unk)>"
)
# Held free by the tokenizer's authors: nobody means them.
RESERVED = re.compile(r"reserved|unused|extra_id|place[\s▁_]*holder|dummy|SPECIAL_\d|fim[_▁]|^<0x", re.IGNORECASE)
NEAREST = 2
NAMED = 8  # control tokens that a remedy lists
_STYLE_CHARS = 2  # `<|`, `<｜`, `<s`: what tells one family's control tokens from another's


@dataclass(frozen=True)
class Written:
    """A control text that the template writes, and what this tokenizer makes of it."""

    text: str
    num_tokens: int
    token_id: int | None
    """its id, where it is one token"""
    nearest: tuple[str, ...] = ()
    """the model's own control tokens that look most like it, where it is none"""
    for_tools: bool = False
    """True if it is written only where there are tools"""


@dataclass(frozen=True)
class TemplateFacts:
    """What the template of a model writes. Texts of tokens where not said otherwise."""

    template_sha256: str
    written: tuple[Written, ...]
    own_tokens: tuple[str, ...]
    """the tokenizer's control tokens, reserved ones left out"""
    bos: str
    num_bos: int
    """how often BOS opens a conversation: 1 is right"""
    tokenizer_adds_bos: bool
    """does the tokenizer itself open a plain text with BOS: then the model has learned to see it"""
    behind_answer: str
    """what the template writes behind an answer, at most 60 characters"""
    ends: tuple[str, ...]
    """the control tokens that close an answer; the first of them that something stops at ends the turn"""
    invented_end: str
    """the control text behind an answer that is no token, or "" """
    eos: str
    served_stops: tuple[str, ...]
    """where servers stop, by generation_config.json (else config.json); empty where neither says"""
    pad: str

    @property
    def invented(self) -> tuple[Written, ...]:
        """The control texts that are no token of this tokenizer."""
        return tuple(one for one in self.written if one.token_id is None)

    def has_style_of(self, invented: Sequence[Written]) -> bool:
        """True if the tokenizer has control tokens of the very form that one of `invented` has."""
        own = {text[:_STYLE_CHARS] for text in self.own_tokens}
        return any(one.text[:_STYLE_CHARS] in own for one in invented)


def lint_template(folder: TokenizerFolder) -> TemplateFacts:
    """Return what the template in `folder` writes.

    Raises:
        ModelError: it cannot be compiled, refuses a plain question and answer, or does not write the answer.
    """
    template = ChatTemplate(folder.template, folder.special_tokens, where=str(folder.path))
    codec = folder.codec
    own = _own_tokens(folder)
    texts = list(_renderings(template))
    _, behind = probe.around_answer(template)
    ends, invented_end = _ends(behind, codec)
    bos = folder.special_tokens.get("bos_token", "")
    bos_id = folder.tokenizer.token_to_id(bos) if bos else None
    return TemplateFacts(
        template_sha256=template.sha256,
        written=tuple(_written(texts, codec, own)),
        own_tokens=own,
        bos=bos if bos_id is not None else "",
        num_bos=0 if bos_id is None else _num_leading(codec.encode(texts[0][0])[0], bos_id),
        tokenizer_adds_bos=bos_id is not None and folder.tokenizer.encode("a").ids[:1] == [bos_id],
        behind_answer=behind[:60],
        ends=ends,
        invented_end=invented_end,
        eos=folder.special_tokens.get("eos_token", ""),
        served_stops=tuple(folder.tokenizer.id_to_token(stop) or f"id {stop}" for stop in folder.served_stop_ids),
        pad=(folder.tokenizer.id_to_token(folder.pad_token_id) or "") if folder.pad_token_id is not None else "",
    )


def _own_tokens(folder: TokenizerFolder) -> tuple[str, ...]:
    added = folder.tokenizer.get_added_tokens_decoder().values()
    return tuple(token.content for token in added if token.special and not RESERVED.search(token.content))


# ── what is rendered ────────────────────────────────────────────────────────────────────────────────────────────────

_ANSWER = {"role": "assistant", "content": probe.MARKER}
_TALK: Messages = (probe.QUESTION, _ANSWER, probe.QUESTION, _ANSWER)
_SYSTEM = {"role": "system", "content": "Tunewright"}
_RESULT = {"role": "tool", "name": "tunewright_call", "tool_call_id": "probe0001", "content": "Tunewright"}


def _renderings(template: ChatTemplate) -> Iterator[tuple[str, bool]]:
    """Yield conversations as the template writes them, and whether there are tools in them: those without come first.

    The first is plain; what the template refuses of the others is left out.

    Raises:
        ModelError: it refuses the plain one.
    """
    yield template.render(_TALK), False
    calling = _with_call(template)
    others: Sequence[tuple[Messages, bool, bool]] = (
        (_TALK[:3], False, True),
        ((_SYSTEM, *_TALK), False, False),
        (_TALK, True, False),
        (calling, True, False),
        ((*calling, _RESULT, _ANSWER), True, False),
    )
    for messages, has_tools, is_prompt in others:
        try:
            text = template.render(messages, [probe.TOOL] if has_tools else None, add_generation_prompt=is_prompt)
        except ModelError:  # no system turn, no tools: that is no fault
            continue
        yield text, has_tools


def _with_call(template: ChatTemplate) -> Messages:
    style = probe.call_style(template)
    function = {"name": "tunewright_call", "arguments": {"tunewright_argument": 1}}
    call = {"id": "probe0001", "type": "function", "function": function}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    return (probe.QUESTION, style.applied(answer) if style else _ANSWER)


# ── what is measured ────────────────────────────────────────────────────────────────────────────────────────────────


def _written(texts: Sequence[tuple[str, bool]], codec: Codec, own: Sequence[str]) -> Iterator[Written]:
    """Yield every control text once, in order; and the special tokens that have another form.

    Args:
        texts: each with whether there are tools in it, those without first.
        codec: of the tokenizer.
        own: its control tokens.
    """
    seen: set[str] = set()
    specials = {key for key, text in codec.added.items() if text in own}
    for text, has_tools in texts:
        ids, starts = codec.encode(text)
        at = dict(zip(starts, ids, strict=True))
        for found in CONTROL_TEXT.finditer(text):
            if found[0] not in seen:
                seen.add(found[0])
                yield replace(_one_written(found[0], at.get(found.start()), codec, own), for_tools=has_tools)
        for token in ids:
            if token in specials and codec.added[token] not in seen:
                seen.add(codec.added[token])
                yield Written(codec.added[token], 1, token, for_tools=has_tools)


def _one_written(text: str, token: int | None, codec: Codec, own: Sequence[str]) -> Written:
    """Return what `text` is; `token` is the id that begins where it begins, as it stands in the conversation."""
    whole = codec.tokenizer.token_to_id(text)
    if token is not None and token == whole:
        return Written(text, 1, token)
    nearest = get_close_matches(text, [other for other in own if other != text], n=NEAREST, cutoff=0.5)
    return Written(text, max(2, len(codec.encode(text)[0])), None, tuple(nearest))


def _num_leading(ids: Sequence[int], token: int) -> int:
    return next((place for place, other in enumerate(ids) if other != token), len(ids))


def _ends(behind: str, codec: Codec) -> tuple[tuple[str, ...], str]:
    """Return the control tokens that stand right behind an answer, and a control text there that is no token."""
    rest = behind.lstrip()
    ends = []
    for token in codec.encode(rest)[0]:
        if not codec.added.get(token, "").strip():  # Gemma has tokens of line ends among the added ones
            break
        ends.append(codec.added[token])
    invented = CONTROL_TEXT.match(rest)
    return tuple(ends), invented[0] if invented and not ends else ""

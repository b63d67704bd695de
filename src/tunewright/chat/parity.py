"""Parity: do training, evaluation and serving turn one conversation into the same tokens?

reads    conversations; whoever else renders them: a second renderer, transformers, a GGUF's template, a server
gives    `View`s, one a way of rendering, held against the tokens that training puts in front of the last answer

A server that only counts (`prompt_tokens` of its usage) is held against the count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.artifacts.fingerprint import fingerprint
from tunewright.chat.folder import TokenizerFolder, read_folder
from tunewright.chat.render import Renderer, Tools
from tunewright.chat.template import ChatTemplate, Messages
from tunewright.errors import MissingExtra, ModelError

Seen = Sequence[int] | int
"""a prompt as another sees it: token ids, or only how many"""
Render = Callable[[Messages, Tools | None], Seen]
"""messages and tools as they are sent (`Renderer.as_sent`) -> the prompt as that way of serving sees it"""


@dataclass(frozen=True)
class Asked:
    """A conversation up to its last answer, as training sees it."""

    row: str
    messages: Messages
    """as they are sent to whoever renders by the model's template"""
    tools: Tools | None
    token_ids: tuple[int, ...]
    own_messages: Messages
    """as they stand in the row"""
    own_tools: Tools | None


@dataclass(frozen=True)
class Difference:
    """A prompt that another way of rendering turns into other tokens. Counts stand where only counts are known."""

    row: str
    at: int
    """the first token that differs; -1 where only counts are known"""
    ours: str
    theirs: str


@dataclass(frozen=True)
class View:
    """One way of rendering, held against training."""

    name: str
    compared: int
    counts_only: bool
    differences: tuple[Difference, ...]
    chosen: bool = False
    """True where the recipe asks for another prompt: a system text or template settings of its own"""


def ask(renderer: Renderer, rows: Iterable[tuple[str, Messages, Tools | None]]) -> list[Asked]:
    """Return conversations as training sees them: the tokens in front of the last answer.

    Raises:
        DataError, ModelError: as `Renderer.conversation`.
    """
    found = []
    for row, messages, tools in rows:
        rendered = renderer.conversation(messages, tools)
        begin = len(renderer.prompt(messages[:-1], tools))
        sent, sent_tools = renderer.as_sent(messages[:-1], tools)
        found.append(Asked(row, sent, sent_tools, tuple(rendered.token_ids[:begin]), messages[:-1], tools))
    return found


def parity_hash(asked: Sequence[Asked]) -> str:
    """Return the hash of the tokens of all prompts: equal hashes mean that two runs train on the same prompts."""
    return fingerprint([list(one.token_ids) for one in asked])


def view(
    name: str,
    asked: Sequence[Asked],
    render: Render,
    shown: Callable[[Sequence[int]], str],
    *,
    as_they_stand: bool = False,
    chosen: bool = False,
) -> View:
    """Hold one way of rendering against training.

    Args:
        name: of the way.
        asked: what training sees.
        render: that way.
        shown: token ids to text, for the differences.
        as_they_stand: give it messages and tools as they stand in the row, not as the model's template needs them.
        chosen: see `View`.
    """
    found, counts_only = [], False
    for one in asked:
        try:
            given = (one.own_messages, one.own_tools) if as_they_stand else (one.messages, one.tools)
            seen = render(*given)
        except ModelError as error:
            found.append(Difference(one.row, 0, shown(one.token_ids[:8]), f"refused: {error.seen}"))
            continue
        if isinstance(seen, int):
            counts_only = True
            different = None if seen == len(one.token_ids) else Difference(one.row, -1, *_counts(one, seen))
        else:
            different = _difference(one, list(seen), shown)
        found += [different] if different else []
    return View(name, len(asked), counts_only, tuple(found), chosen)


def _counts(one: Asked, seen: int) -> tuple[str, str]:
    return f"{len(one.token_ids)} tokens", f"{seen} tokens"


def _difference(one: Asked, seen: list[int], shown: Callable[[Sequence[int]], str]) -> Difference | None:
    ours = list(one.token_ids)
    if ours == seen:
        return None
    pairs = enumerate(zip(ours, seen, strict=False))
    at = next((place for place, (left, right) in pairs if left != right), min(len(ours), len(seen)))
    return Difference(one.row, at, shown(ours[at : at + 8]), shown(seen[at : at + 8]))


# ── ways of rendering in this process ───────────────────────────────────────────────────────────────────────────────


def by_transformers(folder: Path) -> Render:
    """Return how `transformers` renders, which `transformers serve`, vLLM and most trainers call.

    Raises:
        MissingExtra: transformers is not installed. ModelError: it cannot load the tokenizer.
    """
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtra.of(error, "train") from None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"transformers cannot load it: {str(error).splitlines()[0]}", where=str(folder)) from None

    def render(messages: Messages, tools: Tools | None) -> list[int]:
        try:
            text = tokenizer.apply_chat_template(
                list(messages), tools=list(tools) if tools else None, add_generation_prompt=True, tokenize=False
            )
        except Exception as error:  # whatever a template raises
            raise ModelError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    return render


@dataclass(frozen=True)
class GgufChat:
    """What a GGUF file says of its chat: template, special tokens, vocabulary in the order of the ids."""

    template: str
    special_tokens: Mapping[str, str]
    tokens: Sequence[str]
    add_bos: bool


def by_gguf(chat: GgufChat, folder: Path) -> Render:
    """Return how llama.cpp renders: the file's own template, its ids, and its BOS where it is told to add one.

    The text is cut into tokens by the tokenizer in `folder`, since a GGUF holds the same vocabulary; what the file
    calls otherwise, or does not have, becomes -1.
    """
    found = read_folder(folder)
    tokenizer, codec = found.tokenizer, found.codec
    template = ChatTemplate(chat.template, chat.special_tokens, where="the GGUF's template")
    theirs = {text: at for at, text in enumerate(chat.tokens)}
    bos = theirs.get(chat.special_tokens.get("bos_token", ""), -1)

    def render(messages: Messages, tools: Tools | None) -> list[int]:
        ids = codec.encode(template.render(messages, tools, add_generation_prompt=True))[0]
        found = [theirs.get(tokenizer.id_to_token(token) or "", -1) for token in ids]
        return [bos, *found] if chat.add_bos and found[:1] != [bos] else found

    return render


def shown_by(folder: TokenizerFolder) -> Callable[[Sequence[int]], str]:
    """Return a function that shows token ids as text; ids that are none are shown as such."""
    codec = folder.codec

    def shown(ids: Sequence[int]) -> str:
        known = [token for token in ids if token >= 0 and folder.tokenizer.id_to_token(token) is not None]
        return repr(codec.decode(known)) if len(known) == len(ids) else f"ids {list(ids)}"

    return shown


def as_json(views: Sequence[View]) -> list[dict[str, Any]]:
    """Return views as they stand in check.json, the first five differences of each."""
    return [
        {
            "name": one.name,
            "compared": one.compared,
            "counts_only": one.counts_only,
            "different": len(one.differences),
            "first": [vars(difference) for difference in one.differences[:5]],
        }
        for one in views
    ]

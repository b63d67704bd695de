"""The model under the probe: how plain text is put to it, and how a chat would be.

Plain text goes in as it is: no chat template, no special tokens. One exception is measured, not assumed: a tokenizer
that opens every document with a token of its own (`<bos>`, `<|begin_of_text|>`) did so in pre-training, and some models
write nonsense without it. So that token stands in front where plain prose is likelier behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunewright.backends.protocol import Continuation
from tunewright.chat.folder import TokenizerFolder, read_folder
from tunewright.chat.forms import CLOSING_TOKENS, TEXT_TOKENS, form_of
from tunewright.chat.render import Renderer
from tunewright.chat.tokens import Codec
from tunewright.models.precision import Precision

if TYPE_CHECKING:
    from tunewright.backends.hf import HfBackend

NO_FORM = "none"
OWN_FORM = "the model's own template"


@dataclass(frozen=True)
class Subject:
    """A loaded model with its tokenizer.

    Attributes:
        backend: generates and scores.
        codec: text to ids, without special tokens.
        renderer: renders chats in the model's own template, or in the known form of its control tokens; None without.
        form: which of the two.
        turn_ends: ids of the tokens that end a turn of a chat. One that ends every text (`<eos>`, `<|endoftext|>`) is
            none, unless the model's own template has no other: a base ends texts too.
        text_ends: ids of those that end a text.
        opening: ids in front of plain text: none, or the one its tokenizer puts there.
        start: ids that stand alone in front of unconditioned samples.
    """

    backend: HfBackend
    codec: Codec
    renderer: Renderer | None
    form: str
    turn_ends: tuple[int, ...]
    text_ends: tuple[int, ...]
    opening: tuple[int, ...]
    start: tuple[int, ...]

    def plain(self, text: str) -> tuple[int, ...]:
        """Return the ids of plain text."""
        return (*self.opening, *self.codec.encode(text)[0])

    def continued(self, name: str, before: str, text: str) -> Continuation:
        """Return plain `text` behind plain `before`, to be scored; no token stands on both sides."""
        ids, starts = self.codec.encode(before + text, [len(before)])
        begin = next(at for at, start in enumerate(starts) if start >= len(before))
        return Continuation(name, (*self.opening, *ids), len(self.opening) + begin)

    def log_probs(self, continuations: Sequence[Continuation]) -> dict[str, tuple[float, ...]]:
        """Return the log-probabilities of the scored tokens of each continuation, by its id."""
        return {one.id: one.log_probs for batch in self.backend.log_probs(continuations) for one in batch}


def load_subject(folder: Path, precision: Precision, adapter: Path | None = None) -> Subject:
    """Load the model in `folder`.

    Raises:
        ModelError: no tokenizer, a template that cannot be used, or weights that cannot be loaded.
    """
    from tunewright.backends.hf import HfBackend
    from tunewright.models.load import load_model

    found = read_folder(folder, default_template="")
    codec = found.codec
    renderer, form = _renderer(found, codec)
    stops = tuple(dict.fromkeys([*_ids(codec, CLOSING_TOKENS), *found.stop_token_ids, *_stops(renderer)]))
    text_ends = tuple(stop for stop in stops if codec.added.get(stop) in TEXT_TOKENS)
    turn_ends = tuple(stop for stop in stops if stop not in text_ends)
    if not turn_ends and form == OWN_FORM:
        turn_ends, text_ends = text_ends, ()
    pad = found.pad_token_id if found.pad_token_id is not None else next(iter(stops), 0)
    backend = HfBackend(load_model(folder, precision, adapter), turn_ends, pad)
    special = [found.special_tokens.get(name) for name in ("bos_token", "eos_token")]
    start = _ids(codec, [token for token in special if token])[:1] or codec.encode("\n")[0][:1]
    return Subject(backend, codec, renderer, form, turn_ends, text_ends, (), tuple(start))


def document_opening(codec: Codec) -> tuple[int, ...]:
    """Return the ids that the tokenizer itself puts in front of every text; none where it puts none."""
    bare = codec.tokenizer.encode("a", add_special_tokens=False).ids
    whole = codec.tokenizer.encode("a", add_special_tokens=True).ids
    at = next((at for at in range(len(whole)) if whole[at : at + len(bare)] == bare), 0)
    return tuple(whole[:at])


def _renderer(found: TokenizerFolder, codec: Codec) -> tuple[Renderer | None, str]:
    if found.template:
        return Renderer(found), OWN_FORM
    form = form_of(set(codec.added.values()))
    return (Renderer(replace(found, template=form.template)), form.name) if form else (None, NO_FORM)


def _stops(renderer: Renderer | None) -> tuple[int, ...]:
    return renderer.stop_token_ids if renderer else ()


def _ids(codec: Codec, tokens: Iterable[str]) -> list[int]:
    return [key for token in tokens if (key := codec.tokenizer.token_to_id(token)) is not None]

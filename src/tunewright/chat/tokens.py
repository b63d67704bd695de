"""Text to token ids and back, with token boundaries where we ask for them.

A prompt must be an exact prefix of the conversation it opens, in tokens. So text is cut where an answer begins and the
parts are encoded one by one: no BPE merge can cross. Tokenizers that put a space in front of a text (`▁`, "metaspace")
would put one at every cut; a part in the middle is encoded without it, up to its first special token, and after that
as the tokenizer does on the whole text.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Sequence
from itertools import pairwise
from typing import Any

from tokenizers import Encoding, Tokenizer

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_BYTES_PER_CHARACTER = 4


class Codec:
    """A tokenizer that never adds special tokens, cuts where told and decodes without touching the text."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.added: dict[int, str] = {key: token.content for key, token in tokenizer.get_added_tokens_decoder().items()}
        self._bare = without_prefix_space(tokenizer)
        # Decoders drop the space in front of the first token; behind another token they do not.
        self._anchor: list[int] = tokenizer.encode("a", add_special_tokens=False).ids
        self._anchor_text: str = tokenizer.decode(self._anchor, skip_special_tokens=False)

    def encode(self, text: str, cuts: Sequence[int] = ()) -> tuple[list[int], list[int]]:
        """Return token ids of `text` and the character at which each begins; no token crosses a cut."""
        ids: list[int] = []
        starts: list[int] = []
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(text)}), len(text)]
        for left, right in pairwise(edges):
            part_ids, part_starts = self._encode_part(text[left:right], first=left == 0)
            ids += part_ids
            starts += [left + start for start in part_starts]
        return ids, starts

    def _encode_part(self, part: str, first: bool) -> tuple[list[int], list[int]]:
        if first or self._bare is None:
            return _ids_and_starts(self.tokenizer.encode(part, add_special_tokens=False))
        ids, starts = _ids_and_starts(self._bare.encode(part, add_special_tokens=False))
        special = next((index for index, token in enumerate(ids) if token in self.added), None)
        if special is None:
            return ids, starts
        at = starts[special]
        rest_ids, rest_starts = _ids_and_starts(self.tokenizer.encode(part[at:], add_special_tokens=False))
        return ids[:special] + rest_ids, starts[:special] + [at + start for start in rest_starts]

    def decode(self, ids: Sequence[int], without: Container[int] = ()) -> str:
        """Return the text of `ids`, spaces and special tokens included, except for the tokens in `without`."""
        kept = [token for token in ids if token not in without]
        text: str = self.tokenizer.decode([*self._anchor, *kept], skip_special_tokens=False)
        if text.startswith(self._anchor_text):
            return text[len(self._anchor_text) :]
        plain: str = self.tokenizer.decode(kept, skip_special_tokens=False)
        return plain

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Return a display text for each token; together they are the text.

        Where a character is spread over several tokens, the last of them shows it and the others show "".
        """
        return list(self._pieces(ids))

    def _pieces(self, ids: Sequence[int]) -> Iterator[str]:
        open_ids: list[int] = []
        for position, token in enumerate(ids):
            open_ids.append(token)
            text = self.decode(open_ids)
            unfinished = text.endswith(REPLACEMENT) and len(open_ids) < MAX_BYTES_PER_CHARACTER
            if unfinished and position + 1 < len(ids):
                yield ""
                continue
            yield text
            open_ids = []


def _ids_and_starts(encoding: Encoding) -> tuple[list[int], list[int]]:
    return list(encoding.ids), [start for start, _ in encoding.offsets]


def without_prefix_space(tokenizer: Tokenizer) -> Tokenizer | None:
    """Return a copy that puts no space in front of a text, or None if `tokenizer` puts none anyway."""
    spec: dict[str, Any] = json.loads(tokenizer.to_str())
    parts = {name: _unprefixed(spec.get(name)) for name in ("normalizer", "pre_tokenizer")}
    if all(parts[name] == spec.get(name) for name in parts):
        return None
    return Tokenizer.from_str(json.dumps({**spec, **parts}))


def _unprefixed(part: Any) -> Any:
    """Return a normalizer or pre-tokenizer spec without the three components that add a prefix space."""
    if isinstance(part, list):
        return [_unprefixed(item) for item in part]
    if not isinstance(part, dict):
        return part
    match part.get("type"):
        case "Prepend":
            return {"type": "Sequence", "normalizers": []}
        case "Metaspace":
            return {**part, "prepend_scheme": "never"}
        case "ByteLevel":
            return {**part, "add_prefix_space": False}
        case "Sequence":
            return {name: _unprefixed(value) for name, value in part.items()}
    return part

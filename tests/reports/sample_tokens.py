"""An analysis of token entropies as `tw entropy` leaves it, with hostile texts in it: the tests of its page read it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import write_json
from tunewright.artifacts.tokens import Token, TokenRow, write_tokens

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><img src=x onerror=alert(1)>",
    "\u202e\x1b[31m\x00",
    "{{ 7 * 7 }}&lt;b&gt;",
    '" onfocus="alert(2)',
)
PROMPT = (" What", " is", " the", " weather", *HOSTILE, "?", "\n")
ANSWER = ("<tool", "_call", ">", '{"', "name", '":', ' "', "weather", *HOSTILE, '"}', "<|im_end|>")


def token_rows(count: int = 4, *, sure: float = 1.0, seed: int = 1) -> list[TokenRow]:
    """Return rows of the same tokens for every seed; `sure` scales their entropies."""
    return [_row(index, sure, random.Random(100 * seed + index)) for index in range(count)]


def _row(index: int, sure: float, rng: random.Random) -> TokenRow:
    texts = [("<|im_start|>", "template", False), *((text, "user", False) for text in PROMPT)]
    texts += [(text, "assistant", True) for text in ANSWER]
    tokens = (_token(position, *one, sure, rng) for position, one in enumerate(texts))
    return TokenRow(f"row-{index}<b>", tuple(tokens))


def _token(position: int, text: str, role: str, trained: bool, sure: float, rng: random.Random) -> Token:
    head: dict[str, Any] = {"position": position, "id": hash_of(text), "text": text, "role": role, "trained": trained}
    if position == 0:
        return Token(**head, entropy=None, nll=None, rank=None, top=())
    entropy = sure * rng.random() ** 3 * (6.0 if len(text) > 3 else 1.0)
    top = ((text, 0.6), (HOSTILE[position % len(HOSTILE)], 0.25), (" a", 0.1), ("\n", 0.03), ("", 0.01))
    return Token(**head, entropy=entropy, nll=rng.random() * entropy, rank=1 + (rng.random() > 0.7), top=top)


def hash_of(text: str) -> int:
    """Return a token id that is the same in every process."""
    return sum(map(ord, text))


def write_analysis(folder: Path, *models: list[TokenRow]) -> Path:
    """Write tokens.jsonl and summary.json of one or two models into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = "AB"[: len(models)]
    write_tokens(folder, dict(zip(labels, models, strict=True)))
    told = [
        {"label": label, "name": f"model {label} <i>", "identity": f"folder:{label * 8}", "summary": {}}
        for label in labels
    ]
    write_json(folder / "summary.json", {"rows_from": "rows & more.jsonl", "models": told, "change": None})
    return folder

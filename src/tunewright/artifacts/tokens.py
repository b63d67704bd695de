"""What a model believed at every token of some rows: `tokens.jsonl`, one token a line.

Made by `tw entropy` (models/token_entropy.py), read by its page. A line is a `Token` with the label of its model and
the id of its row, so that `jq`, pandas or DuckDB read it as a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import read_jsonl, write_jsonl
from tunewright.errors import DataError

TOKENS_NAME = "tokens.jsonl"


@dataclass(frozen=True, slots=True)
class Token:
    """One token, and the distribution that the model had in its place.

    The first token of a row is predicted from nothing: `entropy`, `nll` and `rank` are None there and `top` is empty.
    """

    position: int
    """in the row, from 0"""
    id: int
    text: str
    """for display; "" where a character's other tokens show it"""
    role: str
    """system, user, assistant, tool, or `template` for what the chat template writes by itself"""
    trained: bool
    """is it in the loss"""
    entropy: float | None
    """of the whole distribution, nats"""
    nll: float | None
    """-ln p(this token), nats"""
    rank: int | None
    """1 where it is the model's first choice"""
    top: tuple[tuple[str, float], ...]
    """the likeliest tokens as (text, probability), likeliest first"""


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row as tokens, in order."""

    id: str
    tokens: tuple[Token, ...]


def write_tokens(folder: Path, rows_of: Mapping[str, Sequence[TokenRow]]) -> Path:
    """Write tokens.jsonl into `folder`; `rows_of` gives the rows of each model by its label."""
    path = folder / TOKENS_NAME
    write_jsonl(path, _lines(rows_of))
    return path


def _lines(rows_of: Mapping[str, Sequence[TokenRow]]) -> Iterator[dict[str, Any]]:
    for model, rows in rows_of.items():
        for row in rows:
            for token in row.tokens:
                yield {"model": model, "row": row.id, **asdict(token)}


def read_tokens(folder: Path) -> dict[str, list[TokenRow]]:
    """Return the rows of each model, by label, in the order of the file.

    Raises:
        DataError: no tokens.jsonl in `folder`, or a line is no token; names it.
    """
    path = folder / TOKENS_NAME
    found: dict[str, list[TokenRow]] = {}
    parsed = (_parsed(line, f"{path}:{number}") for number, line in read_jsonl(path))
    for (model, row), tokens in groupby(parsed, key=lambda item: item[0]):
        found.setdefault(model, []).append(TokenRow(row, tuple(token for _, token in tokens)))
    return found


def _parsed(line: dict[str, Any], where: str) -> tuple[tuple[str, str], Token]:
    try:
        rest = {name: value for name, value in line.items() if name not in ("model", "row", "top")}
        top = tuple((str(text), float(p)) for text, p in line["top"])
        return (str(line["model"]), str(line["row"])), Token(**rest, top=top)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not a token: {error}", where=where, expected="a line as `tw entropy` writes it") from None

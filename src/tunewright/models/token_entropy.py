"""What a model believes at every token of some rows: its doubt, its surprise, and what it would rather have said.

reads    a loaded model, chat rows
gives    `TokenRow`s; `artifacts/tokens.py` writes them as tokens.jsonl

A row goes through the model alone, CHUNK_TOKENS at a time over a cache. So the numbers are exact whatever the head
does to its logits (softcap, scale), and no more than [CHUNK_TOKENS, V] logits are ever held. Needs torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.tokens import Token, TokenRow
from tunewright.chat.render import Rendered, Renderer
from tunewright.chat.roles import token_roles
from tunewright.errors import DataError
from tunewright.losses.entropy import token_stats

CHUNK_TOKENS = 256  # 156 MB of float32 logits at the largest vocabularies of today (152k)
NUM_ALTERNATIVES = 5


class Belief(NamedTuple):
    """What the model expected in the place of one token."""

    entropy: float
    nll: float
    rank: int
    top: list[tuple[int, float]]
    """(token id, probability), likeliest first"""


def analyse_rows(model: Any, renderer: Renderer, rows: Sequence[ChatRow]) -> Iterator[TokenRow]:
    """Yield each row as tokens with what `model` believed at each.

    Args:
        model: a causal language model of transformers, in eval mode, with or without adapters.
        renderer: of the same model.
        rows: conversations that end with an answer.

    Raises:
        DataError: a row is longer than the model's context; names it.
    """
    text_of = _decoder(renderer)
    for row in rows:
        rendered = _rendered(row, renderer)
        yield TokenRow(row.id, tuple(_tokens(row, rendered, renderer, beliefs(model, rendered.token_ids), text_of)))


def _rendered(row: ChatRow, renderer: Renderer) -> Rendered:
    rendered, limit = renderer.conversation(row.messages, row.tools), renderer.context_length
    if limit is not None and len(rendered.token_ids) > limit:
        raise DataError(
            f"{len(rendered.token_ids):,} tokens",
            where=f"row {row.id}",
            expected=f"at most {limit:,}: the model's context",
            fix="leave the row out: it is never cut",
        )
    return rendered


def _decoder(renderer: Renderer) -> Callable[[int], str]:
    return cache(lambda token: renderer.pieces([token])[0])


def _tokens(
    row: ChatRow, rendered: Rendered, renderer: Renderer, believed: Sequence[Belief], text_of: Callable[[int], str]
) -> Iterator[Token]:
    """Yield the tokens of a row; `believed` begins with its second token."""
    pieces = renderer.pieces(rendered.token_ids)
    roles = token_roles(renderer, rendered, pieces, row.messages, row.tools)
    columns = zip(rendered.token_ids, pieces, roles, rendered.trained, [None, *believed], strict=True)
    for position, (token, text, role, trained, belief) in enumerate(columns):
        yield Token(
            position=position,
            id=token,
            text=text,
            role=role,
            trained=trained,
            entropy=belief.entropy if belief else None,
            nll=belief.nll if belief else None,
            rank=belief.rank if belief else None,
            top=tuple((text_of(other), p) for other, p in belief.top) if belief else (),
        )


@torch.inference_mode()
def beliefs(model: Any, token_ids: Sequence[int], chunk_tokens: int = CHUNK_TOKENS) -> list[Belief]:
    """Return what `model` expected in the place of each of `token_ids` but the first.

    Entropy and probabilities are float32, of the model's own distribution: temperature 1, nothing cut off.
    """
    ids = torch.tensor([token_ids], device=model.device)
    found: list[Belief] = []
    past = None
    for start in range(0, len(token_ids) - 1, chunk_tokens):
        end = min(start + chunk_tokens, len(token_ids) - 1)
        output = model(input_ids=ids[:, start:end], past_key_values=past, use_cache=True)
        past = output.past_key_values
        found += _beliefs(output.logits[0].float(), ids[0, start + 1 : end + 1])
    return found


def _beliefs(logits_TV: Tensor, labels_T: Tensor) -> list[Belief]:
    stats = token_stats(logits_TV, labels_T)
    said_T1 = logits_TV.gather(-1, labels_T[:, None])
    rank_T = (logits_TV > said_T1).sum(-1) + 1
    best = logits_TV.topk(min(NUM_ALTERNATIVES, logits_TV.shape[-1]))
    p_TK = (best.values - said_T1 - stats.nll[:, None]).exp()
    columns = (stats.entropy, stats.nll, rank_T, best.indices, p_TK)
    return [
        Belief(_rounded(entropy), _rounded(nll), rank, list(zip(indices, map(_rounded, p), strict=True)))
        for entropy, nll, rank, indices, p in zip(*(column.tolist() for column in columns), strict=True)
    ]


def _rounded(value: float) -> float:
    """Return `value` with six digits: what float32 carries, in half the file."""
    return float(f"{value:.6g}")

"""Were a model's control tokens ever trained? What the rows of its embedding matrix say.

reads    some rows of the embedding in a folder's safetensors, never the whole model; needs safetensors and torch
gives    `EmbeddingFacts`: for each control token why its row looks untrained, or ""

A base model has many control tokens that no text ever held: Llama 3's `<|eot_id|>`, whatever a resize has added. Their
rows stay as they were made, and what adapters learn around them is built on noise. Three signs, each measured against
ordinary rows of the same matrix (after Land & Bartolo 2024, arXiv:2405.05417, who look for such tokens):

    zero         the norm is next to nothing
    a twin       the row is that of another control or reserved token, or the mean of all, which is what a resize writes
    short        the norm lies far below that of the least ordinary row
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.models.weights import open_weights

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "tok_embeddings.weight")
SAMPLED = 2048  # ordinary rows, spread over the vocabulary
ZERO_SHARE = 1e-3  # of the median norm
TWIN_COSINE = 0.999
SHORT_SHARE = 0.5  # of the norm that 1% of the ordinary rows stay below


@dataclass(frozen=True)
class EmbeddingFacts:
    """What the embedding says of some tokens."""

    untrained: dict[str, str]
    """token -> the sign: `zero`, `the row of <x>`, `the mean of all rows`, `short`"""
    num_looked_at: int
    median_norm: float
    least_norm: float
    """the norm that 1% of the ordinary rows stay below"""
    is_random: bool = False
    """True where no row was ever trained: a model made from a config. Then no token is told from another"""


def embedding_facts(folder: Path, tokens: Mapping[str, int], others: Mapping[str, int]) -> EmbeddingFacts | None:
    """Look at the rows of `tokens`; None where the folder holds no weights, or an embedding of an unknown name
    or without a row for any of them.

    Args:
        folder: a model folder.
        tokens: the control tokens that matter, with their ids.
        others: further control and reserved tokens, for twins; ordinary rows are all that stand in neither.

    Raises:
        ModelError: a weight file is none, or was cut.
        MissingExtra: torch or safetensors is not installed.
    """
    place = _place(folder)
    if place is None or not tokens:
        return None
    file, name = place
    with open_weights(file) as weights:
        rows = weights.get_slice(name)
        size = rows.get_shape()[0]
        ordinary = _ordinary(size, {*tokens.values(), *others.values()})
        inside = {text: at for text, at in {**others, **tokens}.items() if at < size}
        if not tokens.keys() & inside.keys():  # the gate `tokens_have_embeddings` speaks of those
            return None
        return judge_rows(_take(rows, inside), _take(rows, {str(at): at for at in ordinary}), tokens)


def _place(folder: Path) -> tuple[Path, str] | None:
    """Return the file that holds the embedding, and its name there."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        files = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
        found = next((name for name in files if name.endswith(NAMES)), None)
        return (folder / files[found], found) if found and (folder / files[found]).is_file() else None
    file = folder / "model.safetensors"
    if not file.is_file():
        return None
    with open_weights(file) as weights:
        found = next((name for name in weights.keys() if name.endswith(NAMES)), None)  # noqa: SIM118  # no mapping
    return (file, found) if found else None


def _ordinary(size: int, special: set[int]) -> list[int]:
    step = max(1, size // SAMPLED)
    return [at for at in range(0, size, step) if at not in special]


def _take(rows: Any, ids: Mapping[str, int]) -> dict[str, Tensor]:
    return {text: rows[at : at + 1][0].float() for text, at in ids.items()}


def judge_rows(
    special: Mapping[str, Tensor], ordinary: Mapping[str, Tensor], asked: Mapping[str, int]
) -> EmbeddingFacts:
    """Return which rows of `asked` look untrained.

    Args:
        special: rows of all control and reserved tokens, each `(H,)`, float32; those of `asked` among them.
        ordinary: rows of ordinary tokens.
        asked: the tokens to judge.
    """
    import torch

    matrix = torch.stack([*ordinary.values()])
    norms = matrix.norm(dim=1)
    median, least = float(norms.median()), float(norms.quantile(0.01))
    mean = matrix.mean(0)
    if _is_random(matrix):
        return EmbeddingFacts({}, sum(name in asked for name in special), median, least, is_random=True)
    names, stacked = [*special], torch.stack([*special.values()])
    unit = torch.nn.functional.normalize(stacked, dim=1)
    alike = unit @ unit.T
    alike.fill_diagonal_(-1.0)
    untrained = {}
    for at, name in enumerate(names):
        if name in asked:
            sign = _sign(stacked[at], alike[at], names, mean, median, least)
            untrained.update({name: sign} if sign else {})
    return EmbeddingFacts(untrained, sum(name in asked for name in names), median, least)


def _is_random(matrix: Tensor) -> bool:
    """True if rows look drawn from one normal distribution around 0: norms all but equal, no common direction.

    Of n such rows of H numbers the norms spread by 1 / sqrt(2H) of their mean, and the mean row is 1 / sqrt(n) as long.
    """
    count, size = matrix.shape
    norms = matrix.norm(dim=1)
    spread = float(norms.std() / norms.mean())
    length = float(matrix.mean(0).norm() / norms.mean())
    return spread < 1.5 / math.sqrt(2 * size) and length < 1.5 / math.sqrt(count)


def _sign(row: Tensor, alike: Tensor, names: list[str], mean: Tensor, median: float, least: float) -> str:
    """Return why a row looks untrained, or ""."""
    import torch

    norm = float(row.norm())
    if norm <= ZERO_SHARE * median:
        return "zero"
    if float(alike.max()) >= TWIN_COSINE:
        return f"the row of {names[int(alike.argmax())]}"
    if float(torch.nn.functional.cosine_similarity(row, mean, dim=0)) >= TWIN_COSINE:
        return "the mean of all rows"
    return "short" if norm < SHORT_SHARE * least else ""

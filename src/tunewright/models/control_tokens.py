"""Were the control tokens of a chat form ever trained? Asked of the embedding matrix alone; no text is read.

A row that no training text ever used stays where initialisation and weight decay left it, and where the head is tied to
the embeddings it is pushed, with all other unused rows, in one direction: away from what the model writes. So unused
rows lie close together (Land & Bartolo 2024, arXiv:2405.05417). Most tokenizers keep reserved tokens (`<unused12>`,
`<|reserved_special_token_3|>`), and many matrices rows beyond the vocabulary: these are known to be unused, and a
control token is held against them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RESERVED = re.compile(r"unused|reserved|placeholder|<pad>|extra_id", re.IGNORECASE)
FEWEST_REFERENCES = 4
MOST_REFERENCES = 512


@dataclass(frozen=True)
class TokenTraining:
    """How far a token's row lies from the rows that were never trained."""

    token: str
    distance: float
    """to their centroid, in units of their own farthest distance: at most 1 for one of them"""


def control_token_training(model: Any, tokens: Mapping[str, int], unused: Sequence[int]) -> list[TokenTraining]:
    """Return for each token how far its embedding lies from those of the unused ones.

    Args:
        model: a causal language model of transformers.
        tokens: control token -> id.
        unused: ids of rows that were never trained; fewer than FEWEST_REFERENCES measure nothing: then none.
    """
    import torch

    if len(unused) < FEWEST_REFERENCES:
        return []
    weight = model.get_input_embeddings().weight.detach()
    rows = weight[torch.tensor(unused[:MOST_REFERENCES], device=weight.device)].double()
    centroid = rows.mean(0)
    spread = (rows - centroid).norm(dim=1).quantile(0.95).clamp(min=1e-9)
    return [
        TokenTraining(token, float((weight[row].double() - centroid).norm() / spread)) for token, row in tokens.items()
    ]


def unused_rows(added: Mapping[int, str], vocabulary: int, num_rows: int) -> list[int]:
    """Return the ids of rows that no text uses: reserved tokens, and rows beyond the vocabulary.

    Args:
        added: id -> text of the tokenizer's added tokens.
        vocabulary: how many tokens the tokenizer has.
        num_rows: of the embedding matrix.
    """
    reserved = [key for key, text in sorted(added.items()) if key < num_rows and RESERVED.search(text)]
    return [*reserved, *range(vocabulary, num_rows)]

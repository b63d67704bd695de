"""A batch of rows as the tensors that packed training takes. The layout is that of `packing.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tunewright.stages.sft.packing import pack


class PackedCollator:
    """Lays rows end to end: `input_ids`, `position_ids`, `shift_labels`, `sequence_ids` [1, N]; `packed_lengths`.

    `shift_labels` are the targets: transformers' name for labels that are shifted already, by which it counts them.
    `token_weights` [1, N] stand where the rows have them.
    """

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch."""
        packed = pack(examples)
        targets = torch.tensor([packed.targets])
        batch: dict[str, Any] = {
            "input_ids": torch.tensor([packed.input_ids]),
            "position_ids": torch.tensor([packed.position_ids]),
            "packed_lengths": packed.lengths,
            "labels": targets,  # transformers looks for the name before it counts
            "shift_labels": targets,
            "sequence_ids": torch.tensor([packed.sequence_ids]),
        }
        if packed.token_weights is not None:
            batch["token_weights"] = torch.tensor([packed.token_weights])
        return batch

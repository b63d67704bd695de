"""How much each trained token counts. Legend: B rows, T target tokens.

Every weighting is detached: minimising a loss whose weight rises with the entropy would otherwise reward low entropy
itself, that is, collapse. Entropies are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor


def linear_weights(entropy_BT: Tensor, mask_BT: Tensor, *, floor: float) -> Tensor:
    """Weight each trained token by how unsure the model was of it.

        weight = mask * (floor + (1 - floor) * H / mean(H)),  mean over the trained tokens of the batch

    The weights of the trained tokens have mean 1, so the learning rate means the same as for the plain loss;
    `floor=1` gives the mask back, that is, plain cross entropy. The linear, entropy-proportional form is that of
    EAFT (arXiv:2601.02151), here with the exact entropy and a stated normalisation.

    Args:
        entropy_BT: entropy of the next-token distribution, >= 0.
        mask_BT: 1 or True for tokens that train, 0 for prompt and padding.
        floor: weight of a token the model is sure of, in [0, 1].

    Returns:
        float32 weights >= 0, shape (B, T); 0 where the mask is 0. No gradient flows through them.
    """
    mask_BT = mask_BT.to(torch.float32)
    entropy_BT = entropy_BT.detach().to(torch.float32).clamp(min=0) * mask_BT
    mean = entropy_BT.sum() / mask_BT.sum().clamp(min=1)
    relative_BT = torch.where(mean > 0, entropy_BT / mean.clamp(min=1e-12), torch.ones_like(entropy_BT))
    return mask_BT * (floor + (1 - floor) * relative_BT)

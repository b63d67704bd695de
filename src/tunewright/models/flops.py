"""How many operations training takes, and how long a GPU would need for them. An estimate, and said to be one.

A matmul of a token with `p` parameters takes 2p FLOPs; the gradient for its input as many again, the gradient for its
weight as many again where it is trained (Kaplan et al. 2020, arXiv:2001.08361, section 2.1: 6 a parameter).
"""

from __future__ import annotations

from tunewright.models.devices import Gpu
from tunewright.models.estimate import Training
from tunewright.models.shape import Shape

# Share of the data sheet's FLOP/s that training of this kind reaches: packed dense models of some billions reach 0.3 to
# 0.5 of it (PaLM's MFU was 0.46, arXiv:2204.02311); small models and small batches wait for launches and memory.
UTILIZATION = (0.08, 0.45)


def training_flops(shape: Shape, training: Training, tokens: int) -> float:
    """Return the operations of `tokens` through the model, forward and backward.

    Args:
        shape: of the model.
        training: settings; the share of trained tokens and the length of rows are those of its forward pass.
        tokens: over all forward passes.
    """
    passes = 6 if training.method == "full" else 4  # of a frozen weight the gradient is not formed
    again = 2 if training.checkpointing else 0
    trained_share = training.trained_tokens / max(training.tokens, 1)
    adapters = 0 if training.method == "full" else 6 * shape.adapter_parameters(training.rank, training.targets)
    scores = 2 * shape.layers * shape.attention_width * training.row_tokens  # causal: half of 4 T a token
    head = passes * shape.embedding * trained_share
    return tokens * ((passes + again) * shape.active + adapters + head + (3 + again / 2) * scores)


def gpu_hours(flops: float, gpu: Gpu) -> tuple[float, float]:
    """Return the fewest and the most hours that `gpu` needs, by the range of UTILIZATION."""
    seconds = flops / (gpu.tflops * 1e12)
    slow, fast = UTILIZATION
    return seconds / fast / 3600, seconds / slow / 3600

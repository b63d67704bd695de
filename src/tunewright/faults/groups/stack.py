"""Faults of arithmetic and of the stack: the training runs, and does not do what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tunewright.faults.fault import Fault, grouped, nothing, recipe
from tunewright.faults.stacks import loss_times, mean_of_means, no_optimizer, one_long_row, sum_of_means, trainers

_ITSELF = "it is the library that has the fault: it cannot say so"


def _bug(name: str, what: str, change: Callable[[Any], None], real: str = "") -> Fault:
    """Return a fault of the stack itself: of the installed versions, not of the project."""
    commands = (("drill",),)
    return Fault(
        name, what, nothing, breaks=trainers(change), commands=commands, real=real, promise="stack", trl=_ITSELF
    )


FAULTS = grouped(
    "stack and arithmetic",
    Fault(
        "learning-rate-far-too-high",
        "a learning rate of 1: the model is destroyed in a few steps",
        recipe(sft__learning_rate=1.0, sft__max_grad_norm=1000.0, sft__schedule="constant", sft__warmup=0),
        promise="stack",
    ),
    Fault(
        "learning-rate-far-too-low",
        "a learning rate of 1e-9: nothing moves",
        recipe(sft__learning_rate=1e-9),
        promise="stack",
    ),
    Fault(
        "gradient-clipped-to-nothing",
        "`max_grad_norm` and the rate leave steps of no size",
        recipe(sft__max_grad_norm=1e-12),
        promise="stack",
    ),
    Fault(
        "weights-that-reward-doubt-away",
        "entropy weights that are not detached: the loss pays for certainty",
        recipe(
            sft__weighting={
                "type": "linear",
                "power": 2.0,
                "floor": 0.0,
                "detach": False,
                "normalize": "none",
                "scale": 30.0,
            },
            sft__learning_rate=0.05,
        ),
        real="trl#4795",
        promise="stack",
        trl="TRL has no entropy weights",
    ),
    Fault(
        "adapters-on-nothing",
        "the names of `lora.targets` are those of another architecture",
        recipe(sft__lora={"targets": ["query_key_value"]}),
        promise="stack",
    ),
    _bug(
        "loss-three-times-too-large",
        "the trainer's loss is three times what it says",
        loss_times(3.0),
        real="axolotl and LLaMA-Factory differ by 3 in EAFT",
    ),
    _bug(
        "mean-of-means",
        "each micro-batch is normalised by its own tokens: accumulation changes the loss",
        mean_of_means,
        real="transformers#34191",
    ),
    _bug(
        "gradients-grow-with-accumulation",
        "the number of micro-batches is left out of the division",
        sum_of_means,
        real="unsloth#8261",
    ),
    _bug("packed-rows-see-each-other", "the attention ignores where packed rows end", one_long_row, real="trl#2400"),
    _bug(
        "resume-forgets-the-optimizer",
        "a resumed training begins with an empty optimizer",
        no_optimizer,
        real="axolotl#2548",
    ),
)

"""Faults of arithmetic and of the stack: the training runs, and does not do what it says."""

from __future__ import annotations

from tunewright.faults.fault import Fault, grouped, recipe

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
)

"""What would fit: the settings nearest to those asked for whose estimate is within a device's memory. Needs no torch.

In the order of what they cost: a smaller batch with accumulation (the same steps, a little slower), checkpointing (the
same result, a third slower), half the precision, adapters instead of all weights, a base in 4 bits, shorter rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tunewright.models.estimate import Memory, Training, training_memory
from tunewright.models.shape import Shape

ROW_STEP = 64  # shorter rows are looked for in steps of so many tokens


@dataclass(frozen=True)
class Alternative:
    """Settings that fit.

    Attributes:
        change: what to write, as fields of the recipe.
        training: all settings.
        memory: their estimate.
    """

    change: str
    training: Training
    memory: Memory


def nearest_that_fit(shape: Shape, training: Training, limit_bytes: int) -> list[Alternative]:
    """Return the nearest alternatives that fit into `limit_bytes`, the least change first; none of each kind is empty.

    QLoRA is said for what it is worth: the stage `sft` does not train it.
    """
    found = []
    for variants in (_smaller_batches, _checkpointed, _half_precision, _fewer_weights, _four_bits, _shorter_rows):
        for change, settings in variants(training):
            memory = training_memory(shape, settings)
            if memory.peak <= limit_bytes:
                found.append(Alternative(change, settings, memory))
                break
    return found


def _with_rows(training: Training, rows: int) -> Training:
    """Return the same step in smaller forward passes."""
    share = rows / training.batch_size
    return replace(
        training,
        batch_size=rows,
        accumulation=-(-training.accumulation * training.batch_size // rows),
        tokens=max(training.row_tokens, round(training.tokens * share)),
        trained_tokens=round(training.trained_tokens * share),
    )


def _smaller_batches(training: Training) -> Iterator[tuple[str, Training]]:
    rows = training.batch_size // 2
    while rows >= 1:
        smaller = _with_rows(training, rows)
        yield f"batch_size: {rows}, gradient_accumulation: {smaller.accumulation}", smaller
        rows //= 2


def _checkpointed(training: Training) -> Iterator[tuple[str, Training]]:
    if not training.checkpointing:
        yield "gradient_checkpointing: true", replace(training, checkpointing=True)
        for change, smaller in _smaller_batches(training):
            yield f"gradient_checkpointing: true, {change}", replace(smaller, checkpointing=True)


def _half_precision(training: Training) -> Iterator[tuple[str, Training]]:
    if training.precision == "float32" and training.device == "cuda":
        half = replace(training, precision="bfloat16")
        yield "precision: bfloat16", half
        for change, settings in _checkpointed(half):
            yield f"precision: bfloat16, {change}", settings


def _fewer_weights(training: Training) -> Iterator[tuple[str, Training]]:
    if training.method == "full":
        lora = replace(training, method="lora")
        yield f"LoRA of rank {training.rank}", lora
        for change, settings in _checkpointed(lora):
            yield f"LoRA of rank {training.rank}, {change}", settings


def _four_bits(training: Training) -> Iterator[tuple[str, Training]]:
    if training.method != "qlora":
        four = replace(training, method="qlora")
        yield "QLoRA, the base in 4 bits (not trained by this version)", four
        for change, settings in _checkpointed(four):
            yield f"QLoRA, the base in 4 bits (not trained by this version), {change}", settings


def _shorter_rows(training: Training) -> Iterator[tuple[str, Training]]:
    one = replace(_with_rows(training, 1), checkpointing=True)
    for tokens in range((one.row_tokens - 1) // ROW_STEP * ROW_STEP, 0, -ROW_STEP):
        trained = round(one.trained_tokens * tokens / one.row_tokens)
        settings = replace(one, row_tokens=tokens, tokens=tokens, trained_tokens=trained)
        more = f"batch_size: 1, gradient_accumulation: {one.accumulation}, gradient_checkpointing: true"
        yield f"max_tokens: {tokens} in `data`, {more}", settings

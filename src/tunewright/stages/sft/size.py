"""How large training will be, from its planned rows: tokens of each forward pass, and the memory that they need.

Nothing is loaded: the shape comes from the config, the estimate from `models/estimate.py`. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunewright.artifacts.trial import Batch, Planned
from tunewright.artifacts.verdict import Verdict
from tunewright.gates.money import fits_memory
from tunewright.models.devices import this_device
from tunewright.models.estimate import Training, training_memory
from tunewright.models.find import tokenizer_folder
from tunewright.models.fitting import nearest_that_fit
from tunewright.models.precision import has_cuda, resolve_precision
from tunewright.models.shape import Shape, read_shape
from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.packing import IGNORED, Example, packed_tokens


def memory_verdict(examples: Sequence[Example], steps: int, section: SftSection) -> Verdict:
    """Hold the estimate of `section` on these rows, in training order, against the device at hand."""
    shape, device = read_shape(tokenizer_folder(str(section.model))), this_device()
    planned, _ = plan_batches(examples, steps, section, shape)
    training = training_of(planned.longest, planned.packed, section)
    memory = training_memory(shape, training)
    fits = memory.peak <= device.memory_bytes
    nearest = [] if fits else [one.change for one in nearest_that_fit(shape, training, device.memory_bytes)]
    return fits_memory(
        memory.peak, memory.low, memory.high, device.name, device.memory_bytes, nearest, section.id or "sft"
    )


def plan_batches(
    examples: Sequence[Example], steps: int, section: SftSection, shape: Shape
) -> tuple[Planned, list[list[Example]]]:
    """Return what is planned, and the rows of each forward pass: the shortest first, a typical one in the middle."""
    packed = will_pack(shape)
    size = section.batch_size
    batches = [list(examples[at : at + size]) for at in range(0, len(examples), size)]
    sized = sorted(((tokens_of(rows, packed), rows) for rows in batches), key=lambda pair: pair[0])
    planned = Planned(
        steps=steps,
        passes=len(batches),
        tokens=sum(tokens for tokens, _ in sized),
        longest=batch_of(sized[-1][1], packed),
        typical=batch_of(sized[len(sized) // 2][1], packed),
        packed=packed,
    )
    return planned, [rows for _, rows in sized]


def will_pack(shape: Shape) -> bool:
    """Say by the config whether rows will be laid end to end; the trainer tries it on the model itself."""
    return not shape.windows and not shape.experts


def batch_of(rows: Sequence[Example], packed: bool) -> Batch:
    """Return the size of one forward pass."""
    longest = max(len(row["input_ids"]) for row in rows)
    trained = sum(label != IGNORED for row in rows for label in row["labels"])
    return Batch(tokens=tokens_of(rows, packed), row_tokens=longest, trained_tokens=trained)


def tokens_of(rows: Sequence[Example], packed: bool) -> int:
    """Return the tokens of one forward pass, padding included."""
    return packed_tokens(rows) if packed else max(len(row["input_ids"]) for row in rows) * len(rows)


def training_of(batch: Batch, packed: bool, section: SftSection) -> Training:
    """Return the settings that memory follows from, where `batch` is the longest forward pass."""
    return Training(
        rank=section.lora.rank,
        targets=section.lora.targets,
        precision=resolve_precision(section.precision),
        batch_size=section.batch_size,
        accumulation=section.gradient_accumulation,
        row_tokens=batch.row_tokens,
        tokens=batch.tokens,
        trained_tokens=batch.trained_tokens,
        packed=packed,
        checkpointing=section.gradient_checkpointing,
        device="cuda" if has_cuda() else "cpu",
    )

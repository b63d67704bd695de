"""A few real steps before the many: what a training run takes in memory and time, measured with its own settings.

reads    rows and a section (as one JSON document on stdin, where it runs as a process of its own)
makes    what is planned (tokens of every forward pass), the estimate from it, and of one to three steps the measured
         peak and seconds

    python -m tunewright.stages.sft.trial < job.json        one JSON document on stdout

A process of its own has a clean peak. The steps are the trainer's: a typical batch first, which warms up and makes the
optimizer's state, then the longest, then the typical one again. Nothing is trained where the estimate does not fit.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.dataset import Rows
from tunewright.chat.render import Renderer
from tunewright.errors import EnvironmentProblem
from tunewright.models.devices import peak_memory, resident_memory
from tunewright.models.estimate import Training, training_memory
from tunewright.models.find import model_folder, tokenizer_folder
from tunewright.models.precision import has_cuda, resolve_precision
from tunewright.models.shape import Shape, read_shape
from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.packing import pack
from tunewright.stages.sft.stage import IGNORED, Example, Plan, load_trainer, plan_training

MOST_STEPS = 3
MINUTES = 10  # a step that takes longer than this is no trial


class Batch(BaseModel):
    """One forward pass."""

    model_config = ConfigDict(frozen=True)

    tokens: int
    """that pass through the model: of packed rows a shared start counts once, of padded ones the padding too"""
    row_tokens: int
    """of the longest row"""
    trained_tokens: int


class Planned(BaseModel):
    """What a section will train, before a weight is loaded."""

    model_config = ConfigDict(frozen=True)

    steps: int
    passes: int
    tokens: int
    """over all forward passes"""
    longest: Batch
    typical: Batch
    packed: bool


class Measured(BaseModel):
    """What a few steps took."""

    model_config = ConfigDict(frozen=True)

    peak_bytes: int
    """over the process that had imported everything; on a GPU, of its memory"""
    base_bytes: int
    """of that process"""
    seconds: list[float]
    """of each step"""
    tokens: list[int]
    """of each step"""
    head_used: str

    @property
    def seconds_per_step(self) -> float:
        """Of the slowest step that was not the first."""
        return max(self.seconds[1:] or self.seconds)

    @property
    def tokens_per_second(self) -> float:
        """Over all steps but the first, which warms up."""
        return sum(self.tokens[1:] or self.tokens) / sum(self.seconds[1:] or self.seconds)


class Trial(BaseModel):
    """What is planned, and what was measured; None where nothing was run."""

    model_config = ConfigDict(frozen=True)

    planned: Planned
    measured: Measured | None = None

    def hours(self) -> float | None:
        """Return the hours of the whole section at the measured speed."""
        if self.measured is None:
            return None
        return self.planned.tokens / self.measured.tokens_per_second / 3600


# ── what is planned ─────────────────────────────────────────────────────────────────────────────────────────────────


def plan_batches(plan: Plan, section: SftSection, shape: Shape) -> tuple[Planned, list[Example], list[Example]]:
    """Return what is planned, the rows of the longest forward pass and those of a typical one."""
    packed = will_pack(shape)
    size = section.batch_size
    batches = [plan.examples[at : at + size] for at in range(0, len(plan.examples), size)]
    sized = sorted(((_batch(rows, packed), rows) for rows in batches), key=lambda pair: pair[0].tokens)
    longest, typical = sized[-1], sized[len(sized) // 2]
    planned = Planned(
        steps=plan.steps,
        passes=len(batches),
        tokens=sum(batch.tokens for batch, _ in sized),
        longest=longest[0],
        typical=typical[0],
        packed=packed,
    )
    return planned, longest[1], typical[1]


def will_pack(shape: Shape) -> bool:
    """Say by the config whether rows will be laid end to end; the trainer tries it on the model itself."""
    return not shape.windows and not shape.experts


def _batch(rows: Sequence[Example], packed: bool) -> Batch:
    lengths = [len(row["input_ids"]) for row in rows]
    tokens = len(pack(rows).input_ids) if packed else max(lengths) * len(rows)
    trained = sum(label != IGNORED for row in rows for label in row["labels"])
    return Batch(tokens=tokens, row_tokens=max(lengths), trained_tokens=trained)


def training_of(planned: Planned, section: SftSection) -> Training:
    """Return the settings that memory follows from, at the longest forward pass."""
    return Training(
        rank=section.lora.rank,
        targets=section.lora.targets,
        precision=resolve_precision(section.precision),
        batch_size=section.batch_size,
        accumulation=section.gradient_accumulation,
        row_tokens=planned.longest.row_tokens,
        tokens=planned.longest.tokens,
        trained_tokens=planned.longest.trained_tokens,
        packed=planned.packed,
        checkpointing=section.gradient_checkpointing,
        device="cuda" if has_cuda() else "cpu",
    )


# ── a few steps ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run_trial(rows: Rows, section: SftSection, steps: int, limit_bytes: int | None) -> Trial:
    """Plan `section`, and take `steps` of it in a process of its own.

    Args:
        rows: to train on.
        section: of the recipe.
        steps: 0 to 3.
        limit_bytes: run nothing where the estimate is above this.

    Raises:
        EnvironmentProblem: the process died: of memory, or of what it prints.
    """
    job = {"rows": str(rows.path), "section": section.model_dump(mode="json"), "steps": steps, "limit": limit_bytes}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentProblem(
            f"{steps} steps took more than {MINUTES} minutes", where="the trial", fix="train a smaller model"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        raise EnvironmentProblem(
            f"the trial of {steps} steps ended with {done.returncode}: {last}",
            where=section.id or "sft",
            fix="`tw run` would end like this too; a negative number is a signal, -9 often says: out of memory",
        )
    return Trial.model_validate_json(done.stdout.splitlines()[-1])


def try_steps(rows: Rows, section: SftSection, steps: int, limit_bytes: int | None) -> Trial:
    """As `run_trial`, in this process."""
    shape = read_shape(tokenizer_folder(str(section.model)))
    plan = plan_training(rows, section, Renderer.from_folder(tokenizer_folder(str(section.model))))
    planned, longest, typical = plan_batches(plan, section, shape)
    estimate = training_memory(shape, training_of(planned, section))
    if steps == 0 or (limit_bytes is not None and estimate.peak > limit_bytes):
        return Trial(planned=planned)
    order = [typical, longest, typical][:steps] if steps > 1 else [longest]
    return Trial(planned=planned, measured=measure(order, section, planned.packed))


def measure(batches: Sequence[list[Example]], section: SftSection, packed: bool) -> Measured:
    """Take one optimizer step for each of `batches`; with accumulation, of that batch so many times."""
    from transformers import TrainerCallback

    import tunewright.models.load  # noqa: F401  # the base is a process that has imported everything
    import tunewright.stages.sft.trainer  # noqa: F401

    class Clock(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        """Times the steps."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Start."""
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            """Stop."""
            _wait_for_device()
            seconds.append(time.perf_counter() - self.began)

    seconds: list[float] = []
    base = resident_memory()
    times = section.gradient_accumulation
    examples = [row for batch in batches for row in batch * times]
    section = section.model_copy(update={"save_every": 10**9, "trackers": (), "log_every": 10**9})
    with tempfile.TemporaryDirectory(prefix="tunewright-trial-") as folder:
        plan = Plan(examples=examples, steps=len(batches))
        trainer = load_trainer(plan, section, Path(folder), model_folder(str(section.model)))
        trainer.add_callback(Clock())
        trainer.args.save_strategy = "no"
        trainer.train()
        head_used = trainer.head_used
        peak = peak_memory() - (0 if has_cuda() else base)
    tokens = [times * _batch(batch, packed).tokens for batch in batches]
    return Measured(peak_bytes=peak, base_bytes=base, seconds=seconds, tokens=tokens, head_used=head_used)


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> None:
    """Read a job, print a trial."""
    job = json.load(sys.stdin)
    section = SftSection(**job["section"])
    trial = try_steps(Rows(path=Path(job["rows"])), section, job["steps"], job["limit"])
    print(trial.model_dump_json())


if __name__ == "__main__":
    main()

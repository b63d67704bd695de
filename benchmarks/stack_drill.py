"""How large is the rounding under the bounds of the stack drill, and how large is a fault above them?

    python -m benchmarks.stack_drill            a dozen architectures, and every planted fault
    python -m benchmarks.stack_drill --quick    one architecture, no fault, nothing written

Each architecture is drilled as `tw check` does it, on a tiny twin of its class with the class's own defaults (no
weights, no network). The faults are planted in the trainer, the checkpoint or the merge of a tiny Llama.

writes   benchmarks/baselines/<device>__stack_drill.json
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import BASELINES, machine, told_machine, write_results
from tunewright.artifacts.verdict import Status, Verdict
from tunewright.gates.stack import (
    accumulation_invariant,
    merge_round_trips,
    resume_exact,
    rows_do_not_mix,
    weight_one_is_stock,
)
from tunewright.models.tiny import write_tiny_twin
from tunewright.recipe.sections import EntropyConfig, SftSection
from tunewright.stages.check import drill

ARCHITECTURES = (
    "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "olmo2", "granite", "cohere", "gpt_neox",
    "gpt2", "mixtral", "qwen3_moe",
)  # fmt: skip
SECTION = drill.small(SftSection(rows="data.train", model="any", steps=100))
_APART = re.compile(r"(\d\.\de[-+]\d+|inf)")


# ── sound stacks ────────────────────────────────────────────────────────────────────────────────────────────────────


def config_folder(architecture: str, folder: Path) -> Path:
    """Write the default config of an architecture's class."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(architecture)
    config.architectures = None
    config.save_pretrained(str(folder))
    return folder


def drilled(architecture: str, folder: Path) -> dict[str, Any]:
    """Drill the class of an architecture; return what each gate measured."""
    config_folder(architecture, folder)
    began = time.perf_counter()
    verdicts = drill.drill(folder, SftSection(rows="data.train", model=str(folder), steps=10), folder)
    return {
        "architecture": architecture,
        "seconds": round(time.perf_counter() - began, 2),
        "passed": all(verdict.status is Status.PASSED for verdict in verdicts),
        "measured": {verdict.name: numbers(verdict) for verdict in verdicts},
        "told": {verdict.name: verdict.measured for verdict in verdicts if verdict.status is not Status.PASSED},
    }


def numbers(verdict: Verdict) -> list[float]:
    """Return the differences that a verdict names."""
    return [float(found) for found in _APART.findall(verdict.measured)]


# ── planted faults ──────────────────────────────────────────────────────────────────────────────────────────────────


def ours(tiny: Path, change: Callable[[Any], None] = lambda trainer: None) -> drill.Trainers:
    """Return a maker of the trainers of stage `sft`, each after `change` has broken something."""

    def make(section: SftSection, steps: int, out: Path) -> Any:
        trainer = drill.our_trainer(tiny, section, steps, out)
        change(trainer)
        return trainer

    return make


def weighted(tiny: Path, out: Path) -> Verdict:
    """Tokens are weighted where they should not be."""
    section = SECTION.model_copy(update={"weighting": EntropyConfig(type="linear", floor=0.5).resolved()})
    one = drill.steps_of(drill.our_trainer(tiny, section, 2, out / "ours"))
    other = drill.steps_of(drill.their_trainer(tiny, SECTION, 2, out / "stock"))
    return weight_one_is_stock(one, other)


def per_micro_batch(tiny: Path, out: Path) -> Verdict:
    """The loss as the field normalised it before 2024-10: the mean of each micro-batch, then the mean of those."""

    def change(trainer: Any) -> None:
        right = trainer.compute_loss

        def compute_loss(model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
            return right(model, inputs, return_outputs, None) / trainer.args.gradient_accumulation_steps

        trainer.compute_loss = compute_loss

    return accumulation_invariant(drill.split_steps(ours(tiny, change), SECTION, out))


def times_accumulation(tiny: Path, out: Path) -> Verdict:
    """The sum of the micro-batches' means: the loss grows with their number."""

    def change(trainer: Any) -> None:
        right = trainer.compute_loss
        trainer.compute_loss = lambda model, inputs, return_outputs=False, num_items_in_batch=None: right(
            model, inputs, return_outputs, None
        )

    return accumulation_invariant(drill.split_steps(ours(tiny, change), SECTION, out))


def _packed_as_one(tiny: Path, out: Path, new: Callable[[int], dict[str, Any]]) -> Verdict:
    def change(trainer: Any) -> None:
        right = trainer.data_collator
        trainer.data_collator = lambda rows: {**(batch := right(rows)), **new(batch["input_ids"].shape[1])}

    return rows_do_not_mix(*drill.layouts(tiny, ours(tiny, change)(SECTION, 1, out)))


def positions_ignored(tiny: Path, out: Path) -> Verdict:
    """The attention ignores the position ids of packed rows: all rows are one."""
    return _packed_as_one(
        tiny, out, lambda tokens: {"position_ids": torch.arange(tokens)[None], "packed_lengths": [0, tokens]}
    )


def neighbours_seen(tiny: Path, out: Path) -> Verdict:
    """Positions start anew with every packed row, and the attention sees the rows before it all the same."""
    return _packed_as_one(tiny, out, lambda tokens: {"packed_lengths": [0, tokens]})


def _lost(tiny: Path, out: Path, file: str) -> Verdict:
    whole = drill.steps_of(ours(tiny)(SECTION, drill.STEPS, out / "whole"), save=True)
    (out / "whole" / "checkpoints" / f"checkpoint-{drill.SAVED_AT}" / file).unlink()
    return resume_exact([loss for loss, _ in whole[drill.SAVED_AT :]], drill.resumed_losses(ours(tiny), SECTION, out))


def optimizer_lost(tiny: Path, out: Path) -> Verdict:
    """A checkpoint without the optimizer: transformers goes on without a word."""
    return _lost(tiny, out, "optimizer.pt")


def scheduler_lost(tiny: Path, out: Path) -> Verdict:
    """A checkpoint without the learning rate's schedule."""
    return _lost(tiny, out, "scheduler.pt")


def merge_is_no_op(tiny: Path, out: Path) -> Verdict:
    """The adapter is taken off and not merged."""
    return merge_round_trips(*drill.merged_logits(tiny, SECTION, out, merge=lambda tuned: tuned.unload()))


def merge_is_rounded(tiny: Path, out: Path) -> Verdict:
    """The merge is rounded to bfloat16 on its way to disk."""
    return merge_round_trips(
        *drill.merged_logits(tiny, SECTION, out, merge=lambda tuned: tuned.merge_and_unload().bfloat16().float())
    )


FAULTS: tuple[Callable[[Path, Path], Verdict], ...] = (
    weighted,
    per_micro_batch,
    times_accumulation,
    positions_ignored,
    neighbours_seen,
    optimizer_lost,
    scheduler_lost,
    merge_is_no_op,
    merge_is_rounded,
)
"""each: a tiny model and an empty folder -> the verdict that should be FAILED"""


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────


def main(arguments: list[str]) -> int:
    """Drill, print a line each, write the numbers; 1 if a sound architecture failed or a fault passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stack_drill")
    parser.add_argument("--quick", action="store_true", help="one architecture, no fault, nothing written")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", FutureWarning)
    sound = [_sound(name) for name in (ARCHITECTURES[:1] if options.quick else ARCHITECTURES)]
    planted = [] if options.quick else [_planted(fault) for fault in FAULTS]
    about = machine(torch.float32)
    print(told_machine(about))
    if not options.quick:
        write_results(BASELINES, about, "stack_drill", {"sound": sound, "faults": planted})
    return 0 if all(one["passed"] for one in sound) and all(one["found"] for one in planted) else 1


def _sound(architecture: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        found = drilled(architecture, Path(folder))
    outcome = "passed" if found["passed"] else "FAILED"
    print(
        f"{architecture:<12} {outcome} {found['seconds']:5.1f} s  {found['measured']} {found['told'] or ''}", flush=True
    )
    return found


def _planted(fault: Callable[[Path, Path], Verdict]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        tiny = write_tiny_twin(config_folder("llama", Path(folder) / "config"), Path(folder) / "tiny")
        verdict = fault(tiny, Path(folder))
    found = verdict.status is Status.FAILED
    print(f"{fault.__name__:<20} {'found' if found else 'MISSED'}  {verdict.name}: {verdict.measured}", flush=True)
    return {"fault": fault.__name__, "found": found, "gate": verdict.name, "measured": verdict.measured}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

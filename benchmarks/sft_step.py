"""How many tokens a second does a whole SFT step train, against TRL's own trainer, and where does the time go?

    python -m benchmarks.sft_step               the tour's model, rows and LoRA
    python -m benchmarks.sft_step --quick       two rows a step, three steps: does it run?

Five trainers take the same rows in the same order with the same adapters, interleaved step by step in one process; each
adds one thing to the one before:

    TRL SFTTrainer     padded batches, TRL's head, PEFT's layers
    + fused head       linear + cross entropy + entropy in one go
    + packed rows      no padding, the shared start once
    + LoraLinear       the low-rank product inside the matmul
    + entropy weights  the recipe's `weighting:`: the tour as it is

A step is what `Trainer` does in one: fetch and collate, forward, backward, clip, optimizer, schedule, log; ours with
its `Recorder`. Tokens are those of the rows, padding not counted. Freed memory is kept, for all sides.

Then, on a CPU, the first and the last arm are profiled for some steps, and their matmuls held against the fastest
matmul that this machine does in the same run.

reads    recipes/tour.yaml, its model and rows
writes   benchmarks/baselines/<device>__sft_step.json: the numbers, with hardware and versions
"""

import argparse
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as TrainingRows
from torch.profiler import ProfilerActivity, profile
from transformers import AutoTokenizer, PrinterCallback
from trl import SFTTrainer

from benchmarks.report import BASELINES, Finding, machine, ratios, told_machine, write_results
from tunewright.artifacts.context import RunContext
from tunewright.chat.render import Renderer
from tunewright.models.find import model_folder
from tunewright.models.load import load_model
from tunewright.models.precision import resolve_precision
from tunewright.recipe.load import load_recipe
from tunewright.recipe.sections import DataSection, EntropyConfig, SftSection
from tunewright.stages.data.stage import data
from tunewright.stages.sft.progress import Recorder
from tunewright.stages.sft.stage import Plan, plan_training
from tunewright.stages.sft.trainer import EntropySFTTrainer, _config, _lora, make_trainer

STEPS, WARM_UP_STEPS, PROFILED_STEPS = 12, 2, 2
AT_LEAST = 2.0  # tokens a second of ours, over TRL's
STOCK, OURS = "TRL SFTTrainer", "+ entropy weights"
PLAIN = EntropyConfig(type="none")


# ── the five trainers ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Setup:
    """What all trainers share."""

    folder: Path
    plan: Plan
    section: SftSection
    out: Path

    @property
    def precision(self) -> str:
        """As the recipe says it."""
        return resolve_precision(self.section.precision)

    def tokens_of_step(self, step: int) -> int:
        """Tokens of the rows of a step, padding not counted."""
        rows = self.section.batch_size
        return sum(len(row["input_ids"]) for row in self.plan.examples[step * rows : (step + 1) * rows])


def read_setup(recipe: Path, out: Path, steps: int, overrides: Sequence[str] = ()) -> Setup:
    """Return the recipe's rows in their training order, enough for `steps`."""
    sections = [section for _, section in load_recipe(recipe, overrides).stages]
    rows = data(next(s for s in sections if isinstance(s, DataSection)), out / "data", RunContext(quiet=True))
    section = next(s for s in sections if isinstance(s, SftSection))
    section = section.model_copy(update={"steps": steps, "gradient_accumulation": 1, "save_every": 10**9})
    folder = model_folder(str(section.model))
    return Setup(folder, plan_training(rows.part("train"), section, Renderer.from_folder(folder)), section, out)


def stock(setup: Setup) -> SFTTrainer:
    return SFTTrainer(**_arguments(setup, "stock"))


def fused_head(setup: Setup) -> EntropySFTTrainer:
    """Padded batches through TRL's collator, and transformers' own attention."""
    trainer = packed_rows(setup)
    trainer.data_collator = stock_collator(setup)
    trainer.model.get_base_model().set_attn_implementation("sdpa")
    return trainer


def packed_rows(setup: Setup) -> EntropySFTTrainer:
    return EntropySFTTrainer(weighting=PLAIN, **_arguments(setup, "packed"))


def lora_linear(setup: Setup) -> EntropySFTTrainer:
    return _ours(setup, PLAIN, "lora_linear")


def entropy_weights(setup: Setup) -> EntropySFTTrainer:
    return _ours(setup, setup.section.weighting, "weights")


ARMS = {
    STOCK: stock,
    "+ fused head": fused_head,
    "+ packed rows": packed_rows,
    "+ LoraLinear": lora_linear,
    OURS: entropy_weights,
}


def _ours(setup: Setup, weighting: EntropyConfig, name: str) -> EntropySFTTrainer:
    section = setup.section.model_copy(update={"weighting": weighting})
    model, tokenizer = load_model(setup.folder, setup.precision), AutoTokenizer.from_pretrained(setup.folder)
    out = setup.out / name
    trainer = make_trainer(model, tokenizer, setup.plan.examples, section, setup.plan.steps, out, setup.precision)
    out.mkdir(exist_ok=True)
    trainer.add_callback(Recorder(out, 0, _NoBar(), trainer.meter, trainer.selector, None))
    return trainer


def _arguments(setup: Setup, name: str) -> dict[str, Any]:
    """For a trainer with PEFT's own layers: TRL's, and ours so far."""
    lora = _lora(setup.section)
    lora._custom_modules = None  # PEFT's own layers
    return {
        "model": load_model(setup.folder, setup.precision),
        "args": _config(setup.section, setup.plan.steps, setup.out / name, setup.precision),
        "train_dataset": TrainingRows.from_list(setup.plan.examples),
        "processing_class": AutoTokenizer.from_pretrained(setup.folder),
        "peft_config": lora,
    }


def stock_collator(setup: Setup) -> Any:
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    return DataCollatorForLanguageModeling(pad_token_id=AutoTokenizer.from_pretrained(setup.folder).pad_token_id)


class _NoBar:
    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Say nothing."""


# ── one step at a time ──────────────────────────────────────────────────────────────────────────────────────────────


def steps_of(trainer: SFTTrainer, num_steps: int) -> Iterator[float]:
    """Train, and yield the loss after each step: the parts of transformers' `Trainer._run_epoch`, in its order."""
    trainer.remove_callback(PrinterCallback)
    args, state, handler = trainer.args, trainer.state, trainer.callback_handler
    model, loader = trainer._prepare_for_training(num_steps, trainer.get_train_dataloader(), None)
    state.max_steps, trainer.current_gradient_accumulation_steps = num_steps, 1
    batches = iter(loader)
    for _ in range(num_steps):
        (inputs,), num_items = trainer.get_batch_samples(batches, 1, args.device)
        trainer.accelerator.gradient_state._set_sync_gradients(True)
        handler.on_step_begin(args, state, trainer.control)
        loss = trainer.training_step(model, inputs, num_items)
        norm = trainer._get_grad_norm(model, trainer._clip_grad_norm(model))
        trainer.optimizer.step()
        rate = trainer._get_learning_rate()
        trainer.lr_scheduler.step()
        model.zero_grad()
        state.global_step += 1
        handler.on_step_end(args, state, trainer.control)
        trainer.log({"loss": loss.item(), "grad_norm": float(norm), "learning_rate": rate})
        yield loss.item()


def race(trainers: dict[str, Iterator[float]], num_steps: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return seconds and losses of each trainer, one a step, interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    losses: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(num_steps):
        for name, steps in trainers.items():
            began = time.perf_counter()
            losses[name].append(next(steps))
            seconds[name].append(time.perf_counter() - began)
    return seconds, losses


# ── where the time goes ─────────────────────────────────────────────────────────────────────────────────────────────

HEAD_NODES = ("GradientNow", "GradientLater", "ChunkedLogProb")
MATMULS = ("aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::baddbmm")
KINDS = ("matmul of the layers", "matmul of the head", "head, beside its matmul", "attention", "optimizer", "other")


def shares(steps: Iterator[float], num_steps: int) -> dict[str, Any]:
    """Return seconds by kind, FLOP of the matmuls and wall seconds of `num_steps` steps, under the profiler."""
    began = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        for _ in range(num_steps):
            next(steps)
    wall, seconds, flop = time.perf_counter() - began, dict.fromkeys(KINDS, 0.0), 0.0
    for event in recorded.events():
        seconds[_kind(event)] += event.self_cpu_time_total / 1e6
        flop += _flop(event)
    return {"seconds": seconds, "flop": flop, "wall": wall}


def _kind(event: Any) -> str:
    names = [event.name]
    while (event := event.cpu_parent) is not None:
        names.append(event.name)
    is_matmul = any(name in MATMULS for name in names)
    if any(node in name for node in HEAD_NODES for name in names):
        return KINDS[1] if is_matmul else KINDS[2]
    if any("scaled_dot_product" in name or "flash_attention" in name for name in names):
        return KINDS[3]
    if any(name.startswith("Optimizer.step") for name in names):
        return KINDS[4]
    return KINDS[0] if is_matmul else KINDS[5]


def _flop(event: Any) -> float:
    """Of a matmul: two a multiply-add."""
    if event.name not in MATMULS or (event.cpu_parent is not None and event.cpu_parent.name in MATMULS):
        return 0.0
    first = 1 if "add" in event.name else 0  # what is added to comes before the factors
    left, right = event.input_shapes[first : first + 2]
    return 2.0 * math.prod(left) * right[-1]


def matmul_limit(dtype: torch.dtype, size: int = 2048, repeats: int = 7) -> float:
    """Return the fastest GFLOP/s of a square matmul on this machine, of some runs."""
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    a @ b
    best = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e9


# ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def show_race(setup: Setup, seconds: dict[str, list[float]], losses: dict[str, list[float]]) -> Finding:
    """Print tokens a second of each arm, and what it adds; return ours against TRL's."""
    tokens = [setup.tokens_of_step(step) for step in range(WARM_UP_STEPS, WARM_UP_STEPS + len(seconds[STOCK]))]
    print(f"    {'':<20}{'tokens/s, median (min to max)':>36}   / TRL   / before   last loss")
    before = STOCK
    for name, values in seconds.items():
        speed = [count / second for count, second in zip(tokens, values, strict=True)]
        told = f"{statistics.median(speed):.0f} ({min(speed):.0f} to {max(speed):.0f})"
        to_stock, to_before = (statistics.median(ratios(seconds[other], values)) for other in (STOCK, before))
        print(f"    {name:<20}{told:>36}  {to_stock:5.2f}x  {to_before:8.2f}x   {losses[name][-1]:.4f}")
        before = name
    finding = Finding("tokens/s, ours / TRL SFTTrainer", ratios(seconds[STOCK], seconds[OURS]), AT_LEAST, at_least=True)
    print(f"      {finding.told()}")
    return finding


def show_shares(name: str, found: dict[str, Any], limit: float) -> None:
    total = sum(found["seconds"].values())
    matmul = sum(found["seconds"][kind] for kind in KINDS[:2])
    print(f"    {name}: {found['wall']:.1f} s under the profiler, {total:.1f} of them inside torch's operations")
    for kind, seconds in found["seconds"].items():
        print(f"      {kind:<26}{seconds:7.2f} s  {seconds / total:6.1%}")
    speed, floor = found["flop"] / max(matmul, 1e-9) / 1e9, found["flop"] / limit / 1e9
    print(
        f"      matmuls run at {speed:.0f} GFLOP/s, {speed / limit:.0%} of {limit:.0f}; at the limit they alone would"
    )
    print(f"      take {floor:.2f} s: {floor / found['wall']:.0%} of the wall time")


def main(arguments: Sequence[str] = ()) -> None:
    options = _options(arguments)
    warnings.simplefilter("ignore", FutureWarning)
    steps, profiled = (1, 1) if options.quick else (options.steps, PROFILED_STEPS)
    overrides = [*(["sft.batch_size=2"] if options.quick else []), *(f"model={m}" for m in options.model or ())]
    with tempfile.TemporaryDirectory() as out:
        setup = read_setup(options.recipe, Path(out), WARM_UP_STEPS + steps + profiled, overrides)
        dtype = getattr(torch, setup.precision)
        about = machine(dtype)
        print(f"  {told_machine(about)}")
        print(f"  {steps} steps of {setup.section.batch_size} rows after {WARM_UP_STEPS} of warm-up\n")
        trainers = {name: steps_of(make(setup), setup.plan.steps) for name, make in ARMS.items()}
        race(trainers, WARM_UP_STEPS)
        seconds, losses = race(trainers, steps)
        finding = show_race(setup, seconds, losses)
        limit, parts = None, {}
        if not torch.cuda.is_available():  # what the CPU does while a GPU works says little
            limit = matmul_limit(dtype)
            print(
                f"\n  where {profiled} steps go; the fastest matmul of this machine, 2048 x 2048: {limit:.0f} GFLOP/s"
            )
            parts = {name: shares(trainers[name], profiled) for name in (STOCK, OURS)}
            for name, found in parts.items():
                show_shares(name, found, limit)
    if not options.quick:
        payload = {
            "seconds": seconds,
            "losses": losses,
            "tokens": [setup.tokens_of_step(step) for step in range(WARM_UP_STEPS, WARM_UP_STEPS + steps)],
            "findings": [finding.as_json()],
            "matmul_limit_gflops": limit,
            "where_the_time_goes": parts,
        }
        print(f"\n  written to {write_results(BASELINES, about, 'sft_step', payload)}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sft_step", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=STEPS, help="steps that are timed")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).parents[1] / "recipes" / "tour.yaml")
    parser.add_argument("--model", action="append", help="another model than the recipe's")
    parser.add_argument("--quick", action="store_true", help="one step of two rows, nothing written")
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])

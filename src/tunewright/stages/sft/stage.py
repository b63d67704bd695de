"""Stage `sft`: train LoRA adapters on the answers of chat rows.

reads    Rows, the base model
writes   adapter/, metrics.jsonl, tb/ (and checkpoints/ while it runs), dev.jsonl where `dev:` asks for it, and the
         verdicts of `gates/training.py`

A loss or gradient that is no number ends training at that step; what is kept is the adapter of the last checkpoint.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import make_folder, read_json, read_jsonl, write_json, writing, writing_weights
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.artifacts.verdict import Verdict
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, MissingExtra
from tunewright.gates.training import (
    entropy_collapsed,
    loss_fell,
    loss_is_finite,
    loss_is_learning,
    loss_spikes,
    train_dev_gap,
    weights_moved,
)
from tunewright.models.find import model_folder, model_identity
from tunewright.models.precision import resolve_precision
from tunewright.progress import task
from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.batches import num_steps, plan_order
from tunewright.stages.sft.held_out import hold_out
from tunewright.stages.sft.packing import IGNORED
from tunewright.stages.sft.size import memory_verdict

CODE_VERSION = 5
ENDS_SHARE = 0.1


@dataclass(frozen=True)
class Plan:
    """What will be trained, in order."""

    examples: list[dict[str, list[Any]]]
    steps: int
    dev_rows: tuple[ChatRow, ...] = ()
    dev_examples: tuple[dict[str, list[Any]], ...] = ()
    """rows that are held out of training, and the same rendered"""

    @property
    def tokens(self) -> int:
        """Tokens that pass through the model, padding not counted."""
        return sum(len(example["input_ids"]) for example in self.examples)

    @property
    def trained_tokens(self) -> int:
        """Tokens that count in the loss."""
        return sum(label != IGNORED for example in self.examples for label in example["labels"])


def sft(rows: Rows, section: SftSection, out: Path, run: RunContext) -> Trained:
    """Train adapters on `rows`; goes on from the last whole checkpoint in `out` if there is one.

    Raises:
        DataError: no rows, or a row longer than the model's context; names it.
        ModelError: the base model cannot be loaded.
        GateFailed: the device has too little memory. BudgetSpent: training stops with a checkpoint.
    """
    summary = out / "trained.json"
    if not summary.is_file():
        plan = plan_training(rows, section, Renderer.from_folder(model_folder(str(section.model))))
        held = f", {len(plan.dev_rows)} dev rows held out" if plan.dev_rows else ""
        run.note(f"{plan.steps} steps, {len(plan.examples)} rows, {plan.tokens:,} tokens{held}")
        run.require(memory_verdict(plan.examples, plan.steps, section))
        stopped = _train(plan, section, out, run)
        write_json(summary, _summary(plan, section, out, stopped))
    with writing(out):
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    trained = Trained(folder=out, **read_json(summary))
    run.judge(*verdicts_on(trained, section))
    return trained


def verdicts_on(trained: Trained, section: SftSection) -> list[Verdict]:
    """Return what the gates say of a training that has ended."""
    metrics = trained.metrics()
    losses, gradients = ([row.get(name) for row in metrics] for name in ("loss", "grad_norm"))
    verdicts = [
        loss_is_finite(losses, gradients, trained.stopped),
        loss_fell(trained.first_loss, trained.last_loss),
        loss_spikes(losses),
        weights_moved(trained.still_matrices, trained.matrices, gradients),
        entropy_collapsed([row.get("entropy") for row in metrics], [row.get("accuracy") for row in metrics]),
    ]
    points, nlls = trained.dev(), [row["nll"] for row in metrics if row.get("nll") is not None]
    if section.dev is None or not points or not nlls:
        return verdicts
    ends = max(1, round(ENDS_SHARE * len(nlls)))
    first, last = (sum(part) / ends for part in (nlls[:ends], nlls[-ends:]))
    scores = [point["score"] for point in points if point["score"] is not None]
    warn = section.dev.on_fail == "warn"
    learning = loss_is_learning((first, last), scores, points[-1]["rows"], points[-1]["metric"], warn=warn)
    return [*verdicts, learning, train_dev_gap(last, [point["loss"] for point in points if point["loss"] is not None])]


def plan_training(rows: Rows, section: SftSection, renderer: Renderer) -> Plan:
    """Render the rows and put them in training order.

    Raises:
        DataError: no rows, a row that does not fit the model, or weights that train nothing.
    """
    weighted = section.weighting.type == "external"
    kept: list[ChatRow] = list(rows)
    held: list[ChatRow] = []
    if section.dev is not None and kept:
        kept, held = hold_out(kept, section.dev.limit, section.seed or 0, str(rows.path))
    rendered = [_example(row, renderer, weighted) for row in kept]
    if not rendered:
        raise DataError("there are no rows to train on", where=str(rows.path))
    if weighted and not any(any(example["token_weights"]) for example in rendered):
        raise DataError(
            "every `meta.token_weights` is 0: nothing would be trained",
            where=str(rows.path),
            expected="tokens with a weight above 0",
            fix="mend what made the weights, or take another `weighting: {type: ...}`",
        )
    rows_per_step = section.batch_size * section.gradient_accumulation
    steps = num_steps(len(rendered), rows_per_step, section.steps, section.epochs)
    lengths = [len(example["input_ids"]) for example in rendered]
    order = plan_order(lengths, section.batch_size, steps * rows_per_step, section.seed or 0)
    return Plan(
        examples=[rendered[index] for index in order],
        steps=steps,
        dev_rows=tuple(held),
        dev_examples=tuple(_example(row, renderer, weighted) for row in held),
    )


def _example(row: ChatRow, renderer: Renderer, weighted: bool) -> dict[str, list[Any]]:
    rendered = renderer.conversation(row.messages, row.tools)
    limit = renderer.context_length
    if limit is not None and len(rendered.token_ids) > limit:
        raise DataError(
            f"{len(rendered.token_ids)} tokens",
            where=f"row {row.id}",
            expected=f"at most {limit}: the model's context",
            fix="drop such rows in the data stage: `max_tokens:` with `overlong: drop`",
        )
    labels = [token if on else IGNORED for token, on in zip(rendered.token_ids, rendered.trained, strict=True)]
    example: dict[str, list[Any]] = {"input_ids": rendered.token_ids, "labels": labels}
    return {**example, "token_weights": _own_weights(row, rendered.trained)} if weighted else example


def _own_weights(row: ChatRow, trained: Sequence[bool]) -> list[float]:
    """Return the weights that the row brings for its trained tokens, 0 for the others."""
    own = row.meta.get("token_weights")
    numbers = own if isinstance(own, list) else []
    right = all(type(weight) in (int, float) and 0 <= weight < inf for weight in numbers)
    if own is None or not right or len(numbers) != sum(trained):
        raise DataError(
            "`meta.token_weights` is missing" if own is None else f"`meta.token_weights` is {str(own)[:80]}",
            where=f"row {row.id}",
            expected=f"{sum(trained)} numbers, at least 0: one for each trained token (`tw show rows RUN --tokens`)",
            fix="add them, or take another `weighting: {type: ...}`",
        )
    weights = iter(numbers)
    return [float(next(weights)) if on else 0.0 for on in trained]


def _train(plan: Plan, section: SftSection, out: Path, run: RunContext) -> str:
    """Run the trainer and put the adapter in place by rename; return why it stopped early, or nothing."""
    quiet_libraries()
    try:
        from transformers import AutoTokenizer

        from tunewright.models.load import load_model
        from tunewright.stages.sft.progress import Recorder, checkpoint_step, last_checkpoint
        from tunewright.stages.sft.spending import StopWhenSpent
        from tunewright.stages.sft.trainer import make_trainer
    except ImportError as error:
        raise MissingExtra.of(error, "train") from None
    precision = resolve_precision(section.precision)
    folder = model_folder(str(section.model))
    resume = last_checkpoint(make_folder(out / "checkpoints"))
    start = checkpoint_step(resume) if resume else 0
    title = f"training {plan.steps} steps"
    with warnings.catch_warnings(), task(title, plan.steps, start) as bar, writing_weights(out):
        warnings.simplefilter("ignore", FutureWarning)  # TRL 1.16 still uses the old name of activation checkpointing
        model = load_model(folder, precision)
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        trainer = make_trainer(model, tokenizer, plan.examples, section, plan.steps, out, precision)
        run.note(trainer.head_used)
        recorder = Recorder(out, start, bar, trainer.meter, trainer.selector, resume)
        trainer.start_counting_at(recorder.tokens)
        trainer.add_callback(recorder)
        trainer.add_callback(StopWhenSpent(run.purse))
        if section.dev is not None:
            from tunewright.stages.sft.dev import DevWatch

            renderer = Renderer.from_folder(folder)
            trainer.add_callback(DevWatch(trainer, plan.dev_rows, plan.dev_examples, section.dev, renderer, out, start))
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        stopped = _put_back(trainer.model, recorder.stopped_at, plan.steps, out) if recorder.stopped_at else ""
        _save_adapter(trainer.model, str(section.model), out)
    return stopped


def _put_back(model: Any, step: int, steps: int, out: Path) -> str:
    """Give a model whose training broke at `step` the adapter of the last checkpoint; say what was done."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    from tunewright.stages.sft.progress import checkpoint_step, last_checkpoint

    whole = last_checkpoint(out / "checkpoints")
    told = f"training stopped at step {step} of {steps}"
    if whole is None:
        return f"{told}, before the first checkpoint: the adapter is of no use"
    set_peft_model_state_dict(model, load_file(str(whole / "adapter_model.safetensors")))
    return f"{told}; the adapter is that of step {checkpoint_step(whole)}"


def _save_adapter(model: Any, base: str, out: Path) -> None:
    """Put the adapter in place by rename, naming its base as the recipe does and not by a path of this machine."""
    part = out / "adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), save_embedding_layers=False)
    config = read_json(part / "adapter_config.json")
    config["target_modules"] = sorted(config["target_modules"])  # PEFT keeps a set: its order differs from run to run
    write_json(part / "adapter_config.json", {**config, "base_model_name_or_path": base})
    shutil.rmtree(out / "adapter", ignore_errors=True)  # of an attempt that stopped before its summary was written
    part.rename(out / "adapter")


def quiet_libraries() -> None:
    """Keep TRL's telemetry and its libraries' progress bars off; must run before they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _summary(plan: Plan, section: SftSection, out: Path, stopped: str) -> dict[str, Any]:
    metrics = [row for _, row in read_jsonl(out / "metrics.jsonl")]
    steps = metrics[-1]["step"]
    plan = replace(plan, examples=plan.examples[: steps * section.batch_size * section.gradient_accumulation])
    still, matrices = _still_matrices(out / "adapter" / "adapter_model.safetensors")
    losses = [row["loss"] if row["loss"] is not None else float("nan") for row in metrics]
    ends = max(1, round(ENDS_SHARE * len(losses)))
    finite = all(loss == loss for loss in losses)
    return {
        "base_model": section.model,
        "base_identity": model_identity(str(section.model)),
        "adapter_sha256": sha256_file(out / "adapter" / "adapter_model.safetensors"),
        "steps": steps,
        "rows_seen": len(plan.examples),
        "tokens_seen": plan.tokens,
        "trained_tokens_seen": plan.trained_tokens,
        "seconds": metrics[-1]["seconds"],
        "precision": resolve_precision(section.precision),
        "first_loss": sum(losses[:ends]) / ends if finite else 0.0,
        "last_loss": sum(losses[-ends:]) / ends if finite else 0.0,
        "stopped": stopped,
        "matrices": matrices,
        "still_matrices": still,
    }


def _still_matrices(file: Path) -> tuple[int, int]:
    """Return how many B matrices of a saved adapter are exactly 0, as they begin, and how many there are."""
    from safetensors.torch import load_file

    found = [bool((weight == 0).all()) for name, weight in load_file(str(file)).items() if "lora_B" in name]
    return sum(found), len(found)

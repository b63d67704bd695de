"""Stage `sft`: train LoRA adapters on the answers of chat rows.

reads    Rows, the base model
writes   adapter/, metrics.jsonl, tb/ (and checkpoints/ while it runs), and the verdicts `loss_is_finite`,
         `loss_fell`, `entropy_collapsed`
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import make_folder, read_json, write_json, writing
from tunewright.artifacts.fingerprint import sha256_file
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, MissingExtra
from tunewright.gates.training import entropy_collapsed, loss_fell, loss_is_finite
from tunewright.models.find import model_folder, model_identity
from tunewright.models.precision import resolve_precision
from tunewright.progress import task
from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.batches import num_steps, plan_order
from tunewright.stages.sft.size import memory_verdict

CODE_VERSION = 2
IGNORED = -100  # the label that every loss of the field skips
ENDS_SHARE = 0.1


@dataclass(frozen=True)
class Plan:
    """What will be trained, in order."""

    examples: list[dict[str, list[Any]]]
    steps: int

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
        run.note(f"{plan.steps} steps, {len(plan.examples)} rows, {plan.tokens:,} tokens")
        run.require(memory_verdict(plan.examples, plan.steps, section))
        _train(plan, section, out, run)
        write_json(summary, _summary(plan, section, out))
    with writing(out):
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    trained = Trained(folder=out, **read_json(summary))
    metrics = trained.metrics()
    run.judge(loss_is_finite([row["loss"] for row in metrics]), loss_fell(trained.first_loss, trained.last_loss))
    run.judge(entropy_collapsed([row.get("entropy") for row in metrics], [row.get("accuracy") for row in metrics]))
    return trained


def plan_training(rows: Rows, section: SftSection, renderer: Renderer) -> Plan:
    """Render the rows and put them in training order.

    Raises:
        DataError: no rows, or a row that does not fit the model.
    """
    weighted = section.weighting.type == "external"
    rendered = [_example(row, renderer, weighted) for row in rows]
    if not rendered:
        raise DataError("there are no rows to train on", where=str(rows.path))
    rows_per_step = section.batch_size * section.gradient_accumulation
    steps = num_steps(len(rendered), rows_per_step, section.steps, section.epochs)
    lengths = [len(example["input_ids"]) for example in rendered]
    order = plan_order(lengths, section.batch_size, steps * rows_per_step, section.seed or 0)
    return Plan(examples=[rendered[index] for index in order], steps=steps)


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


def _train(plan: Plan, section: SftSection, out: Path, run: RunContext) -> None:
    """Run the trainer and put the adapter in place by rename."""
    _quiet()
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
    with warnings.catch_warnings(), task(f"training {plan.steps} steps", plan.steps, start) as bar, writing(out):
        warnings.simplefilter("ignore", FutureWarning)  # TRL 1.16 still uses the old name of activation checkpointing
        model = load_model(folder, precision)
        tokenizer = AutoTokenizer.from_pretrained(str(folder))
        trainer = make_trainer(model, tokenizer, plan.examples, section, plan.steps, out, precision)
        run.note(trainer.head_used)
        recorder = Recorder(out, start, bar, trainer.meter, trainer.selector, resume)
        trainer.start_counting_at(recorder.tokens)
        trainer.add_callback(recorder)
        trainer.add_callback(StopWhenSpent(run.purse))
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        _save_adapter(trainer.model, str(section.model), out)


def _save_adapter(model: Any, base: str, out: Path) -> None:
    """Put the adapter in place by rename, naming its base as the recipe does and not by a path of this machine."""
    part = out / "adapter.part"
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(str(part), save_embedding_layers=False)
    config = read_json(part / "adapter_config.json")
    config["target_modules"] = sorted(config["target_modules"])  # PEFT keeps a set: its order differs from run to run
    write_json(part / "adapter_config.json", {**config, "base_model_name_or_path": base})
    (part / "README.md").unlink(missing_ok=True)  # PEFT's empty model card says nothing true
    shutil.rmtree(out / "adapter", ignore_errors=True)  # of an attempt that stopped before its summary was written
    part.rename(out / "adapter")


def _quiet() -> None:
    """Keep TRL's telemetry and its libraries' progress bars off; must run before they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _summary(plan: Plan, section: SftSection, out: Path) -> dict[str, Any]:
    from tunewright.artifacts.files import read_jsonl

    metrics = [row for _, row in read_jsonl(out / "metrics.jsonl")]
    losses = [row["loss"] if row["loss"] is not None else float("nan") for row in metrics]
    ends = max(1, round(ENDS_SHARE * len(losses)))
    finite = all(loss == loss for loss in losses)
    return {
        "base_model": section.model,
        "base_identity": model_identity(str(section.model)),
        "adapter_sha256": sha256_file(out / "adapter" / "adapter_model.safetensors"),
        "steps": plan.steps,
        "rows_seen": len(plan.examples),
        "tokens_seen": plan.tokens,
        "trained_tokens_seen": plan.trained_tokens,
        "seconds": metrics[-1]["seconds"],
        "precision": resolve_precision(section.precision),
        "first_loss": sum(losses[:ends]) / ends if finite else 0.0,
        "last_loss": sum(losses[-ends:]) / ends if finite else 0.0,
    }

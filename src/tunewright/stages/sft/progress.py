"""What training leaves behind while it runs: metrics.jsonl, TensorBoard events, checkpoints known to be whole.

metrics.jsonl is the source of truth. On resume it is cut back to the step of the checkpoint, and the TensorBoard events
are written again from it, so that no step stands there twice.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from tunewright.artifacts.files import JsonlAppender, write_jsonl, write_text
from tunewright.losses.metrics import EntropyMeter, histogram_edges
from tunewright.losses.selection import Selector
from tunewright.progress import Task

COMPLETE = "complete"
SELECTOR = "selector.pt"
_NAMES = {"loss": "loss", "learning_rate": "learning_rate", "grad_norm": "grad_norm", "num_tokens": "tokens"}


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in `folder`, and remove those that a kill left half-written."""
    whole = None
    for path in sorted(folder.glob("checkpoint-*"), key=checkpoint_step):
        if (path / COMPLETE).is_file():
            whole = path
        else:
            shutil.rmtree(path)
    return whole


def checkpoint_step(path: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(path.name.rsplit("-", 1)[1])


class Recorder(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
    """Writes metrics.jsonl, TensorBoard events and the marks of whole checkpoints, and moves the progress bar.

    Args:
        folder: the stage's folder.
        start_step: the step that training resumes from, 0 for a fresh start.
        bar: is advanced once a step.
        meter: asked and reset at every log.
        selector: told of every step; its state goes into the checkpoints.
        resume: the checkpoint that training resumes from.
    """

    def __init__(
        self, folder: Path, start_step: int, bar: Task, meter: EntropyMeter, selector: Selector, resume: Path | None
    ):
        from torch.utils.tensorboard import SummaryWriter

        self.bar, self.meter, self.selector = bar, meter, selector
        if resume is not None:
            selector.load_state_dict(torch.load(resume / SELECTOR, weights_only=True))
        path = folder / "metrics.jsonl"
        with JsonlAppender(path) as log:
            kept = [row for row in log.existing if row["step"] <= start_step]
        write_jsonl(path, kept)
        self.log = JsonlAppender(path)
        shutil.rmtree(folder / "tb", ignore_errors=True)
        self.events = SummaryWriter(str(folder / "tb"))
        for row in kept:
            self._write_events(row)
        self.tokens = kept[-1]["tokens"] if kept else 0
        self.seconds = kept[-1]["seconds"] if kept else 0.0
        self.began = self.last = time.perf_counter()
        self.stopped_at: int | None = None
        """the step whose loss or gradient was no number: training ends there"""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Write one line for a logged step."""
        if not logs or "loss" not in logs:
            return
        now = time.perf_counter()
        values = {ours: logs[theirs] for theirs, ours in _NAMES.items() if theirs in logs}
        row: dict[str, Any] = {"step": state.global_step, **values, **self._measured()}
        row["tokens"] = int(row["tokens"])
        row["tokens_per_second"] = (row["tokens"] - self.tokens) / (now - self.last)
        row["seconds"] = self.seconds + now - self.began
        row = {key: finite(value) for key, value in row.items()}
        self.tokens, self.last = row["tokens"], now
        self.log.append([row])
        self._write_events(row)
        if row["loss"] is None or row.get("grad_norm", 0.0) is None:
            self.stopped_at = state.global_step
            control.should_training_stop, control.should_save = (
                True,
                False,
            )  # what is lost is not saved over what is not

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the step of the selector and move the bar; log at every checkpoint, so that no sum reaches past it."""
        self.selector.end_step()
        control.should_log |= control.should_save or state.global_step >= state.max_steps
        last = state.log_history[-1] if state.log_history else {}
        self.bar.advance(1, f"loss {last['loss']:.3f}" if "loss" in last else "")

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Mark the checkpoint as whole: this runs after everything in it was written."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        torch.save(self.selector.state_dict(), folder / SELECTOR)
        write_text(folder / COMPLETE, "")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the files."""
        self.log.close()
        self.events.close()

    def _measured(self) -> dict[str, Any]:
        """Return what the meter says of the steps since the last log."""
        measured = self.meter.result()
        self.meter.reset()
        return {"trained_tokens": measured.pop("tokens"), **measured}

    def _write_events(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if isinstance(value, (int, float)) and name != "step":
                self.events.add_scalar(f"train/{name}", value, row["step"])
        self._write_histogram(row["entropy_histogram"], row["entropy"] or 0.0, row["step"])

    def _write_histogram(self, counts: list[int], mean: float, step: int) -> None:
        edges, total = histogram_edges(), sum(counts)
        if total:
            self.events.add_histogram_raw(
                "train/entropy_histogram",
                min=edges[0], max=edges[-1], num=total, sum=mean * total, sum_squares=mean * mean * total,
                bucket_limits=edges[1:], bucket_counts=counts, global_step=step,
            )  # fmt: skip


def finite(value: Any) -> Any:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

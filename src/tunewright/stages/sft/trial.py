"""A few real steps before the many: what a training run takes in memory and time, measured with its own settings.

    python -m tunewright.stages.sft.trial < job.json

reads    a JSON document on stdin: the file of rows, the section, how many steps, the bytes that there are
writes   a `Trial` as the last line on stdout

It is a process of its own, so that its peak is clean. The steps are the trainer's: a typical batch first, to warm up
and makes the optimizer's state, then the longest, then the typical one again. Nothing is trained where the estimate
does not fit.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.trial import Measured, Trial
from tunewright.chat.render import Renderer
from tunewright.errors import EXIT_DONE, TunewrightError
from tunewright.models.devices import peak_memory, resident_memory
from tunewright.models.estimate import training_memory
from tunewright.models.find import model_folder, tokenizer_folder
from tunewright.models.fitting import nearest_that_fit
from tunewright.models.flops import training_flops
from tunewright.models.precision import has_cuda, resolve_precision
from tunewright.models.shape import read_shape
from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.packing import Example
from tunewright.stages.sft.size import batch_of, plan_batches, training_of
from tunewright.stages.sft.stage import plan_training


def try_steps(rows: Rows, section: SftSection, steps: int, limit_bytes: int) -> Trial:
    """Plan `section`, estimate it, and take `steps` (0 to 3) of it where the estimate is not above `limit_bytes`.

    Raises:
        DataError, ModelError: as the stage would.
    """
    folder = tokenizer_folder(str(section.model))
    shape = read_shape(folder)
    plan = plan_training(rows, section, Renderer.from_folder(folder))
    planned, longest, typical = plan_batches(plan.examples, plan.steps, section, shape)
    training = training_of(planned, section)
    memory = training_memory(shape, training)
    fits = memory.peak <= limit_bytes
    order = [typical, longest, typical][:steps] if steps > 1 else [longest][:steps]
    return Trial(
        planned=planned,
        peak_bytes=memory.peak,
        low_bytes=memory.low,
        high_bytes=memory.high,
        nearest=[] if fits else [one.change for one in nearest_that_fit(shape, training, limit_bytes)],
        flops=training_flops(shape, training, planned.tokens),
        measured=measure(order, section) if fits and order else None,
    )


def measure(batches: Sequence[list[Example]], section: SftSection) -> Measured:
    """Take one optimizer step for each of `batches`; with accumulation, of that batch so many times."""
    from transformers import AutoTokenizer, TrainerCallback

    from tunewright.models.load import load_model
    from tunewright.stages.sft.trainer import make_trainer

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
    section = section.model_copy(update={"trackers": ()})
    folder, precision = model_folder(str(section.model)), resolve_precision(section.precision)
    with tempfile.TemporaryDirectory(prefix="tunewright-trial-") as out:
        model, tokenizer = load_model(folder, precision), AutoTokenizer.from_pretrained(str(folder))
        trainer = make_trainer(model, tokenizer, examples, section, len(batches), Path(out), precision)
        trainer.add_callback(Clock())
        trainer.args.save_strategy = "no"
        trainer.train()
        head_used = trainer.head_used
        peak = peak_memory() - (0 if has_cuda() else base)
    tokens = [times * batch_of(batch, "packed" in head_used).tokens for batch in batches]
    return Measured(peak_bytes=peak, base_bytes=base, seconds=seconds, tokens=tokens, head_used=head_used)


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> int:
    """Read a job, print a trial; what the user did wrong is one JSON object, and its exit code."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no trial
    job = json.load(sys.stdin)
    try:
        trial = try_steps(Rows(path=Path(job["rows"])), SftSection(**job["section"]), job["steps"], job["limit"])
    except TunewrightError as error:
        print(json.dumps(error.as_json()), file=out, flush=True)
        return error.exit_code
    print(trial.model_dump_json(), file=out, flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

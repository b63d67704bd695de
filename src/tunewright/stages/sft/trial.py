"""A few real steps before the many: what a training run takes in memory and time, measured with its own settings.

    python -m tunewright.stages.sft.trial < jobs

reads    a JSON object a line on stdin: the file of rows, the section, how many steps, the bytes that there are
writes   for each a `Trial`, or an error, as a line on stdout, and a line that says how it ended

Each is a process of its own, so that its peak is clean: a fork of this one, which has imported everything and computed
nothing. Where a device would not survive the fork, this one makes one trial itself and ends.

The steps are the trainer's: a typical batch first, to warm up and to make the optimizer's state, then the longest, then
the typical one again. Nothing is trained where the estimate does not fit. Before them the model reads a batch as it
comes: one whose tokenizer or config is another's cannot.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, TextIO

from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.processes import end_with_parent
from tunewright.artifacts.trial import ENDED, Measured, Reading, Trial
from tunewright.chat.render import Renderer
from tunewright.errors import EXIT_BUG, EXIT_DONE, TunewrightError
from tunewright.models.devices import hold_library_pages, peak_memory, resident_memory
from tunewright.models.estimate import training_memory
from tunewright.models.find import model_folder, tokenizer_folder
from tunewright.models.fitting import nearest_that_fit
from tunewright.models.flops import training_flops
from tunewright.models.precision import has_cuda, resolve_precision
from tunewright.models.shape import read_shape
from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.packing import IGNORED, Example, shared_start
from tunewright.stages.sft.size import batch_of, plan_batches, training_of
from tunewright.stages.sft.stage import plan_training

MOST_FRAME_TOKENS: Final = 8


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
            """Stop, and keep the loss without weights."""
            _wait_for_device()
            seconds.append(time.perf_counter() - self.began)
            losses.append(trainer.meter.result()["nll"])
            trainer.meter.reset()

    seconds: list[float] = []
    losses: list[float] = []
    hold_library_pages()  # code that is touched during the steps is no memory of theirs
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
        reading = read(trainer, [row for batch in batches[:2] for row in batch])  # the adapter changes nothing yet
        trainer.train()
        head_used = trainer.head_used
        peak = peak_memory() - (0 if has_cuda() else base)
    tokens = [times * batch_of(batch, "packed" in head_used).tokens for batch in batches]
    return Measured(
        peak_bytes=peak,
        base_bytes=base,
        seconds=seconds,
        tokens=tokens,
        head_used=head_used,
        losses=[_finite(loss) for loss in losses],
        reading=reading,
    )


def read(trainer: Any, rows: Sequence[Example]) -> Reading:
    """Let the model of `trainer` read rows that it trains on: all of them, and the frame around the answers alone."""
    start = shared_start(rows)  # it is computed once, as in training, and so cannot be predicted
    whole = [[IGNORED] * (start + 1) + row["input_ids"][start + 1 :] for row in rows]
    around = frame_tokens(rows)
    frames = []
    for row in rows:
        begin = _answer_begins(row)
        frames.append([token if begin - around <= at < begin else IGNORED for at, token in enumerate(row["input_ids"])])
    nll, frame = (
        _finite(trainer.mean_nll([{**row, "labels": labels} for row, labels in zip(rows, chosen, strict=True)]))
        for chosen in (whole, frames)
    )
    tokens = sum(label != IGNORED for labels in whole for label in labels)
    vocab_size = trainer.model.config.get_text_config().vocab_size
    return Reading(rows=nll, frame=frame if around else None, tokens=tokens, vocab_size=vocab_size)


def frame_tokens(rows: Sequence[Example]) -> int:
    """Return how many tokens before the first answer the template alone decides; at most MOST_FRAME_TOKENS.

    They are the same in all rows. The first such one says that the question is over, which no template can know; it
    counts only where there is no other.
    """
    prompts = [row["input_ids"][: _answer_begins(row)] for row in rows]
    ends = zip(*(reversed(prompt[-MOST_FRAME_TOKENS - 1 :]) for prompt in prompts), strict=False)
    same = sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, ends))
    return max(same - 1, min(same, 1))


def _answer_begins(row: Example) -> int:
    return next((at for at, label in enumerate(row["labels"]) if label != IGNORED), 0)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _wait_for_device() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> int:
    """Read jobs until there are no more. What the user did wrong is one JSON object, and its exit code."""
    end_with_parent()
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no trial
    import_all()
    forks = _can_fork()
    for line in sys.stdin:
        child = os.fork() if forks else 0
        if not child:
            end_with_parent()
            code = _answer(json.loads(line), out)
            if forks:
                os._exit(code)
        else:
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(f"{ENDED}{code}", file=out, flush=True)
        if not forks:
            return code
    return EXIT_DONE


def import_all() -> None:
    """Import what training needs. None of it is garbage, and not to look for garbage saves a sixth of the time."""
    gc.disable()
    with suppress(ImportError):  # what is missing is told by the trial that needs it
        import tunewright.models.load
        import tunewright.stages.sft.trainer  # noqa: F401
    gc.freeze()
    gc.enable()


def _can_fork() -> bool:
    """True where a child may compute: a CUDA device, and macOS's libraries, are lost by a fork."""
    return sys.platform == "linux" and not Path("/dev/nvidiactl").exists()


def _answer(job: dict[str, Any], out: TextIO) -> int:
    try:
        trial = try_steps(Rows(path=Path(job["rows"])), SftSection(**job["section"]), job["steps"], job["limit"])
    except TunewrightError as error:
        print(json.dumps(error.as_json()), file=out, flush=True)
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return EXIT_BUG
    print(trial.model_dump_json(), file=out, flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())

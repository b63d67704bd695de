"""A few real steps before the many: what a training run takes in memory and time, measured with its own settings.

    python -m tunewright.stages.sft.trial < jobs

reads    a JSON object a line on stdin: the file of rows, the section, how many steps, the bytes that there are; and
         when all is ready for the steps, whether to take them
writes   for each a `Trial`, or an error, as a line on stdout, and a line that says how it ended

Each is a process of its own, so that its peak is clean: a fork of this one, which has imported everything and computed
nothing. Where a device would not survive the fork, this one makes one trial itself and ends.

The steps are the trainer's; the first warms up and makes the optimizer's state.

    two      the shortest batch, then a typical one; on a CPU two typical ones, only as many rows of them as it takes
             to know its speed. Where the estimate comes near to the memory that there is: the shortest and the longest
             batch, whole
    three    a typical batch, the longest, and the typical one again

Nothing is trained where the estimate does not fit. Before the steps the model reads the rows of one as it comes: a
model whose tokenizer or config is another's cannot. Until then half of the threads are left to who asked.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import compress, takewhile
from pathlib import Path
from typing import Any, Final, TextIO

from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.processes import end_with_parent, forks_can_compute
from tunewright.artifacts.trial import ENDED, GO, Batch, Measured, Reading, Trial
from tunewright.chat.render import Renderer
from tunewright.errors import EXIT_BUG, EXIT_DONE, TunewrightError
from tunewright.models.devices import hold_library_pages, peak_memory, resident_memory
from tunewright.models.estimate import training_memory
from tunewright.models.find import model_folder, tokenizer_folder
from tunewright.models.fitting import nearest_that_fit
from tunewright.models.flops import training_flops
from tunewright.models.precision import has_cuda, resolve_precision
from tunewright.models.shape import read_shape
from tunewright.models.weights import weight_files
from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.packing import IGNORED, Example, shared_start
from tunewright.stages.sft.size import batch_of, plan_batches, tokens_of, training_of
from tunewright.stages.sft.stage import plan_training

MOST_FRAME_TOKENS: Final = 8
NEAR: Final = 0.7
"""share of the memory: a recipe whose estimate may be above it is tried at its longest batch"""
CPU_TOKENS: Final = 512
"""of a step on a CPU that is only to be timed: from there on a token takes as long in a larger one"""


@dataclass(frozen=True)
class Steps:
    """The batches of a trial, and the section that takes them, one each step."""

    batches: list[list[Example]]
    section: SftSection

    def largest(self, packed: bool) -> Batch:
        """Return the size of the largest batch."""
        return max((batch_of(batch, packed) for batch in self.batches), key=lambda batch: batch.tokens)


def try_steps(
    rows: Rows,
    section: SftSection,
    steps: int,
    limit_bytes: int,
    ready: Callable[[], None] = lambda: None,
    scratch: str | None = None,
) -> Trial:
    """Plan `section`, estimate it, and take `steps` (0 to 3) of it where the estimate is not above `limit_bytes`.

    Args:
        rows: to train on.
        section: of the recipe.
        steps: how many.
        limit_bytes: the memory that there is.
        ready: called before the first step, or before weights are downloaded.
        scratch: a folder where files may lie meanwhile.

    Raises:
        DataError, ModelError: as the stage would.
    """
    folder = tokenizer_folder(str(section.model))
    shape = read_shape(folder)
    plan = plan_training(rows, section, Renderer.from_folder(folder))
    planned, batches = plan_batches(plan.examples, plan.steps, section, shape)
    training = training_of(planned.longest, planned.packed, section)
    memory = training_memory(shape, training)
    fits = memory.peak <= limit_bytes
    near, most_tokens = memory.high > NEAR * limit_bytes, None if has_cuda() else CPU_TOKENS
    chosen = choose_steps(batches, section, steps, planned.packed, near=near, most_tokens=most_tokens)
    tried = memory
    if chosen.batches:
        tried = training_memory(shape, training_of(chosen.largest(planned.packed), planned.packed, chosen.section))
    return Trial(
        planned=planned,
        peak_bytes=memory.peak,
        low_bytes=memory.low,
        high_bytes=memory.high,
        nearest=[] if fits else [one.change for one in nearest_that_fit(shape, training, limit_bytes)],
        flops=training_flops(shape, training, planned.tokens),
        tried_bytes=(tried.low, tried.high),
        measured=measure(chosen, ready, scratch) if fits and chosen.batches else None,
    )


def choose_steps(
    batches: Sequence[list[Example]],
    section: SftSection,
    steps: int,
    packed: bool,
    *,
    near: bool,
    most_tokens: int | None = None,
) -> Steps:
    """Return the batches of so many steps (0 to 3).

    Args:
        batches: all, from the shortest to the longest.
        section: of the recipe.
        steps: how many.
        packed: are rows laid end to end.
        near: the memory may be too small for the longest.
        most_tokens: of a step that is only to be timed; None for whole batches.
    """
    whole = [batch for batch in batches if len(batch) == section.batch_size] or [batches[-1]]
    shortest, typical, longest = whole[0], whole[len(whole) // 2], whole[-1]
    if steps != 2 or near or most_tokens is None:
        two = [shortest, longest if near else typical]
        return Steps([[], [longest], two, [typical, longest, typical]][steps], section)
    tokens = [tokens_of(typical[:rows], packed) for rows in range(1, len(typical) + 1)]
    rows = max(1, sum(count <= most_tokens for count in tokens))
    passes = min(section.gradient_accumulation, max(1, most_tokens // tokens[rows - 1]))
    part = section.model_copy(update={"batch_size": rows, "gradient_accumulation": passes})
    like_it = whole[max(0, len(whole) // 2 - 1)]  # as many trained words
    return Steps([like_it[:rows], typical[:rows]], part)


def measure(steps: Steps, ready: Callable[[], None] = lambda: None, scratch: str | None = None) -> Measured:
    """Take one optimizer step for each batch; with accumulation, of that batch so many times.

    Args:
        steps: to take.
        ready: called before the first, or before weights are downloaded.
        scratch: a folder where files may lie meanwhile.
    """
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
    batches, section = steps.batches, steps.section.model_copy(update={"trackers": ()})
    times = section.gradient_accumulation
    examples = [row for batch in batches for row in batch * times]
    is_here = bool(weight_files(tokenizer_folder(str(section.model))))
    if not is_here:
        ready()
    folder, precision = model_folder(str(section.model)), resolve_precision(section.precision)
    with tempfile.TemporaryDirectory(prefix="tunewright-trial-", dir=scratch) as out:
        with half_of_the_threads():
            model, tokenizer = load_model(folder, precision), AutoTokenizer.from_pretrained(str(folder))
            trainer = make_trainer(model, tokenizer, examples, section, len(batches), Path(out), precision)
            trainer.add_callback(Clock())
            trainer.args.save_strategy = "no"
            # the adapter changes nothing yet
            reading = read(trainer, batches[-1], frame_tokens([row for batch in batches for row in batch]))
        if is_here:
            ready()
        trainer.train()
        head_used = trainer.head_used
        peak = peak_memory() - (0 if has_cuda() else base)
    tokens = [times * tokens_of(batch, "packed" in head_used) for batch in batches]
    return Measured(
        peak_bytes=peak,
        base_bytes=base,
        seconds=seconds,
        tokens=tokens,
        head_used=head_used,
        losses=[_finite(loss) for loss in losses],
        reading=reading,
    )


@contextmanager
def half_of_the_threads() -> Iterator[None]:
    """Compute with half of the threads, as long as the block lasts."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def read(trainer: Any, rows: Sequence[Example], around: int) -> Reading:
    """Let the model of `trainer` read rows that it trains on; what it makes of the `around` tokens before an answer."""
    begins = [_answer_begins(row) for row in rows]
    # what is computed once, as in training, cannot be predicted
    start = max(0, min(shared_start(rows), min(begins) - around - 1))
    labels = [[IGNORED] * (start + 1) + row["input_ids"][start + 1 :] for row in rows]
    nll = trainer.token_nll([{**row, "labels": told} for row, told in zip(rows, labels, strict=True)])
    frame = [
        begin - around <= at < begin
        for row, begin in zip(rows, begins, strict=True)
        for at in range(start + 1, len(row["input_ids"]))
    ]
    assert len(frame) == len(nll), "each token of the rows is in the frame, or is not"
    return Reading(
        rows=_mean(nll.tolist()),
        frame=_mean(list(compress(nll.tolist(), frame))),
        tokens=len(nll),
        vocab_size=trainer.model.config.get_text_config().vocab_size,
    )


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


def _mean(values: Sequence[float]) -> float | None:
    return _finite(sum(values) / len(values)) if values else None


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
    forks = forks_can_compute()
    while line := _read_line():
        if not line.startswith(b"{"):
            continue  # for a trial that ended before it was ready
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


def _read_line() -> bytes:
    """Return the next line of stdin; nothing is read ahead, since what is behind a job is for its trial."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        return stdin.readline()


class _NotWanted(Exception):
    """Who asked for the trial does not want its steps."""


def _wait_for_go() -> None:
    if _read_line().strip() != GO.encode():
        raise _NotWanted


def import_all() -> None:
    """Import what training needs. None of it is garbage, and not to look for garbage saves a sixth of the time."""
    gc.disable()
    with suppress(ImportError):  # what is missing is told by the trial that needs it
        import tunewright.models.load
        import tunewright.stages.sft.trainer  # noqa: F401
    gc.freeze()
    gc.enable()


def _answer(job: dict[str, Any], out: TextIO) -> int:
    try:
        section = SftSection(**job["section"])
        rows = Rows(path=Path(job["rows"]))
        trial = try_steps(rows, section, job["steps"], job["limit"], _wait_for_go, job.get("scratch"))
    except _NotWanted:
        return EXIT_DONE
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

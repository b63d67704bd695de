"""The runner: goes through a recipe's stages in order, does what is not done, and stops at FAILED.

    choose     the same recipe again goes on in its own run folder; two at once never write one folder (a lock)
    reuse      a stage that this run or another one has finished is taken, if it is still whole (`reuse.py`)
    make       else its function is called; an interrupted attempt's work and time are kept (`artifacts/attempt.py`)
    record     record.json is written last, by rename: no record, not done
    stop       a FAILED verdict stops the run before the next stage, unless `--allow NAME`
    budget     training that does not fit it is refused; what overruns is stopped, and what is done is kept

What the stages are, and their fingerprints, is known before anything runs: `planning.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.attempt import STARTED_NAME, Attempt, begin_attempt, counted, end_attempt
from tunewright.artifacts.contents import file_marks
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Dataset, Rows
from tunewright.artifacts.files import write_json, write_text, writing
from tunewright.artifacts.provenance import now, provenance, redact
from tunewright.artifacts.record import Input, Record, read_record, write_record
from tunewright.artifacts.rundir import ARTIFACTS, RUNS, RunFolder, choosing, content_of_stage, link, new_run, runs_of
from tunewright.artifacts.spending import alarm
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import BudgetSpent, GateFailed, RunFolderError, TunewrightError, printable
from tunewright.gates.design import judge_design, judge_sizes, num_asked
from tunewright.planning import KINDS, Planned, plan
from tunewright.progress import clock
from tunewright.recipe.sections import PARTS, CheckSection, Recipe, SftSection
from tunewright.reuse import Shelf
from tunewright.stages.check.money import purse_of, training_costs
from tunewright.stages.check.trials import warm
from tunewright.stages.sft.trackers import require_trackers

STOPS_ITSELF = {"sft"}
"""stages that watch the budget themselves and leave a checkpoint; the others are interrupted, and keep their rows"""

# ── the run folder ──────────────────────────────────────────────────────────────────────────────────────────────────


def run_recipe(
    recipe: Recipe,
    *,
    text: str = "",
    root: Path = RUNS,
    allow: Sequence[str] = (),
    quiet: bool = False,
    on_folder: Callable[[RunFolder], None] = lambda run: None,
) -> RunFolder:
    """Run every stage of `recipe` that is not done; return the run folder.

    Args:
        recipe: what to run.
        text: the recipe as written, kept beside the run.
        root: where run folders are kept.
        allow: gates that may fail; the permission is recorded.
        quiet: say nothing on stderr.
        on_folder: called with the run folder as soon as it is ours alone, so that a caller can report on a failed run.

    Raises:
        GateFailed: a gate said FAILED. UserError: something the user gave is wrong, or another process is writing the
            run. EnvironmentProblem: the machine.
    """
    stages = plan(recipe)
    with _held_run(recipe, stages, root) as run, _terminable():
        on_folder(run)
        _Runner(recipe, stages, run, root, tuple(allow), quiet).go(text)
    return run


@contextlib.contextmanager
def _held_run(recipe: Recipe, stages: list[Planned], root: Path) -> Iterator[RunFolder]:
    """Give the run to go on with, locked. Of two at once the second finds the first one's folder, and its lock."""
    with contextlib.ExitStack() as held:
        with choosing(recipe.recipe, root):
            run = _choose_run(recipe, stages, root)
            held.enter_context(run.locked())
        yield run


def _choose_run(recipe: Recipe, stages: list[Planned], root: Path) -> RunFolder:
    """Return the newest run of the same recipe if what it holds is still right, else a new one."""
    for run in reversed(runs_of(recipe.recipe, root)):
        if _is_of(run, recipe):
            records = [(stage, read_record(run.path / stage.folder_name)) for stage in stages]
            if all(_goes_on(stage, record) for stage, record in records):
                return run
    return _create_run(recipe, root)


def _goes_on(stage: Planned, record: Record | None) -> bool:
    """True if a run that holds `record` can be gone on with. A check of a smaller budget is made again there."""
    return record is None or record.fingerprint == stage.fingerprint or stage.kind == "check"


def _is_of(run: RunFolder, recipe: Recipe) -> bool:
    """True if `run` is a run of this very recipe that can be gone on with; a damaged one cannot."""
    try:
        return _but_budget(run.resolved) == _but_budget(recipe.resolved()) and bool(run.state)
    except RunFolderError:
        return False


def _but_budget(resolved: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe without its budget: with a larger one a run goes on."""
    return {name: value for name, value in resolved.items() if name != "budget"}


def _create_run(recipe: Recipe, root: Path) -> RunFolder:
    run = new_run(recipe.recipe, root)
    write_json(run.path / "recipe.resolved.json", recipe.resolved())
    waiting = [
        {"id": section.id, "kind": kind, "status": "waiting", "reused_from": None, "why": "", "seconds": None}
        for kind, section in recipe.stages
    ]
    run.write_state(
        {
            "recipe": recipe.recipe,
            "number": int(run.path.name),
            "status": "running",
            "started": now(),
            "ended": None,
            "argv": [redact(argument) for argument in sys.argv],
            "stages": waiting,
            "error": None,
            "allowed": [],
        }
    )
    return run


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM stop the run as Ctrl-C does. Only the main thread can, and only it needs to."""
    try:
        old = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


# ── one attempt ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Runner:
    """One attempt at a run, inside its lock."""

    def __init__(
        self, recipe: Recipe, stages: list[Planned], run: RunFolder, root: Path, allow: tuple[str, ...], quiet: bool
    ):
        self.recipe, self.stages, self.run = recipe, stages, run
        self.allow, self.quiet = allow, quiet
        self.state = run.state
        self.shelf = Shelf(run, root, self.say, stages, allow)

    def go(self, text: str) -> None:
        """Run the stages in order; leave run.json saying how it ended."""
        if text:
            write_text(self.run.path / "recipe.yaml", text)
        write_json(self.run.path / "recipe.resolved.json", self.recipe.resolved())  # the budget may be another
        link(self.run.path.parent / "latest", self.run.path.name)
        self.log = self.run.open_log()
        self.state |= {"status": "running", "error": None, "ended": None, "allowed": list(self.allow)}
        self.say(f"run {self.run.name}: {self.run.path}")
        try:
            self.hold_design()
            for stage in self.stages:
                self.do(stage)
        except BaseException as error:
            self.end("stopped" if isinstance(error, KeyboardInterrupt | BudgetSpent) else "failed", error)
            raise
        self.end("done", None)

    def say(self, text: str) -> None:
        """Tell the person who waits, and the log."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)
        self._log(f"{now()} {text}\n")

    def _log(self, text: str) -> None:
        with writing(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(redact(text))

    def end(self, status: str, error: BaseException | None) -> None:
        """Write down how the attempt ended. On a full disk the state of before stays, which is true enough."""
        for entry in self.state["stages"]:
            if entry["status"] == "running":
                entry["status"] = "failed" if status == "failed" else "waiting"
        told = None if error is None else "interrupted" if isinstance(error, KeyboardInterrupt) else redact(str(error))
        self.state |= {"status": status, "ended": now(), "error": told}
        with contextlib.suppress(TunewrightError):
            self.run.write_state(self.state)
            if error is not None and not isinstance(error, TunewrightError | KeyboardInterrupt):
                self._log(traceback.format_exc())

    def entry(self, stage: Planned) -> dict[str, Any]:
        """Return what run.json says of the stage."""
        entry: dict[str, Any] = self.state["stages"][stage.index - 1]
        return entry

    def mark(self, stage: Planned, status: str, **more: Any) -> None:
        """Update the stage's entry in run.json."""
        self.entry(stage).update(status=status, **more)
        self.run.write_state(self.state)

    def announce(self, stage: Planned, text: str) -> None:
        """Say what becomes of a stage: `[2/5] before: …`."""
        self.say(f"[{stage.index}/{len(self.stages)}] {stage.id}{text}")

    def do(self, stage: Planned) -> None:
        """Take the stage as it lies, or make it; then hold it to its verdicts."""
        record = self._kept(stage) or self._reused(stage) or self._made(stage)
        self.shelf.settle(stage, record)
        self.hold(record.verdicts, f"stage {stage.id} of run {self.run.name}")

    def _kept(self, stage: Planned) -> Record | None:
        """Return the record of a stage that this run has done already."""
        record = self.shelf.own(stage)
        if record is not None:
            origin = self.entry(stage).get("reused_from")
            self.announce(stage, ": done already" + (f" (from run {origin})" if origin else ""))
        return record

    def _reused(self, stage: Planned) -> Record | None:
        """Link the stage from another run that made the same thing, if there is one."""
        found = self.shelf.other(stage)
        if found is None:
            return None
        folder = self.run.path / stage.folder_name
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        link(folder, os.path.relpath(found.folder, self.run.path.resolve()))
        why = "same section, inputs and code"
        self.mark(stage, "reused", reused_from=found.origin, why=why, seconds=0.0)
        self.announce(stage, f": reused from run {found.origin}: {why}")
        return found.record

    def _made(self, stage: Planned) -> Record:
        """Run the stage's function; write its record last."""
        self.hold_trackers(stage)
        folder = self.run.path / stage.folder_name
        attempt = begin_attempt(folder, stage.fingerprint)
        why = "goes on where it stopped" if attempt.attempts > 1 else self.shelf.why(stage)
        self.announce(stage, f" ({stage.kind}): {why}")
        self.mark(stage, "running", why=why, reused_from=None, seconds=attempt.seconds)
        purse = purse_of(self.recipe.budget, self.spent_hours())
        context = RunContext(
            stage=stage.id, quiet=True, say=lambda text: self.say(f"  {text}"), allow=self.allow, purse=purse
        )
        with counted(folder, attempt) as seconds:
            try:
                artifacts = self.artifacts()
                context.require(*self._sizes(stage, artifacts), *self._costs(stage, artifacts, folder))
                with alarm(None if stage.kind in STOPS_ITSELF else purse):
                    artifact = call_stage(stage, artifacts, folder, context)
            finally:
                self.entry(stage)["seconds"] = seconds()
        record = self._record(stage, attempt, artifact, context.verdicts)
        write_record(folder, record)
        end_attempt(folder)
        self.mark(stage, "done")
        self.say(f"  done in {clock(record.provenance.seconds)}")
        return record

    def spent_hours(self) -> float:
        """Return the working time of this run so far, earlier attempts included."""
        return sum(entry["seconds"] or 0.0 for entry in self.state["stages"]) / 3600

    def _sizes(self, stage: Planned, artifacts: dict[str, Artifact]) -> list[Verdict]:
        """Hold the rows that comparisons will have against what they must show, before a training."""
        return judge_sizes(self.recipe, _num_asked(self.recipe, artifacts)) if stage.kind == "sft" else []

    def _costs(self, stage: Planned, artifacts: dict[str, Artifact], folder: Path) -> list[Verdict]:
        """Hold the training that comes next against what is left of the budget; a trial of a few steps says how long.

        Raises:
            BudgetSpent: nothing is left.
        """
        purse = purse_of(self.recipe.budget, self.spent_hours())
        if purse is None or self.recipe.budget is None:
            return []
        if purse.spent():
            raise BudgetSpent(purse.told())
        if not isinstance(stage.section, SftSection):
            return []
        rows = _resolve(stage.references["rows"][0], artifacts)
        return training_costs(self.recipe.budget, stage.section, rows, folder, purse)

    def _record(self, stage: Planned, attempt: Attempt, artifact: Artifact, verdicts: list[Verdict]) -> Record:
        seconds, seed = self.entry(stage)["seconds"], stage.seed(self.recipe)
        return Record(
            kind=stage.kind,
            id=stage.id,
            inputs={ref: self._input(ref, mark) for ref, mark in stage.inputs.items()},
            external=stage.external,
            section=stage.section.model_dump(mode="json"),
            code_version=stage.code_version,
            fingerprint=stage.fingerprint,
            verdicts=verdicts,
            provenance=provenance(attempt.start, seconds, attempt.attempts, seed),
            result=artifact.model_dump(mode="json"),
            files=file_marks(artifact.folder, {STARTED_NAME, *artifact.by_products}),
        )

    def _input(self, ref: str, mark: str) -> Input:
        place = self._place(ref)
        return Input(path=place, fingerprint=mark, content=content_of_stage(self.run.path / place))

    def _place(self, ref: str) -> str:
        return next(stage.folder_name for stage in self.stages if stage.id == ref.split(".")[0])

    def artifacts(self) -> dict[str, Artifact]:
        """Return what the finished stages of this run made, by id."""
        found = {}
        for stage in self.stages:
            folder = self.run.path / stage.folder_name
            record = read_record(folder)
            if record is not None:
                found[stage.id] = ARTIFACTS[record.kind].load(folder, record.result)
        return found

    def hold_design(self) -> None:
        """Hold the recipe itself to the gates on its design, before anything is spent.

        Raises:
            GateFailed: a verdict stops the run.
        """
        verdicts = [
            verdict.model_copy(update={"allowed": verdict.stops and verdict.name in self.allow})
            for verdict in judge_design(self.recipe)
        ]
        self.state["design"] = [verdict.model_dump(mode="json") for verdict in verdicts]
        self.run.write_state(self.state)
        self.hold(verdicts, f"the recipe of run {self.run.name}")

    def hold_trackers(self, stage: Planned) -> None:
        """Look for what trainings from `stage` on send their metrics with, before the work on it is paid for.

        Raises:
            EnvironmentProblem: a library of `trackers:` is not installed.
        """
        for later in self.stages[stage.index - 1 :]:
            if isinstance(later.section, SftSection):
                require_trackers(later.section)

    def hold(self, verdicts: Sequence[Verdict], where: str) -> None:
        """Say what the gates said; stop at FAILED.

        Raises:
            GateFailed: a verdict stops the run.
        """
        stops = []
        for verdict in verdicts:
            allowed = verdict.name in self.allow
            if verdict.status != "PASSED":
                note = " (allowed)" if allowed else ""
                self.say(f"  {verdict.status} {verdict.name}{note}: {verdict.measured} (bound: {verdict.bound})")
            if verdict.status == "FAILED" and not allowed:
                stops.append(verdict)
        if stops:
            raise _gate_failed(stops, where)


def _gate_failed(verdicts: list[Verdict], where: str) -> GateFailed:
    first = verdicts[0]
    names = ", ".join(verdict.name for verdict in verdicts)
    return GateFailed(
        f"gate {names} FAILED: {first.measured}",
        where=where,
        expected=first.bound,
        fix=f"{first.remedy}; or go on knowingly with --allow {first.name}",
    )


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


MAPPINGS = ("beside", "held_out", "trained_on")
"""fields that are handed over as a mapping: what the recipe calls it -> the artifact"""


def call_stage(stage: Planned, artifacts: dict[str, Artifact], out: Path, context: RunContext) -> Artifact:
    """Call the stage's function with the artifacts that its section names."""
    function = getattr(import_module(KINDS[stage.kind]), stage.kind)
    no_rows = getattr(stage.section, "rows", ()) is None  # the stage is told so: its suite brings its own
    given: dict[str, Any] = {"rows": None} if no_rows else {}
    for field, refs in stage.references.items():
        values = {ref: _resolve(ref, artifacts) for ref in refs}
        if field in MAPPINGS:
            given[field] = values
        else:
            given["trained" if field == "model" else field] = values[refs[0]]
    if stage.recipe is not None:
        given |= {"recipe": stage.recipe, "rows": _rows_above(stage, stage.recipe, artifacts)}
    result: Artifact = function(**given, section=stage.section, out=out, run=context)
    return result


def _rows_above(stage: Planned, recipe: Recipe, artifacts: dict[str, Artifact]) -> dict[str, Rows]:
    """Return all rows that the stages above have made, by reference: `data.train`."""
    above = recipe.stages[: stage.index - 1]
    return {
        f"{section.id}.{part}": _resolve(f"{section.id}.{part}", artifacts)
        for kind, section in above
        for part in PARTS.get(kind, ())
        if section.id in artifacts
    }


def _resolve(ref: str, artifacts: dict[str, Artifact]) -> Any:
    stage_id, _, part = ref.partition(".")
    artifact: Any = artifacts[stage_id]
    return artifact.part(part) if part else artifact


def _num_asked(recipe: Recipe, artifacts: dict[str, Artifact]) -> dict[str, int]:
    """Return how many rows each evaluation asks, as far as they are made."""
    rows = dict[str, int]()
    for key, made in artifacts.items():
        if isinstance(made, Dataset):
            rows |= {f"{key}.train": made.train_rows, f"{key}.test": made.test_rows}
    return num_asked(recipe, rows)


def preflight(recipe: Recipe, verdicts: list[Verdict] | None = None) -> list[Verdict]:
    """Check what can be checked without training: design, the rows of every `data` stage, all that a `check` looks at.

    The check has the section of the recipe where there is one, and sees the rows.

    Args:
        recipe: resolved.
        verdicts: takes them as they come, for who wants those before an error.

    Raises:
        ModelError, DataError: as the stages themselves would, before anything is spent.
    """
    if any(kind == "sft" for kind, _ in recipe.stages):
        warm()  # it imports while the rows are read
    stages = plan(recipe)
    own = next((stage.section for stage in stages if stage.kind == "check"), CheckSection(id="check"))
    last = Planned(len(stages) + 1, "check", own, {}, {}, {}, 0, recipe=recipe)
    artifacts: dict[str, Artifact] = {}
    refused = False
    verdicts = [] if verdicts is None else verdicts
    verdicts += judge_design(recipe)
    with tempfile.TemporaryDirectory() as folder:
        for stage in [*(stage for stage in stages if stage.kind == "data"), last]:
            context = RunContext(stage=stage.id, quiet=True)
            if stage is last:
                if refused:
                    artifacts.clear()  # rows that a gate refuses are not trained on, not even to see how fast
                sizes = judge_sizes(recipe, _num_asked(recipe, artifacts))
                names = {verdict.name for verdict in sizes}  # the design knew limits at most
                verdicts[:] = [*(verdict for verdict in verdicts if verdict.name not in names), *sizes]
            try:
                artifacts[stage.id] = call_stage(stage, artifacts, Path(folder) / stage.folder_name, context)
            finally:
                _add(context.verdicts, verdicts, also_known=stage.kind == "data")
            refused |= any(verdict.stops for verdict in context.verdicts)
    return verdicts


def _add(found: Sequence[Verdict], verdicts: list[Verdict], *, also_known: bool = False) -> None:
    """Add verdicts of gates that have not spoken: of all rows first; a check looks at the first of them."""
    known = {verdict.name for verdict in verdicts}
    verdicts += [verdict for verdict in found if also_known or verdict.name not in known]


def as_json(run: RunFolder) -> dict[str, Any]:
    """Return the state of a run with its verdicts and results, for `--json`."""
    records = {record.id: record for record in run.records()}
    state = run.state
    for entry in state["stages"]:
        record = records.get(entry["id"])
        if record is not None:
            entry["verdicts"] = [verdict.model_dump(mode="json") for verdict in record.verdicts]
            entry["result"] = record.result
            entry["fingerprint"] = record.fingerprint
    value: dict[str, Any] = json.loads(json.dumps({"run": str(run.path), **state}))
    return value

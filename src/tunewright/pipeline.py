"""The runner: goes through a recipe's stages in order, does what is not done, and stops at FAILED.

    plan       every stage's fingerprint, from its section and its inputs' fingerprints: known before anything runs
    resume     the same recipe again goes on in its own run folder, where it stopped
    reuse      a stage whose fingerprint an earlier run has is linked, and the run says so
    record     record.json is written last, by rename: no record, not done
    stop       a FAILED verdict stops the run before the next stage, unless `--allow NAME`

`KINDS` is the one place that knows which function a stage kind is.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.files import make_folder, read_json, write_json, write_text, writing
from tunewright.artifacts.fingerprint import differing_fields, fingerprint
from tunewright.artifacts.provenance import now, provenance, redact
from tunewright.artifacts.record import RECORD_NAME, Input, Record, read_record, write_record
from tunewright.artifacts.rundir import ARTIFACTS, RUNS, RunFolder, link, new_run, runs_of
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import GateFailed, RunFolderError, TunewrightError
from tunewright.models.find import model_identity, tokenizer_folder
from tunewright.models.precision import resolve_precision
from tunewright.progress import clock
from tunewright.recipe.links import reference_fields
from tunewright.recipe.sections import DataSection, Recipe, StageSection

STARTED_NAME = "started.json"

KINDS: dict[str, str] = {
    "data": "tunewright.stages.data.stage",
    "evaluate": "tunewright.stages.evaluate.stage",
    "sft": "tunewright.stages.sft.stage",
    "compare": "tunewright.stages.compare.stage",
}
"""stage kind -> the module that holds a function of that name, and its CODE_VERSION"""


@dataclass(frozen=True)
class Planned:
    """A stage before it runs: what it takes, and what it will be."""

    index: int
    kind: str
    section: StageSection
    references: dict[str, tuple[str, ...]]
    """field -> the earlier stages it names (`id` or `id.part`)"""
    inputs: dict[str, str]
    """reference -> fingerprint of that stage"""
    external: dict[str, str]
    code_version: int
    fingerprint: str

    @property
    def id(self) -> str:
        """The stage's id."""
        return self.section.id

    @property
    def folder_name(self) -> str:
        """`<index>-<id>`."""
        return f"{self.index}-{self.id}"

    def identity(self) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        return {
            "kind": self.kind,
            "code_version": self.code_version,
            "section": identity_of(self.section),
            "inputs": self.inputs,
            "external": self.external,
        }


# ── plan ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def plan(recipe: Recipe) -> list[Planned]:
    """Return all stages with their fingerprints. Needs the models' and sources' identities, but runs nothing.

    Raises:
        ModelError, DataError: something the recipe points at is not there.
    """
    planned: list[Planned] = []
    for index, (kind, section) in enumerate(recipe.stages, 1):
        known = {stage.id: stage.fingerprint for stage in planned}
        references = _references(section, set(known))
        inputs = {ref: known[ref.split(".")[0]] for refs in references.values() for ref in refs}
        stage = Planned(
            index=index,
            kind=kind,
            section=section,
            references=references,
            inputs=inputs,
            external=_external(section, references),
            code_version=import_module(KINDS[kind]).CODE_VERSION,
            fingerprint="",
        )
        planned.append(_with_fingerprint(stage))
    return planned


def _with_fingerprint(stage: Planned) -> Planned:
    return Planned(**{**stage.__dict__, "fingerprint": fingerprint(stage.identity())})


def _references(section: StageSection, ids: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the references that name earlier stages; a field that names a model instead is none."""
    found = {}
    for name in reference_fields(type(section)):
        value = getattr(section, name)
        texts = (value,) if isinstance(value, str) else tuple(value or ())
        stages = tuple(text for text in texts if text.split(".")[0] in ids)
        if stages:
            found[name] = stages
    return found


def _external(section: StageSection, references: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the identities of what comes from outside the run: models, precision, sources."""
    found: dict[str, str] = {}
    model = getattr(section, "model", None)
    if model is not None and "model" not in references:
        found["model"] = model_identity(model)
    if hasattr(section, "precision"):
        found["precision"] = resolve_precision(section.precision)
    if isinstance(section, DataSection):
        from tunewright.sources.read import source_identity

        for number, source in enumerate(section.sources):
            found[f"sources.{number}"] = source_identity(source)
    return found


def identity_of(section: StageSection) -> dict[str, Any]:
    """Return the fields of a section that change its result: not its name, not a path, not how often to save."""
    value = section.model_dump(mode="json", exclude={"id", "save_every", "trackers"})
    for source in value.get("sources", ()):
        source.pop("path", None)
    return value


# ── run ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
        on_folder: called with the run folder as soon as it is known, so that a caller can report on a failed run.

    Raises:
        GateFailed: a gate said FAILED. UserError: something the user gave is wrong. EnvironmentProblem: the machine.
    """
    stages = plan(recipe)
    make_folder(root)
    run = _choose_run(recipe, stages, root)
    on_folder(run)
    with run.locked(), _terminable():
        _Runner(recipe, stages, run, root, tuple(allow), quiet).go(text)
    return run


def _choose_run(recipe: Recipe, stages: list[Planned], root: Path) -> RunFolder:
    """Return the newest run of the same recipe if what it holds is still right, else a new one."""
    for run in reversed(runs_of(recipe.recipe, root)):
        if _is_of(run, recipe):
            records = [(stage, read_record(run.path / stage.folder_name)) for stage in stages]
            if all(record is None or record.fingerprint == stage.fingerprint for stage, record in records):
                return run
    return _create_run(recipe, root)


def _is_of(run: RunFolder, recipe: Recipe) -> bool:
    """True if `run` is a run of this very recipe that can be gone on with; a damaged one cannot."""
    try:
        return run.resolved == recipe.resolved() and bool(run.state)
    except RunFolderError:
        return False


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


class _Runner:
    """One attempt at a run, inside its lock."""

    def __init__(
        self, recipe: Recipe, stages: list[Planned], run: RunFolder, root: Path, allow: tuple[str, ...], quiet: bool
    ):
        self.recipe, self.stages, self.run, self.root = recipe, stages, run, root
        self.allow, self.quiet = allow, quiet
        self.state = run.state

    def go(self, text: str) -> None:
        """Run the stages in order; leave run.json saying how it ended."""
        if text:
            write_text(self.run.path / "recipe.yaml", text)
        link(self.run.path.parent / "latest", self.run.path.name)
        self.log = self.run.open_log()
        self.state |= {"status": "running", "error": None, "ended": None, "allowed": list(self.allow)}
        self.say(f"run {self.run.name}: {self.run.path}")
        try:
            for stage in self.stages:
                self.do(stage)
        except BaseException as error:
            self.end("stopped" if isinstance(error, KeyboardInterrupt) else "failed", error)
            raise
        self.end("done", None)

    def say(self, text: str) -> None:
        """Tell the person who waits, and the log."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)
        with writing(self.log), self.log.open("a", encoding="utf-8") as file:
            file.write(f"{now()} {redact(text)}\n")

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
                self.log.write_text(self.log.read_text() + redact(traceback.format_exc()))

    def mark(self, stage: Planned, status: str, **more: Any) -> None:
        """Update the stage's entry in run.json."""
        entry = self.state["stages"][stage.index - 1]
        entry |= {"status": status, **more}
        self.run.write_state(self.state)

    def do(self, stage: Planned) -> None:
        """Reuse or run one stage, then hold it to its verdicts."""
        folder = self.run.path / stage.folder_name
        record = read_record(folder)
        if record is not None:
            self.say(f"[{stage.index}/{len(self.stages)}] {stage.id}: done already{self._from(stage)}")
        else:
            record = self._reused(stage, folder) or self._made(stage, folder)
        self.hold(stage, record)

    def _from(self, stage: Planned) -> str:
        origin = self.state["stages"][stage.index - 1].get("reused_from")
        return f" (from run {origin})" if origin else ""

    def _reused(self, stage: Planned, folder: Path) -> Record | None:
        """Link the stage from an earlier run that made the same thing, if there is one."""
        for run in reversed(runs_of(self.recipe.recipe, self.root)):
            if run.path.name == self.run.path.name:
                continue
            for place in run.path.glob(f"*/{RECORD_NAME}"):
                record = self._earlier(place.parent)
                if record is not None and record.fingerprint == stage.fingerprint:
                    target = place.parent.resolve()
                    if folder.is_dir() and not folder.is_symlink():
                        shutil.rmtree(folder)
                    link(folder, os.path.relpath(target, self.run.path.resolve()))
                    origin = f"{self.recipe.recipe}/{target.parent.name}"
                    why = "same section, inputs and code"
                    self.mark(stage, "reused", reused_from=origin, why=why, seconds=0.0)
                    self.say(f"[{stage.index}/{len(self.stages)}] {stage.id}: reused from run {origin}: {why}")
                    return record
        return None

    def _earlier(self, folder: Path) -> Record | None:
        """Return the record of another run's stage; one that cannot be read is told and left alone."""
        try:
            return read_record(folder)
        except RunFolderError as error:
            self.say(f"  {error.where} is not reused: {error.seen}")
            return None

    def _made(self, stage: Planned, folder: Path) -> Record:
        """Run the stage's function; write its record last."""
        why = self._why(stage)
        self.say(f"[{stage.index}/{len(self.stages)}] {stage.id} ({stage.kind}): {why}")
        self.mark(stage, "running", why=why, reused_from=None)
        attempt = _begin(stage, folder)
        began = time.monotonic()
        context = RunContext(stage=stage.id, quiet=True)
        context.say = lambda text: self.say(f"  {text}")
        try:
            artifact = call_stage(stage, self.artifacts(), folder, context)
        finally:
            seconds = attempt["seconds"] + time.monotonic() - began
            if folder.is_dir():
                with contextlib.suppress(TunewrightError):
                    write_json(folder / STARTED_NAME, {**attempt, "seconds": seconds})
        record = Record(
            kind=stage.kind,
            id=stage.id,
            inputs={ref: Input(path=self._place(ref), fingerprint=mark) for ref, mark in stage.inputs.items()},
            external=stage.external,
            section=stage.section.model_dump(mode="json"),
            code_version=stage.code_version,
            fingerprint=stage.fingerprint,
            verdicts=context.verdicts,
            provenance=provenance(attempt["start"], seconds, attempt["attempts"], _seed(stage, self.recipe)),
            result=artifact.model_dump(mode="json"),
        )
        write_record(folder, record)
        (folder / STARTED_NAME).unlink(missing_ok=True)
        self.mark(stage, "done", seconds=seconds)
        self.say(f"  done in {clock(seconds)}")
        return record

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

    def _why(self, stage: Planned) -> str:
        """Say why the stage runs: what differs from the newest earlier record of a stage with its id."""
        folder = self.run.path / stage.folder_name
        if (folder / STARTED_NAME).is_file():
            return "goes on where it stopped"
        for run in reversed(runs_of(self.recipe.recipe, self.root)):
            for record in _records(run) if run.path.name != self.run.path.name else ():
                if record.id == stage.id and record.kind == stage.kind:
                    return f"runs, since run {run.name} differs: " + "; ".join(_differences(record, stage)[:4])
        return "runs for the first time"

    def hold(self, stage: Planned, record: Record) -> None:
        """Say what the gates said; stop at FAILED.

        Raises:
            GateFailed: a verdict stops the run.
        """
        stops = []
        for verdict in record.verdicts:
            allowed = verdict.name in self.allow
            if verdict.status != "PASSED":
                note = " (allowed)" if allowed else ""
                self.say(f"  {verdict.status} {verdict.name}{note}: {verdict.measured} (bound: {verdict.bound})")
            if verdict.status == "FAILED" and not allowed:
                stops.append(verdict)
        if stops:
            raise _gate_failed(stage, stops, self.run)


def _seed(stage: Planned, recipe: Recipe) -> int:
    """Return the stage's seed, which may be 0; the recipe's where the stage has none."""
    seed: int | None = getattr(stage.section, "seed", None)
    return recipe.seed if seed is None else seed


def _records(run: RunFolder) -> list[Record]:
    """Return the records of an earlier run; none where it is damaged, which is no reason to stop this one."""
    try:
        return run.records()
    except RunFolderError:
        return []


def _gate_failed(stage: Planned, verdicts: list[Verdict], run: RunFolder) -> GateFailed:
    first = verdicts[0]
    names = ", ".join(verdict.name for verdict in verdicts)
    return GateFailed(
        f"gate {names} FAILED: {first.measured}",
        where=f"stage {stage.id} of run {run.name}",
        expected=first.bound,
        fix=f"{first.remedy}; or go on knowingly with --allow {first.name}",
    )


def _differences(record: Record, stage: Planned) -> list[str]:
    exclude = {"id", "save_every", "trackers"}
    old = {
        "section": {key: value for key, value in record.section.items() if key not in exclude},
        "inputs": {ref: value.fingerprint for ref, value in record.inputs.items()},
        "external": record.external,
        "code_version": record.code_version,
    }
    new = stage.identity()
    new["section"] = stage.section.model_dump(mode="json", exclude=exclude)
    new.pop("kind")
    found = [text.removeprefix("section.") for text in differing_fields(old, new)]
    return [f"{text.split(':')[0]} is new" if text.startswith("inputs.") else text for text in found]


def _begin(stage: Planned, folder: Path) -> dict[str, Any]:
    """Prepare the stage's folder: keep what an interrupted attempt at the same thing left, clear everything else."""
    path = folder / STARTED_NAME
    earlier: dict[str, Any] = {}
    if path.is_file():
        with contextlib.suppress(TunewrightError):
            earlier = read_json(path)
    if earlier.get("fingerprint") != stage.fingerprint:
        if folder.is_symlink():
            folder.unlink()
        with writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
        earlier = {"fingerprint": stage.fingerprint, "start": now(), "seconds": 0.0, "attempts": 0}
    make_folder(folder)
    attempt = {**earlier, "attempts": earlier["attempts"] + 1}
    write_json(path, attempt)
    return attempt


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def call_stage(stage: Planned, artifacts: dict[str, Artifact], out: Path, context: RunContext) -> Artifact:
    """Call the stage's function with the artifacts that its section names."""
    function = getattr(import_module(KINDS[stage.kind]), stage.kind)
    given: dict[str, Any] = {}
    for field, refs in stage.references.items():
        values = {ref: _resolve(ref, artifacts) for ref in refs}
        if field == "beside":
            given["beside"] = values
        else:
            given["trained" if field == "model" else field] = values[refs[0]]
    result: Artifact = function(**given, section=stage.section, out=out, run=context)
    return result


def _resolve(ref: str, artifacts: dict[str, Artifact]) -> Any:
    stage_id, _, part = ref.partition(".")
    artifact: Any = artifacts[stage_id]
    return artifact.part(part) if part else artifact


def preflight(recipe: Recipe) -> list[Verdict]:
    """Check what can be checked without training: models are found, templates render, rows are read and measured.

    Raises:
        ModelError, DataError: as the stages themselves would, before anything is spent.
    """
    verdicts: list[Verdict] = []
    for stage in plan(recipe):
        if stage.kind == "data":
            tokenizer_folder(str(getattr(stage.section, "model", recipe.model)))
            with tempfile.TemporaryDirectory() as folder:
                context = RunContext(stage=stage.id, quiet=True)
                call_stage(stage, {}, Path(folder), context)
                verdicts += context.verdicts
    return verdicts


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

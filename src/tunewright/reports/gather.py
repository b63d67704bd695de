"""What a run folder tells, gathered once: the report, the journal and `tw show` all read this.

reads    run.json, recipe.resolved.json, the record of every finished stage
writes   nothing
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, TypeVar

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.attempt import read_attempt
from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.comparison import Comparison, PairedTest
from tunewright.artifacts.dataset import Dataset
from tunewright.artifacts.fingerprint import differing_fields
from tunewright.artifacts.probed import Probed
from tunewright.artifacts.record import Record, read_record
from tunewright.artifacts.rundir import ARTIFACTS, RUNS, RunFolder, runs_of
from tunewright.artifacts.scores import Scores
from tunewright.artifacts.verdict import Status, Verdict
from tunewright.errors import RunFolderError
from tunewright.recipe.scaffold import shell_word
from tunewright.reports import words
from tunewright.suites import MAIN_METRIC

SomeArtifact = TypeVar("SomeArtifact", bound=Artifact)


@dataclass(frozen=True)
class Stage:
    """One stage of the recipe: what run.json says of it, and its record when it is done."""

    id: str
    kind: str
    status: str
    why: str
    reused_from: str | None
    spent_seconds: float | None
    """working time in this run; nothing for a reused stage"""
    folder: Path
    record: Record | None

    @property
    def worked_seconds(self) -> float | None:
        """Working time it took, in whichever run made it."""
        return self.record.provenance.seconds if self.record else self.spent_seconds

    @property
    def what_happened(self) -> str:
        """`done`, `reused from tour/2`, `waiting`."""
        return f"reused from {self.reused_from}" if self.reused_from else self.status


@dataclass(frozen=True)
class Judged:
    """A verdict and the stage that gave it."""

    stage: str
    verdict: Verdict

    @property
    def outcome(self) -> str:
        """The status in a person's words; a failed gate that was allowed says so."""
        return "failed, allowed" if self.verdict.allowed else str(self.verdict.status.value).lower()


class Story:
    """A run as a reader meets it. Everything is read when it is first asked for."""

    def __init__(self, run: RunFolder):
        self.run = RunFolder(run.path.resolve())
        self.name = self.run.name
        self.state = run.state
        self.recipe = run.resolved
        self.model: str = self.recipe["model"]
        self.hypothesis = str(self.recipe.get("hypothesis") or "").strip()

    @property
    def word(self) -> str:
        """What names the run in a command: recipe/number, or its folder where that is not looked for under runs/."""
        return self.name if self.run.path.parents[1] == RUNS.resolve() else shell_word(str(self.run.path))

    @property
    def status(self) -> str:
        """running, done, failed or stopped."""
        return str(self.state.get("status", "running"))

    @cached_property
    def stages(self) -> list[Stage]:
        """All stages of the recipe, in order, done or not."""
        told = {stage["id"]: stage for stage in self.state.get("stages", [])}
        return [
            self._stage(section["id"], kind, told.get(section["id"], {}))
            for entry in self.recipe["stages"]
            for kind, section in entry.items()
        ]

    def _stage(self, stage_id: str, kind: str, told: dict[str, Any]) -> Stage:
        folder = self.run.stage_folder(stage_id)
        record = read_record(folder)
        reused_from = told.get("reused_from")
        seconds = told.get("seconds")
        if record is None and (attempt := read_attempt(folder)) is not None:
            seconds = attempt.seconds  # of a killed attempt only this file knows
        elif seconds is None and record and not reused_from:
            seconds = record.provenance.seconds
        return Stage(
            id=stage_id,
            kind=kind,
            status=told.get("status") or ("done" if record else "waiting"),
            why=told.get("why") or "",
            reused_from=reused_from,
            spent_seconds=None if reused_from else seconds,
            folder=folder,
            record=record,
        )

    def _of(self, cls: type[SomeArtifact]) -> dict[str, SomeArtifact]:
        done = ((stage, stage.record) for stage in self.stages if stage.record and stage.kind in ARTIFACTS)
        loaded = ((stage.id, ARTIFACTS[record.kind].load(stage.folder, record.result)) for stage, record in done)
        return {stage_id: artifact for stage_id, artifact in loaded if isinstance(artifact, cls)}

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        """Finished `data` stages by id."""
        return self._of(Dataset)

    @cached_property
    def probed(self) -> dict[str, Probed]:
        """Finished `probe` stages by id."""
        return self._of(Probed)

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Finished `evaluate` stages by id."""
        return self._of(Scores)

    @cached_property
    def trained(self) -> dict[str, Trained]:
        """Finished `sft` stages by id."""
        return self._of(Trained)

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """Finished `compare` stages by id."""
        return self._of(Comparison)

    @property
    def comparison(self) -> Comparison | None:
        """The last comparison of the recipe: what the run set out to show."""
        return [*self.comparisons.values()][-1] if self.comparisons else None

    @property
    def main_metric(self) -> str:
        """The metric the run is about: of its comparison, else of its last suite; empty where nothing was scored."""
        if self.comparison:
            return self.comparison.main_metric
        last = [*self.scores.values()][-1:]
        return next((_main_metric(scores) for scores in last), "")

    @cached_property
    def judged(self) -> list[Judged]:
        """Every verdict on the recipe's design, and of every finished stage."""
        design = [Judged("recipe", Verdict.model_validate(one)) for one in self.run.state.get("design", ())]
        return design + [
            Judged(stage.id, verdict) for stage in self.stages if stage.record for verdict in stage.record.verdicts
        ]

    @property
    def not_passed(self) -> list[Judged]:
        """The verdicts that WARNED or FAILED, failed ones first."""
        found = [judged for judged in self.judged if judged.verdict.status is not Status.PASSED]
        return sorted(found, key=lambda judged: judged.verdict.status is not Status.FAILED)

    @property
    def seconds(self) -> float:
        """Working time of this run, without what was reused."""
        return sum(stage.spent_seconds or 0.0 for stage in self.stages)

    @property
    def saved_seconds(self) -> float:
        """Working time that reuse saved."""
        return sum(stage.worked_seconds or 0.0 for stage in self.stages if stage.reused_from)

    @property
    def newest(self) -> Record | None:
        """The record of the stage that ran last: it tells on what machine and from which commit."""
        records = [stage.record for stage in self.stages if stage.record]
        made = [stage.record for stage in self.stages if stage.record and not stage.reused_from]
        return max(made or records, key=lambda record: record.provenance.end, default=None)

    @property
    def command(self) -> str:
        """The command that started the run, as one types it."""
        argv = [str(part) for part in self.state.get("argv") or []]
        return shlex.join([PurePath(argv[0]).name, *argv[1:]]) if argv else ""

    def label(self, stage_id: str) -> str:
        """Return what a reader calls the model of an `evaluate` stage: `base, 3 worked examples`, `tuned`."""
        plain = self._plain_label(stage_id)
        twins = [other for other in self.scores if other != stage_id and self._plain_label(other) == plain]
        return f"{plain} ({stage_id})" if twins else plain

    def _plain_label(self, stage_id: str) -> str:
        section = next((stage.record.section for stage in self.stages if stage.id == stage_id and stage.record), {})
        shots = self.scores[stage_id].shots if stage_id in self.scores else 0
        model = section.get("model") or self.model
        who = "tuned" if self._is_trained(model) else "base" if model == self.model else words.model_name(model)
        return f"{who}, {words.plural(shots, 'worked example')}" if shots else who

    def _is_trained(self, model: str) -> bool:
        return any(stage.id == model and stage.kind == "sft" for stage in self.stages)


def _main_metric(scores: Scores) -> str:
    first = next((summary.metric for summary in scores.summary), "")
    return scores.main_metric or MAIN_METRIC.get(scores.suite, first)


def main_test(comparison: Comparison, tests: list[PairedTest] | None = None) -> PairedTest:
    """Return the test of the main metric among `tests` (default: the comparison's own)."""
    among = comparison.tests if tests is None else tests
    return next((test for test in among if test.metric == comparison.main_metric), among[0])


def previous_run(run: RunFolder) -> RunFolder | None:
    """Return the run of the same recipe before this one, if there is one. Damaged runs are passed over."""
    path = run.path.resolve()
    if not (path.name.isascii() and path.name.isdecimal()):
        return None
    for other in reversed(runs_of(path.parent.name, path.parent.parent)):
        if int(other.path.name) < int(path.name) and _is_readable(other):
            return other
    return None


def _is_readable(run: RunFolder) -> bool:
    try:
        return bool(run.resolved)
    except RunFolderError:
        return False


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return how resolved recipe `new` differs from `old`: by stage id, so that a moved stage is no difference."""
    before, after = _by_id(old), _by_id(new)
    added = [f"stage {name} added" for name in after if name not in before]
    removed = [f"stage {name} removed" for name in before if name not in after]
    shared = {name: value for name, value in after.items() if name in before}
    return differing_fields({name: before[name] for name in shared}, shared) + added + removed


def _by_id(recipe: dict[str, Any]) -> dict[str, Any]:
    # The hypothesis is words: it opens every journal, and changes nothing that runs.
    head = {key: value for key, value in recipe.items() if key not in ("stages", "hypothesis")}
    stages = {section["id"]: section for entry in recipe["stages"] for section in entry.values()}
    return {**head, **stages}


def what_to_do(story: Story) -> str:
    """Return what a person does next with a run that is not done; empty for a done one."""
    command = f"`{story.command}`" if story.command else "the same command"
    if story.status == "failed":
        return f"Mend what is said below, then give {command} again: finished stages are kept."
    if story.status in ("stopped", "running"):
        return f"Give {command} again: it goes on where it stopped. Nothing that was finished is lost."
    return ""


def status_sentence(story: Story) -> str:
    """Return where a run stands, in one sentence; empty for a done one."""
    unfinished = next((stage for stage in story.stages if stage.status in ("failed", "running")), None)
    at = f" at stage {unfinished.id}" if unfinished else ""
    during = f" (stage {unfinished.id})" if unfinished else ""
    sentences = {
        "failed": f"The run failed{at}.",
        "stopped": f"The run was stopped{at or ' between two stages'}.",
        "running": f"The run was not finished when this was written{during}.",
    }
    return sentences.get(story.status, "")


def finding(story: Story) -> tuple[str, str]:
    """Return the finding of the run and the evidence for it: `… args exact 0% → 48%` and `+48 points, 95% …`.

    The evidence is empty where nothing was compared; the finding then says why.
    """
    comparison = story.comparison
    if comparison and comparison.tests:
        test = main_test(comparison)
        suite = story.scores[comparison.candidate].suite if comparison.candidate in story.scores else ""
        claim = words.claim(test, comparison.verdict, model=story.model, suite=suite)
        return claim, words.evidence(test, comparison.confidence)
    if story.status != "done":
        return f"{status_sentence(story)} It has not compared anything yet.", ""
    return "This run compared nothing, so it shows nothing: its recipe has no `compare` stage.", ""


def headline(story: Story) -> str:
    """Return the finding of the run with its evidence, as one sentence."""
    claim, evidence = finding(story)
    return f"{claim} ({evidence})." if evidence else claim

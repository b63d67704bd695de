"""Which finished stages one attempt at a run may take as they lie, and why it may not take the others.

A finished stage is taken when it has the right fingerprint, when every file that its record lists is there with the
same content, and when none of its inputs was made again and came out different. Else it is made again, and the run says
why: nothing damaged is ever taken in silence. Nor is a check that stopped a run: what it looked at, free memory or an
installed library, may be another now.

reads    the records of this run and of all others of the recipe, and the files they list
writes   nothing
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tunewright.artifacts.contents import find_damage
from tunewright.artifacts.record import RECORD_NAME, Record, read_record
from tunewright.artifacts.rundir import RunFolder, content_of_stage, runs_of
from tunewright.artifacts.verdict import Status
from tunewright.errors import RunFolderError
from tunewright.planning import Planned, differences

MOST_TOLD = 3


@dataclass(frozen=True)
class Finished:
    """A finished stage of another run, in the folder where its files really lie."""

    run: RunFolder
    folder: Path
    record: Record

    @property
    def origin(self) -> str:
        """The run that made it, as people say it: `tour/2`."""
        return RunFolder(self.folder.parent).name


@dataclass(frozen=True)
class _Refusal:
    """A finished stage with the right fingerprint that may not be taken."""

    folder: Path
    record: Record
    damage: dict[str, str]
    why: str


class Shelf:
    """The finished stages that one attempt at `run` finds. Earlier runs are read once, when first asked for."""

    def __init__(
        self,
        run: RunFolder,
        root: Path,
        say: Callable[[str], None],
        stages: Sequence[Planned],
        allow: Collection[str] = (),
    ):
        self.run, self.root, self.say, self.allow = run, root, say, allow
        self._places = {stage.id: run.path / stage.folder_name for stage in stages}
        self._refused: dict[str, list[_Refusal]] = {}
        self._changed: set[str] = set()

    def own(self, stage: Planned) -> Record | None:
        """Return the record of a stage that this run has done, if it may be taken.

        Raises:
            RunFolderError: there is a record that cannot be read.
        """
        folder = self.run.path / stage.folder_name
        record = read_record(folder)
        if record is None or record.fingerprint != stage.fingerprint:  # a check of another budget
            return None
        return record if self._may_be_taken(stage, folder.resolve(), record) else None

    def other(self, stage: Planned) -> Finished | None:
        """Return the same stage as another run made it, the newest that may be taken."""
        same = (found for found in self._finished if found.record.fingerprint == stage.fingerprint)
        return next((found for found in same if self._may_be_taken(stage, found.folder, found.record)), None)

    def _may_be_taken(self, stage: Planned, folder: Path, record: Record) -> bool:
        refused = self._refused.setdefault(stage.id, [])
        if any(refusal.folder == folder for refusal in refused):  # another run's link to the same place
            return False
        changed = self._changed_inputs(stage, record)
        failed = self._stopped_by(stage, record)
        damage = {} if changed or failed else _damage(folder, record)
        if not changed and not failed and not damage:
            return True
        place = f"{RunFolder(folder.parent).name}/{folder.name}"
        why = f"in {place} {_told(damage)}"
        if changed:
            why = f"{changed[0]} was made again and came out different"
        elif failed:
            why = f"{failed[0]} FAILED in {place}, and what it looked at may be another now"
        refused.append(_Refusal(folder, record, damage, why))
        self.say(f"  {place} is not taken: {why}")
        return False

    def _changed_inputs(self, stage: Planned, record: Record) -> list[str]:
        """Return the inputs that are not what the record says the stage was made from."""
        held = {ref.partition(".")[0]: made_from.content for ref, made_from in record.inputs.items()}
        known = {name: content for name, content in held.items() if content is not None}
        changed = {name for name, content in known.items() if content != content_of_stage(self._places[name])}
        return sorted(changed | (stage.input_ids & self._changed))

    def _stopped_by(self, stage: Planned, record: Record) -> list[str]:
        failed = [verdict.name for verdict in record.verdicts if verdict.status is Status.FAILED]
        return [name for name in failed if name not in self.allow] if stage.kind == "check" else []

    def settle(self, stage: Planned, record: Record) -> None:
        """Note how a stage came out that stands for a refused one: its followers depend on whether it is the same."""
        for refusal in self._refused.get(stage.id, ()):
            if not refusal.damage or not _mended(refusal, record):
                self._changed.add(stage.id)

    def why(self, stage: Planned) -> str:
        """Say why a stage runs: what was wrong with the finished one, or how it differs from the newest with its id."""
        if refused := self._refused.get(stage.id):
            return f"runs again: {refused[0].why}"
        for found in self._finished:
            if (found.record.id, found.record.kind) == (stage.id, stage.kind):
                told = "; ".join(differences(found.record, stage)[:4])
                return f"runs, since run {found.run.name} differs: {told}"
        return "runs for the first time"

    @cached_property
    def _finished(self) -> list[Finished]:
        """The finished stages of all other runs of the recipe, those of the newest run first."""
        name = self.run.path.name
        others = [run for run in reversed(runs_of(self.run.path.parent.name, self.root)) if run.path.name != name]
        places = [(run, place.parent) for run in others for place in sorted(run.path.glob(f"*/{RECORD_NAME}"))]
        found = [(run, folder, self._read(folder)) for run, folder in places]
        return [Finished(run, folder.resolve(), record) for run, folder, record in found if record is not None]

    def _read(self, folder: Path) -> Record | None:
        """Return the record of another run's stage; one that cannot be read is told and left alone."""
        try:
            return read_record(folder)
        except RunFolderError as error:
            self.say(f"  {error.where} is not reused: {error.seen}")
            return None


def _damage(folder: Path, record: Record) -> dict[str, str]:
    if not record.files:  # every stage makes a file, so this record is older than the lists, or was altered
        return {RECORD_NAME: "does not list what the stage made"}
    return find_damage(folder, record.files)


def _told(damage: dict[str, str]) -> str:
    told = [f"{name} {words}" for name, words in list(damage.items())[:MOST_TOLD]]
    more = len(damage) - len(told)
    return ", ".join(told) + (f", and {more} more" if more else "")


def _mended(refusal: _Refusal, record: Record) -> bool:
    """True if the files that were damaged came out again as they had been, byte for byte."""
    pairs = [(refusal.record.files.get(name), record.files.get(name)) for name in refusal.damage]
    return all(old is not None and old.sha256 is not None and old == new for old, new in pairs)

"""The run folder: `runs/<recipe>/<number>/`, its stages, its lock and its logs.

runs/tour/3/                      run number 3 of recipe `tour`; runs/tour/latest -> 3
  recipe.yaml                     as written
  recipe.resolved.json            every default filled in
  run.json                        state of the run: running, done, failed, stopped; one entry a stage
  1-data/ 2-before/ …             stages; a reused one is a relative link into an earlier run
  logs/attempt-1.log  logs/latest
  journal.md  report.html
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.checked import Checked
from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.comparison import Comparison
from tunewright.artifacts.contents import content_of
from tunewright.artifacts.dataset import Dataset
from tunewright.artifacts.files import make_folder, read_json, write_json, writing
from tunewright.artifacts.grades import DryRun
from tunewright.artifacts.probed import Probed
from tunewright.artifacts.record import Record, read_record
from tunewright.artifacts.scores import Scores
from tunewright.errors import DataError, RunFolderError

RUNS = Path("runs")

ARTIFACTS: dict[str, type[Artifact]] = {
    cls.kind: cls for cls in (Checked, Probed, Dataset, Trained, Scores, DryRun, Comparison)
}


def content_of_stage(folder: Path) -> str | None:
    """Return what a finished stage's files are known by to those that read them; None where it is not done."""
    record = read_record(folder)
    return content_of(record.files, ARTIFACTS[record.kind].read_on) if record is not None else None


class RunFolder:
    """One run on disk. Reading needs no lock; writing happens inside `locked()`."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def name(self) -> str:
        """`recipe/number`, as people say it."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def resolved(self) -> dict[str, Any]:
        """The recipe with every default filled in.

        Raises:
            RunFolderError: the file is not there, or broken.
        """
        return self._read("recipe.resolved.json")

    @property
    def state(self) -> dict[str, Any]:
        """The content of run.json; `{}` before the run began.

        Raises:
            RunFolderError: the file is broken.
        """
        return self._read("run.json") if (self.path / "run.json").is_file() else {}

    def _read(self, name: str) -> dict[str, Any]:
        """Return a file that says what the stages are; only a whole one is any use."""
        path = self.path / name
        try:
            value = read_json(path)
        except DataError as error:
            raise _damaged(error.seen, error.where or str(path)) from None
        if not isinstance(value, dict) or not isinstance(value.get("stages"), list):
            raise _damaged("it holds no stages", str(path))
        return value

    def write_state(self, state: dict[str, Any]) -> None:
        """Write run.json, by rename."""
        write_json(self.path / "run.json", state)

    def stage_ids(self) -> list[str]:
        """Return the ids of the recipe's stages, in order."""
        try:
            return [str(section["id"]) for entry in self.resolved["stages"] for section in entry.values()]
        except (AttributeError, KeyError, TypeError):
            raise _damaged("a stage in it has no id", str(self.path / "recipe.resolved.json")) from None

    def stage_folder(self, stage_id: str) -> Path:
        """Return `<index>-<id>`, whether it is there or not."""
        return self.path / f"{self.stage_ids().index(stage_id) + 1}-{stage_id}"

    def records(self) -> list[Record]:
        """Return the records of the finished stages, in order."""
        found = (read_record(self.stage_folder(stage_id)) for stage_id in self.stage_ids())
        return [record for record in found if record is not None]

    def artifact(self, stage_id: str) -> Artifact:
        """Return the artifact of a finished stage.

        Raises:
            RunFolderError: no such stage, or it is not done; says which are.
        """
        ids = self.stage_ids()
        if stage_id not in ids:
            raise RunFolderError(f"no stage {stage_id!r}", where=str(self.path), expected=" | ".join(ids))
        folder = self.stage_folder(stage_id)
        record = read_record(folder)
        if record is None:
            raise RunFolderError(
                f"stage {stage_id!r} is not done", where=str(folder), fix="give the `tw run` command again"
            )
        if record.kind not in ARTIFACTS:
            raise _damaged(f"there is no kind of stage {record.kind!r}", str(folder))
        return ARTIFACTS[record.kind].load(folder, record.result)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run's lock: no second process can write this folder. A killed process holds nothing.

        Raises:
            RunFolderError: another process is writing here; names its pid.
        """
        with lock_folder(self.path, f"run {self.name}", "`tw show` reads the run meanwhile"):
            yield

    def open_log(self) -> Path:
        """Return the path of a new `logs/attempt-N.log`; `logs/latest` points at it. Earlier logs stay."""
        folder = make_folder(self.path / "logs")
        earlier = (_number(path.stem.removeprefix("attempt-")) for path in folder.glob("attempt-*.log"))
        number = 1 + max((found for found in earlier if found is not None), default=0)
        log = folder / f"attempt-{number}.log"
        with writing(log):
            log.touch()
        link(folder / "latest", log.name)
        return log


def _damaged(seen: str, where: str) -> RunFolderError:
    return RunFolderError(
        f"the run is damaged: {seen}",
        where=where,
        fix="move that run's folder away and give the `tw run` command again: other runs' stages are reused",
    )


def _number(name: str) -> int | None:
    """Return the number that a file is called by, or None where it is called something else."""
    return int(name) if name.isascii() and name.isdecimal() else None


@contextmanager
def lock_folder(folder: Path, name: str, meanwhile: str) -> Iterator[None]:
    """Hold the lock of a folder that `name` says to people; `meanwhile` is what they can do while another has it.

    Raises:
        RunFolderError: another process is writing here; names its pid.
    """
    handle = _lock_file(folder)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise RunFolderError(
                f"{name} is being written by process {owner}",
                where=str(folder),
                fix=f"wait for it, or stop it; {meanwhile}",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _lock_file(folder: Path) -> int:
    path = folder / ".lock"
    with writing(path):
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


@contextmanager
def choosing(name: str, root: Path = RUNS) -> Iterator[None]:
    """Let one process at a time choose or make a run folder of recipe `name`; the others wait these milliseconds."""
    handle = _lock_file(make_folder(root / name))
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def link(place: Path, target: str) -> None:
    """Make `place` a symbolic link to `target` (relative), replacing an older link in one step."""
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    with writing(place):
        part.unlink(missing_ok=True)
        part.symlink_to(target)
        os.replace(part, place)


def runs_of(name: str, root: Path = RUNS) -> list[RunFolder]:
    """Return the runs of recipe `name`, oldest first."""
    folder = root / name
    found = (_number(path.name) for path in folder.glob("[0-9]*") if path.is_dir())
    numbers = sorted(number for number in found if number is not None)
    return [RunFolder(folder / str(number)) for number in numbers if (folder / str(number) / "run.json").is_file()]


def all_runs(root: Path = RUNS) -> list[RunFolder]:
    """Return every run under `root`, by recipe and number."""
    names = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    return [run for name in names for run in runs_of(name, root)]


def new_run(name: str, root: Path = RUNS) -> RunFolder:
    """Create the next run folder of recipe `name`. Two processes at once get two numbers."""
    parent = make_folder(root / name)
    while True:
        number = 1 + max((_number(path.name) or 0 for path in parent.iterdir()), default=0)
        with writing(parent):
            try:
                (parent / str(number)).mkdir()
            except FileExistsError:
                continue
        return RunFolder(parent / str(number))


def find_run(text: str, root: Path = RUNS) -> RunFolder:
    """Return the run that a person means: a folder, `tour/3`, or `tour` for its latest.

    Raises:
        RunFolderError: there is none; lists what there is.
    """
    with contextlib.suppress(OSError):  # longer than a file name can be: then it is none
        for path in (Path(text), root / text):
            if (path / "run.json").is_file():
                return RunFolder(path.resolve() if path.is_symlink() else path)
            if (path / "latest" / "run.json").is_file():
                return RunFolder((path / "latest").resolve())
    there = ", ".join(run.name for run in all_runs(root)) or "none"
    raise RunFolderError(
        f"no run {text!r}", expected="a run folder, `recipe/number`, or a recipe's name for its latest run",
        fix=f"runs under {root}/: {there}",
    )  # fmt: skip

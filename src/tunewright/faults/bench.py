"""The fault bench: is each planted fault caught, by which gate, where, and what did it save?

Every fault is held against its clean twin, the same project without the change: a gate that speaks of the twin as well
has caught nothing. Caught means that a gate or a refusal says more than it says of the twin; a crash is no catch.

reads    the faults (`groups/`), the clean projects (`clean.py`), what TRL did with the same (trl.json)
makes    `Bench`; projects live in a temporary folder
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tunewright.artifacts.processes import num_cores
from tunewright.faults.clean import MATRIX, TWINS
from tunewright.faults.drive import CRASHED, SEVERITY, WAY, Command, Said, Told, drive
from tunewright.faults.fault import Fault
from tunewright.faults.groups import FAULTS
from tunewright.faults.project import Shape, build, model_of
from tunewright.progress import task

NO_EFFECT = "NO EFFECT"
BEFORE_TRAINING = ("check --static", "check", "data", "probe", "dry_run", "drill", "merge")
"""where nothing has been trained yet, or nothing ever is"""


@dataclass(frozen=True)
class Found:
    """What became of one fault."""

    name: str
    group: str
    what: str
    caught: bool
    gate: str | None
    status: str | None
    """WARNED, FAILED or REFUSED; CRASHED for a traceback, which is no catch; NO EFFECT where the gate shows that what
    the fault would ruin is sound"""
    stage: str | None
    seconds: float
    """until it was caught; else of everything"""
    measured: str
    remedy: str
    told: str
    """the first gate that spoke, and where, if one warned before another stopped"""
    steps_saved: int
    """training steps that were not made"""
    seconds_saved: float
    """of the clean twin's whole recipe"""
    trl: str
    trl_said: str

    @property
    def before_training(self) -> bool:
        """True if not one step was trained."""
        return self.caught and (self.steps_saved > 0 or bool(self.told) or self.stage in BEFORE_TRAINING)


@dataclass(frozen=True)
class Alarm:
    """A gate that failed on a sound project."""

    project: str
    gate: str
    stage: str
    measured: str


@dataclass(frozen=True)
class Bench:
    """All of it."""

    faults: tuple[Found, ...]
    alarms: tuple[Alarm, ...]
    clean: int
    """sound projects that were checked"""
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return what `tw faults --json` prints."""
        return {
            "faults": [asdict(found) for found in self.faults],
            "caught": sum(found.caught for found in self.faults),
            "no_effect": sum(found.status == NO_EFFECT for found in self.faults),
            "false_alarms": len(self.alarms),
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "clean": self.clean,
            "seconds": self.seconds,
        }


def bench(
    faults: Sequence[Fault] = FAULTS, matrix: dict[str, Shape] | None = None, processes: int | None = None
) -> Bench:
    """Plant every fault, and check every sound project.

    Args:
        faults: which.
        matrix: the sound projects; default: all.
        processes: side by side; default: one a core, at most 4.
    """
    began = time.perf_counter()
    clean = MATRIX if matrix is None else matrix
    twins = sorted({(fault.shape, fault.commands) for fault in faults})
    with _workplace(processes) as (pool, folder), task("projects", len(twins) + len(faults) + len(clean)) as bar:
        shapes = [*(TWINS[shape] for shape, _ in twins), *clean.values()]
        kinds = sorted({(shape.family, shape.padding_side) for shape in shapes})
        list(pool.map(_model, [folder] * len(kinds), kinds))  # first, so that no two processes write one folder
        jobs = [("twin", shape, commands) for shape, commands in twins] + [("clean", name, WAY) for name in clean]
        sound = [_advanced(bar, one) for one in pool.map(_sound, [folder] * len(jobs), jobs)]
        told = dict(zip(jobs, sound, strict=True))
        of_twin = [told["twin", fault.shape, fault.commands] for fault in faults]
        names = [fault.name for fault in faults]  # a fault holds functions, which do not travel
        found = tuple(_advanced(bar, one) for one in pool.map(_planted, [folder] * len(faults), names, of_twin))
    alarms = tuple(alarm for job, one in told.items() for alarm in _alarms(job, one))
    return Bench(found, alarms, len(jobs), time.perf_counter() - began)


def _advanced(bar: Any, value: Any) -> Any:
    bar.advance()
    return value


@contextmanager
def _workplace(processes: int | None) -> Iterator[tuple[ProcessPoolExecutor, Path]]:
    count = processes or min(4, num_cores())
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one process a core
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here is to be downloaded
    with tempfile.TemporaryDirectory(prefix="tw-faults-") as folder:
        (Path(folder) / "models").mkdir()
        with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
            yield pool, Path(folder)


# ── in a process of the pool ────────────────────────────────────────────────────────────────────────────────────────


def _model(folder: Path, kind: tuple[str, str]) -> None:
    model_of(Shape(*kind), folder / "models")


def _sound(folder: Path, job: tuple[str, str, tuple[Command, ...]]) -> Told:
    """Drive a sound project."""
    kind, name, commands = job
    shape = TWINS[name] if kind == "twin" else MATRIX[name]
    place = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=folder)) / "project"
    return drive(build(shape, place, folder / "models").folder, commands)


def _planted(folder: Path, name: str, twin: Told) -> Found:
    """Plant a fault, and drive the project."""
    fault = next(fault for fault in FAULTS if fault.name == name)
    place = Path(tempfile.mkdtemp(prefix="fault-", dir=folder)) / "project"
    project = build(TWINS[fault.shape], place, folder / "models")
    fault.plant(project)
    project.save()
    with fault.breaks():
        told = drive(project.folder, fault.commands)
    return judged(fault, told, twin)


def judged(fault: Fault, told: Told, twin: Told) -> Found:
    """Return what became of the fault: the first that says more than it says of the twin."""
    said, first = first_catch(told, twin), first_told(told, twin)
    unharmed = None if said or not fault.harmless_by else _passing(told, fault.harmless_by)
    crash = next((one for one in told.said if one.status == CRASHED), None)
    shown = said or crash or unharmed
    trl = trl_results().get(fault.name, {"said": "not measured", "why": ""})
    return Found(
        name=fault.name,
        group=fault.group,
        what=fault.what,
        caught=said is not None,
        gate=shown.gate if shown and shown is not crash else None,
        status=NO_EFFECT if shown and shown is unharmed else shown.status if shown else None,
        stage=shown.stage if shown else None,
        seconds=round(shown.seconds if shown else told.seconds, 2),
        measured=shown.measured if shown else "",
        remedy=shown.remedy if shown else "",
        told=f"{first.gate} {first.status} at {first.stage}" if first and first is not said else "",
        steps_saved=twin.steps - told.steps if said else 0,
        seconds_saved=round(twin.seconds - told.seconds, 2) if said and not told.steps else 0.0,
        trl=trl["said"],
        trl_said=trl["why"],
    )


def _passing(told: Told, gate: str) -> Said | None:
    return next((one for one in told.said if one.gate == gate and one.status == "PASSED"), None)


def first_catch(told: Told, twin: Told) -> Said | None:
    """Return the first thing said that stands out against the twin, one that stops before one that warns."""
    louder = _louder(told, twin)
    return next((one for one in louder if SEVERITY[one.status] == SEVERITY["FAILED"]), next(iter(louder), None))


def first_told(told: Told, twin: Told) -> Said | None:
    """Return the first thing said before training that stands out against the twin, warnings included."""
    return next((one for one in _louder(told, twin) if one.stage in BEFORE_TRAINING), None)


def _louder(told: Told, twin: Told) -> list[Said]:
    of_twin = twin.worst()
    return [one for one in told.said if one.status != CRASHED and SEVERITY[one.status] > of_twin.get(one.gate, 0)]


def _alarms(job: tuple[str, str, tuple[Command, ...]], told: Told) -> list[Alarm]:
    bad = [one for one in told.said if one.status not in ("PASSED", "WARNED")]
    return [Alarm(f"{job[0]}: {job[1]}", one.gate, one.stage, one.measured) for one in bad]


def trl_results() -> dict[str, Any]:
    """Return fault -> what TRL said of it, as `benchmarks/faults/trl.py` measured."""
    return _trl("faults")


def trl_versions() -> dict[str, Any]:
    """Return package -> version of that measurement."""
    return _trl("versions")


@cache
def _trl(part: str) -> dict[str, Any]:
    path = files("tunewright.faults") / "trl.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))[part]
    return found

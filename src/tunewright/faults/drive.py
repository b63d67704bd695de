"""Drive the real command line over a project, and keep what it said: verdicts, refusals, and at which stage.

The verbs run in this process, through the door that `tw` itself goes through. A fault's usual way is the reader's:
`tw check --static`, `tw check`, `tw run`; it ends with the first that refuses.
"""

from __future__ import annotations

import io
import json
import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.artifacts.rundir import RunFolder, runs_of
from tunewright.artifacts.verdict import Status
from tunewright.errors import EXIT_BUG, EXIT_DONE, EXIT_GATE
from tunewright.faults.entries import ENTRIES

STATIC = ("check", "{recipe}", "--static")
CHECK = ("check", "{recipe}")
RUN = ("run", "{recipe}", "--output", "{folder}/runs")
Command = tuple[str, ...]
WAY: tuple[Command, ...] = (STATIC, CHECK, RUN)

REFUSED = "REFUSED"
CRASHED = "CRASHED"
SEVERITY = {Status.PASSED: 0, Status.WARNED: 1, Status.FAILED: 2, REFUSED: 2}


@dataclass(frozen=True)
class Said:
    """One thing that was said: by a gate, or by an error that names what is wrong."""

    gate: str
    """the verdict's name; the kind of the error for a refusal"""
    status: str
    stage: str
    """`check --static`, `check`, another verb, or a stage of the run"""
    seconds: float
    """since the first command began"""
    measured: str
    bound: str = ""
    remedy: str = ""


@dataclass
class Told:
    """Everything that a project's commands said, in order, and what was spent."""

    said: list[Said] = field(default_factory=list)
    steps: int = 0
    """training steps that were made"""
    seconds: float = 0.0

    def worst(self) -> dict[str, int]:
        """Return the worst severity of each gate."""
        found: dict[str, int] = {}
        for one in self.said:
            found[one.gate] = max(found.get(one.gate, 0), SEVERITY.get(one.status, 0))
        return found


def drive(folder: Path, commands: Sequence[Command] = WAY) -> Told:
    """Run the commands in the project's folder until one does not end well; a name of ENTRIES is no verb."""
    told, began = Told(), time.perf_counter()
    for command in commands:
        words = [word.format(recipe=folder / "recipe.yaml", folder=folder) for word in command]
        before = time.perf_counter() - began
        code, document = entered(words[0], folder) if words[0] in ENTRIES else call([*words, "--json"], folder)
        seconds = time.perf_counter() - began
        stage = command[0] + (" --static" if "--static" in command else "")
        told.said += [_verdict(item, stage, seconds) for item in _verdicts(document)]
        if command[0] == "run":
            told.said += _of_runs(folder / "runs", before)
            told.steps = _steps_made(folder / "runs")
        if document.get("error") not in (None, "GateFailed"):
            told.said.append(_refusal(document, _stage_reached(folder / "runs") or stage, seconds, code))
        if code != EXIT_DONE:
            break
    told.seconds = time.perf_counter() - began
    return told


def call(arguments: Sequence[str], folder: Path) -> tuple[int, dict[str, Any]]:
    """Return the exit code of `tw ARGUMENTS` in `folder`, and the JSON object it printed ({} for none)."""
    from tunewright.cli.main import main

    out = io.StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(io.StringIO()), _quiet():
        code = main(arguments)
    try:
        document = json.loads(out.getvalue())
    except ValueError:
        document = {}
    return code, document if isinstance(document, dict) else {"items": document}


def entered(name: str, folder: Path) -> tuple[int, dict[str, Any]]:
    """Return exit code and verdicts of a gate that has no verb."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), _quiet():
        verdicts = ENTRIES[name](folder)
    code = EXIT_GATE if any(verdict.stops for verdict in verdicts) else EXIT_DONE
    return code, {"verdicts": [verdict.model_dump(mode="json") for verdict in verdicts]}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries log and warn of off the terminal: only what the product says counts here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _verdicts(document: Any) -> list[dict[str, Any]]:
    """Return every verdict in a JSON document, wherever it stands; those of a run's stages are read from its folder."""
    if isinstance(document, list):
        return [verdict for item in document for verdict in _verdicts(item)]
    if not isinstance(document, dict) or "stages" in document:
        return []
    if {"name", "status", "measured", "bound"} <= document.keys():
        return [document]
    return [verdict for item in document.values() for verdict in _verdicts(item)]


def _verdict(item: dict[str, Any], stage: str, seconds: float) -> Said:
    return Said(item["name"], item["status"], stage, seconds, item["measured"], item["bound"], item.get("remedy", ""))


def _refusal(document: dict[str, Any], stage: str, seconds: float, code: int) -> Said:
    first = (document.get("problems") or [document])[0]
    told = document["error"] in ("EnvironmentProblem", "MissingExtra")
    crashed = document.get("bug") or (code == EXIT_BUG and not told)
    parts = (first.get("suggestion"), first.get("fix"), first.get("example"))
    return Said(
        gate=document["error"],
        status=CRASHED if crashed else REFUSED,
        stage=stage,
        seconds=seconds,
        measured=str(first.get("seen", "")),
        bound=str(first.get("expected") or ""),
        remedy=next((str(part) for part in parts if part), ""),
    )


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _run(root: Path) -> RunFolder | None:
    found = [
        run for name in (root.iterdir() if root.is_dir() else ()) if name.is_dir() for run in runs_of(name.name, root)
    ]
    return found[-1] if found else None


def _of_runs(root: Path, before: float) -> list[Said]:
    """Return what the gates of the run's stages said; `seconds` are those before the run and of its stages so far."""
    run = _run(root)
    if run is None:
        return []
    found = []
    for record in run.records():
        before += record.provenance.seconds
        found += [_verdict(verdict.model_dump(mode="json"), record.kind, before) for verdict in record.verdicts]
    return found


def _stage_reached(root: Path) -> str:
    """Return the kind of the stage at which the run ended badly; "" for none."""
    run = _run(root)
    return next((entry["kind"] for entry in run.state["stages"] if entry["status"] == "failed"), "") if run else ""


def _steps_made(root: Path) -> int:
    """Return the training steps that the run made, of stages that failed too."""
    logs = root.rglob("metrics.jsonl")
    return sum(len(log.read_text(encoding="utf-8").splitlines()) for log in logs if "latest" not in log.parts)

"""A planted fault as data, and the words that change a clean project."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tunewright.faults.drive import WAY, Command
from tunewright.faults.project import Project
from tunewright.faults.rows import Row

GROUPS = (
    "tokens and templates",
    "labels and truncation",
    "data quality and leakage",
    "graders and rewards",
    "base model",
    "stack and arithmetic",
    "merge and export",
    "evaluation and statistics",
    "budget",
    "recipe",
)

Change = Callable[[Project], None]


@dataclass(frozen=True)
class Fault:
    """One change that ruins a sound project."""

    name: str
    what: str
    """one sentence: what is wrong, and what it would cost"""
    plant: Change
    group: str = ""
    breaks: Callable[[], AbstractContextManager[None]] = nullcontext
    """what it breaks in the libraries while the commands run: a stack with a bug"""
    harmless_by: str = ""
    """the gate that shows, by passing, that it has no effect here: what it would ruin is found out another way"""
    shape: str = "training"
    """the clean twin, by its name in `clean.SHAPES`"""
    commands: tuple[Command, ...] = WAY
    real: str = ""
    """threads where it happened"""
    promise: str = ""
    """what other trainers' documentation says of it, by its name in promises.json"""
    trl: str = "sft"
    """how TRL is asked: `sft`, `grpo`; else the reason why it cannot be asked"""


def grouped(group: str, *faults: Fault) -> tuple[Fault, ...]:
    """Return the faults as members of `group`."""
    from dataclasses import replace

    assert group in GROUPS, group
    return tuple(replace(fault, group=group) for fault in faults)


# ── changes ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def nothing(project: Project) -> None:
    """Change nothing: what is wrong is the stack."""


def both(*changes: Change) -> Change:
    """Return one change that makes several; for a fault that has two ends."""

    def plant(project: Project) -> None:
        for change in changes:
            change(project)

    return plant


def recipe(**fields: Any) -> Change:
    """Return a change of recipe fields: `recipe(sft__steps=4)`; `__` stands for a dot."""

    def plant(project: Project) -> None:
        for path, value in fields.items():
            project.set(path.replace("__", "."), value)

    return plant


def each_row(change: Callable[[Row, int], Row | None]) -> Change:
    """Return a change of every row; None takes the row away."""

    def plant(project: Project) -> None:
        changed = [change(row, place) for place, row in enumerate(project.rows)]
        project.rows = [row for row in changed if row is not None]

    return plant


def template(old: str, new: str) -> Change:
    """Return a change of the chat template's source.

    Raises:
        ValueError: `old` does not stand in it, so that nothing would be planted.
    """

    def plant(project: Project) -> None:
        path = project.model / "chat_template.jinja"
        source = path.read_text(encoding="utf-8")
        if old not in source:
            raise ValueError(f"{old!r} does not stand in the template")
        path.write_text(source.replace(old, new), encoding="utf-8")

    return plant


def json_file(name: str, **fields: Any) -> Change:
    """Return a change of fields in a JSON file of the model folder; None takes a field away."""

    def plant(project: Project) -> None:
        path = project.model / name
        value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        value = {key: item for key, item in {**value, **fields}.items() if item is not None}
        path.write_text(json.dumps(value), encoding="utf-8")

    return plant


def without_file(name: str) -> Change:
    """Return a change that removes a file of the model folder."""
    return lambda project: (project.model / name).unlink()


def weights(change: Callable[[dict[str, Any]], None]) -> Change:
    """Return a change of the model's tensors, by name."""

    def plant(project: Project) -> None:
        from safetensors.torch import load_file, save_file

        path = project.model / "model.safetensors"
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return plant

"""A clean small project: a model folder, a file of rows and a recipe that trains for a moment and proves what it did.

A `Shape` says which one; a fault and its clean twin have the same. Every file is the project's own copy, so that a
change reaches one project only.

writes   model/, rows.jsonl, recipe.yaml and what a shape's `files` add
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunewright.faults.model import make_model
from tunewright.faults.rows import Row, tickets

STEPS = 40

Stages = list[dict[str, dict[str, Any]]]


def training_stages() -> Stages:
    """Return data → evaluate → sft → evaluate → compare."""
    asked = {"suite": "exact-match", "rows": "data.test", "max_new_tokens": 24, "batch_size": 16}
    return [
        {"data": {"sources": [{"type": "jsonl", "path": "rows.jsonl"}], "split": {"test": 18}}},
        {"evaluate": {"id": "before", **asked}},
        {"sft": {"rows": "data.train", "steps": STEPS, "batch_size": 8, "learning_rate": 0.01, "log_every": 1}},
        {"evaluate": {"id": "after", "model": "sft", **asked}},
        {
            "compare": {
                "baseline": "before",
                "candidate": "after",
                "require": {"metric": "exact_match", "better_by": 0.2},
            }
        },
    ]


@dataclass(frozen=True)
class Shape:
    """A healthy project, as data."""

    family: str = "chatml"
    padding_side: str = "right"
    rows: Callable[[], list[Row]] = tickets
    stages: Callable[[], Stages] = training_stages
    header: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """`stage.field` -> value: what this recipe says otherwise"""
    files: Callable[[], Mapping[str, str]] = dict
    """name -> text of further files beside the recipe"""
    prepare: Callable[[Project], None] | None = None
    """what else is to be made, before a fault is planted"""


class Project:
    """One project on disk. Changes are made to `rows`, `recipe` and the files, and `save` writes them."""

    def __init__(self, folder: Path, rows: list[Row], recipe: dict[str, Any]):
        self.folder, self.rows, self.recipe = folder, rows, recipe
        self.lines: list[str] | None = None
        """the lines of rows.jsonl where they are not the rows as JSON"""

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.folder / "model"

    @property
    def recipe_path(self) -> Path:
        """The recipe file."""
        return self.folder / "recipe.yaml"

    @property
    def rows_path(self) -> Path:
        """The file of rows."""
        return self.folder / "rows.jsonl"

    def stage(self, name: str) -> dict[str, Any]:
        """Return the section of the stage with this id."""
        for item in self.recipe["stages"]:
            (kind, section), *_ = item.items()
            if section.get("id", kind) == name:
                found: dict[str, Any] = section
                return found
        raise KeyError(name)

    def set(self, path: str, value: Any) -> None:
        """Set `stage.field` of the recipe, or a field of its header; deeper by further dots and list places."""
        head, *rest = path.split(".")
        target: Any = self.recipe
        if rest:
            target, head = self.stage(head), rest[-1]
            for key in rest[:-1]:
                target = target[int(key) if isinstance(target, list) else key]
        target[int(head) if isinstance(target, list) else head] = value

    def save(self) -> None:
        """Write rows and recipe. JSON is YAML, but not as people write it: ruamel writes blocks."""
        from ruamel.yaml import YAML

        lines = self.lines if self.lines is not None else [json.dumps(row, ensure_ascii=False) for row in self.rows]
        text = "".join(f"{line}\n" for line in lines)  # a fault may stand for bytes that are no UTF-8
        self.rows_path.write_text(text, encoding="utf-8", errors="surrogateescape")
        with self.recipe_path.open("w", encoding="utf-8") as file:
            YAML().dump(self.recipe, file)


def build(shape: Shape, folder: Path, models: Path) -> Project:
    """Make a project in `folder`, which must not exist; `models` holds the tiny models that were made already."""
    folder.mkdir(parents=True)
    shutil.copytree(model_of(shape, models), folder / "model")
    for name, text in shape.files().items():
        (folder / name).write_text(text, encoding="utf-8")
    recipe = {"recipe": "project", "seed": 7, "model": str(folder / "model"), **shape.header, "stages": shape.stages()}
    project = Project(folder, shape.rows(), recipe)
    for path, value in shape.settings.items():
        project.set(path, value)
    project.save()
    if shape.prepare is not None:
        shape.prepare(project)
    return project


def model_of(shape: Shape, models: Path) -> Path:
    """Return the folder of the shape's model, made when it is not there."""
    folder = models / f"{shape.family}-{shape.padding_side}"
    if not folder.is_dir():
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        make_model(part, shape.family, shape.padding_side).rename(folder)
    return folder

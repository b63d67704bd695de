"""The rows of a recipe without its run: its `data` stages, carried out in a folder that goes away again."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.dataset import Rows
from tunewright.recipe.sections import PARTS, Recipe


@contextlib.contextmanager
def rows_of(recipe: Recipe) -> Iterator[dict[str, Rows]]:
    """Give what the references of a recipe to rows stand for, `data.train` -> rows, as long as the block lasts.

    Raises:
        DataError, ModelError: as the stages would.
    """
    from tunewright.artifacts.context import RunContext
    from tunewright.pipeline import call_stage
    from tunewright.planning import plan

    with tempfile.TemporaryDirectory(prefix="tunewright-rows-") as folder:
        found: dict[str, Rows] = {}
        artifacts: dict[str, Artifact] = {}
        for stage in plan(recipe):
            if stage.kind == "data":
                out = Path(folder) / stage.folder_name
                made = artifacts[stage.id] = call_stage(stage, artifacts, out, RunContext(stage=stage.id, quiet=True))
                for part in PARTS["data"]:
                    found[f"{stage.id}.{part}"] = made.part(part)  # type: ignore[attr-defined]  # a Dataset
        yield found

"""Artifacts: what stages hand to each other. Each is a small frozen record of a folder on disk.

A stage writes files under its `out` folder and returns one of these; the runner puts it into `record.json` as the
typed result. `folder` is where it lies now; it is never written down, so a run folder can be moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tunewright.errors import RunFolderError


class Artifact(BaseModel):
    """Base of the typed results.

    `kind` is the stage kind that makes it; `by_products` are files and folders of it that nobody reads again;
    `read_on` are those that later stages read, () for all: where they come out the same, nothing has changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]
    by_products: ClassVar[tuple[str, ...]] = ()
    read_on: ClassVar[tuple[str, ...]] = ()

    folder: Path = Field(exclude=True)

    @classmethod
    def load(cls, folder: Path, result: dict[str, Any]) -> Self:
        """Return the artifact that the record in `folder` describes.

        Raises:
            RunFolderError: it describes none.
        """
        try:
            return cls(folder=folder, **result)
        except (ValidationError, TypeError) as error:
            raise RunFolderError(
                f"not a result this version can read: {' '.join(str(error).splitlines()[:3])}", where=str(folder),
                fix="remove that folder; the command that made it makes it again",
            ) from None  # fmt: skip

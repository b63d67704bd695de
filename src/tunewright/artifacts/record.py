"""`record.json`: what a finished stage was, in one file. The runner writes it last: no record, not done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tunewright.artifacts.contents import FileMark
from tunewright.artifacts.files import is_file, read_json, write_json
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import DataError, RunFolderError

RECORD_NAME = "record.json"
SCHEMA_VERSION = 1


class Input(BaseModel):
    """One input of a stage: where it lay, relative to the run folder, and what it was."""

    model_config = ConfigDict(frozen=True)

    path: str
    fingerprint: str
    content: str | None = None
    """what its files were: made again, they may come out different; None in records of before"""


class Provenance(BaseModel):
    """Where, when, with what and at what cost. Never part of the identity."""

    model_config = ConfigDict(frozen=True)

    git_commit: str | None
    git_dirty: bool | None
    packages: dict[str, str]
    python: str
    host: str
    device: str
    threads: int
    seed: int
    argv: list[str]
    start: str
    end: str
    """ISO 8601, UTC"""
    seconds: float
    """working time over all attempts"""
    attempts: int
    """1 + how often the stage was interrupted and went on"""
    cost_usd: float = 0.0


class Record(BaseModel):
    """What a finished stage was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    kind: str
    id: str
    inputs: dict[str, Input]
    external: dict[str, str]
    """identities of what came from outside the run: model weights, source files, package data"""
    section: dict[str, Any]
    code_version: int
    """raised when the stage's code changes what it makes"""
    fingerprint: str
    verdicts: list[Verdict]
    provenance: Provenance
    result: dict[str, Any]
    """the typed result; `ARTIFACTS[kind].load` reads it"""
    files: dict[str, FileMark] = {}
    """what the stage left in its folder, by path: looked at before it is taken again"""


def write_record(folder: Path, record: Record) -> None:
    """Write `record` into `folder`, by rename."""
    write_json(folder / RECORD_NAME, record.model_dump(mode="json"))


def read_record(folder: Path) -> Record | None:
    """Return the record in `folder`, or None when the stage is not done.

    Raises:
        RunFolderError: a record is there but cannot be read; says what to do.
    """
    path = folder / RECORD_NAME
    if not is_file(path):
        return None
    try:
        return Record(**read_json(path))
    except (DataError, ValidationError, TypeError) as error:
        raise RunFolderError(
            f"not a record this version can read: {str(error).splitlines()[0]}",
            where=str(path),
            expected=f"schema version {SCHEMA_VERSION}",
            fix="remove that stage's folder; the run makes it again",
        ) from None

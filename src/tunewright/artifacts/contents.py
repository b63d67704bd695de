"""The files that a stage made, as its record lists them: what is checked before a finished stage is taken again.

A file is known by its size, and by its SHA-256 unless it is very large. What nobody reads again (TensorBoard's copy of
the metrics) is not listed: it may be removed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.fingerprint import fingerprint, sha256_file

HASHED_UP_TO_BYTES = 1 << 30  # 0.7 s of SHA-256 on the machine of docs/log.md (1.5 GB a second)


class FileMark(BaseModel):
    """What one file is known by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int
    sha256: str | None
    """hex; None for a file of more than HASHED_UP_TO_BYTES, of which only the size is compared"""


def file_marks(folder: Path, leave_out: Collection[str] = ()) -> dict[str, FileMark]:
    """Return the files of a stage, by their path in its folder; hidden ones are what a kill left half-written.

    Args:
        folder: of the stage.
        leave_out: names of files and folders in it that are no part of what it made.
    """
    inner = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    listed = (path for path in inner if path.parts[0] not in leave_out and not path.name.startswith("."))
    return {path.as_posix(): _mark(folder / path) for path in listed}


def _mark(path: Path) -> FileMark:
    size = path.stat().st_size
    return FileMark(size_bytes=size, sha256=sha256_file(path) if size <= HASHED_UP_TO_BYTES else None)


def content_of(marks: Mapping[str, FileMark], read_on: Collection[str] = ()) -> str:
    """Return what a stage's files are known by to the stages that read them.

    Args:
        marks: the files of the stage.
        read_on: names of the files and folders among them that are read; none for all.
    """
    read = {name: mark for name, mark in marks.items() if not read_on or name.partition("/")[0] in read_on}
    return fingerprint({name: mark.model_dump() for name, mark in read.items()})


def find_damage(folder: Path, marks: Mapping[str, FileMark]) -> dict[str, str]:
    """Return what is wrong with the files of a finished stage: path -> a few words; nothing where it is whole."""
    found = {name: _damage(folder / name, mark) for name, mark in marks.items()}
    return {name: words for name, words in found.items() if words}


def _damage(path: Path, mark: FileMark) -> str:
    try:
        if not path.is_file():
            return "is gone"
        if (size := path.stat().st_size) != mark.size_bytes:
            return f"has {size:,} bytes, and had {mark.size_bytes:,}"
        return "was altered" if mark.sha256 is not None and sha256_file(path) != mark.sha256 else ""
    except OSError as error:
        return f"cannot be read ({error.strerror})"

"""`started.json`: a stage that was begun and is not done yet: what it is, how often it was tried, how long it worked.

It stands in the stage's folder from the first attempt until the record takes its place. While an attempt works its time
is written there every few seconds, so that even a killed attempt's time is known, less `HEARTBEAT_SECONDS` at the most:
the record counts the working time of all attempts. A file that cannot be read is none: the stage begins anew.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tunewright.artifacts.files import make_folder, read_json, write_json, writing
from tunewright.artifacts.provenance import now
from tunewright.errors import TunewrightError

STARTED_NAME = "started.json"
HEARTBEAT_SECONDS = 2.0


class Attempt(BaseModel):
    """The attempts at one stage so far."""

    model_config = ConfigDict(frozen=True, strict=True)

    fingerprint: str
    start: str
    """when the first attempt began: ISO 8601, UTC"""
    seconds: float = Field(ge=0, allow_inf_nan=False)
    """working time of all attempts"""
    attempts: int = Field(ge=1)

    @field_validator("start")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        datetime.fromisoformat(text)
        return text


def read_attempt(folder: Path) -> Attempt | None:
    """Return what an unfinished stage left of its attempts; None where there is nothing, or nothing readable."""
    try:
        return Attempt.model_validate(read_json(folder / STARTED_NAME))
    except (TunewrightError, ValidationError, OSError):
        return None


def begin_attempt(folder: Path, fingerprint: str) -> Attempt:
    """Prepare a stage's folder: keep what an earlier attempt at the same thing left there, clear everything else.

    Raises:
        RunFolderError, EnvironmentProblem: the folder cannot be written.
    """
    earlier = read_attempt(folder)
    if earlier is None or earlier.fingerprint != fingerprint:
        _clear(folder)
        attempt = Attempt(fingerprint=fingerprint, start=now(), seconds=0.0, attempts=1)
    else:
        attempt = earlier.model_copy(update={"attempts": earlier.attempts + 1})
    make_folder(folder)
    write_json(folder / STARTED_NAME, attempt.model_dump())
    return attempt


def _clear(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def counted(folder: Path, attempt: Attempt) -> Iterator[Callable[[], float]]:
    """Count the time of an attempt into `started.json` while it works; gives the working time of all attempts so far.

    Nothing is raised where it cannot be written: the stage itself will say so.
    """
    began, ended = time.monotonic(), threading.Event()

    def seconds() -> float:
        return attempt.seconds + time.monotonic() - began

    def beat() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            _write(folder, attempt, seconds())

    heart = threading.Thread(target=beat, name="working time", daemon=True)
    heart.start()
    try:
        yield seconds
    finally:
        ended.set()
        heart.join()
        _write(folder, attempt, seconds())


def _write(folder: Path, attempt: Attempt, seconds: float) -> None:
    with contextlib.suppress(TunewrightError, OSError):
        write_json(folder / STARTED_NAME, attempt.model_copy(update={"seconds": seconds}).model_dump())


def end_attempt(folder: Path) -> None:
    """Remove `started.json`: the stage is done."""
    (folder / STARTED_NAME).unlink(missing_ok=True)

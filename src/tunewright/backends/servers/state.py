"""What is known of a running server: one JSON file each in the user's runtime folder, beside its log.

    $XDG_RUNTIME_DIR/tunewright/servers/NAME.json, NAME.log      else under tunewright-UID in the temporary folder

The keeper alone writes the state. What stands in it is believed only while the very processes that it names are alive:
an id without the same start time is somebody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import make_folder, write_json
from tunewright.errors import EnvironmentProblem, UserError

STARTING, UP, DIED = "starting", "up", "died"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(frozen=True)
class State:
    """One server. Processes are `[pid, start time]`, as in `process.Process.key`."""

    name: str
    kind: str
    ref: str
    """the model as the user named it"""
    model: str
    """the name that requests must give"""
    port: int
    folder: str
    temp: str
    """the server's own temporary folder"""
    phase: str = STARTING
    kept: bool = False
    """it outlives the process that started it"""
    note: str = ""
    started: str = ""
    mark: str = ""
    grace_seconds: float = 5.0
    keepers: list[list[Any]] = field(default_factory=list)
    server: list[Any] = field(default_factory=lambda: [0, ""])

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def path(self) -> Path:
        """The state file."""
        return Path(self.folder) / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return Path(self.folder) / f"{self.name}.log"

    def but(self, **changes: Any) -> State:
        """Return a copy with other values."""
        return replace(self, **changes)


def runtime_folder() -> Path:
    """Return the folder of the states, which only this user can read; made when missing.

    Raises:
        EnvironmentProblem: the place belongs to somebody else.
    """
    home = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(home) / "tunewright" if home else Path(tempfile.gettempdir()) / f"tunewright-{os.getuid()}"
    for folder in (base, base / "servers"):
        make_folder(folder)
        found = os.lstat(folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise EnvironmentProblem("belongs to somebody else", where=str(folder), fix="set XDG_RUNTIME_DIR")
        os.chmod(folder, 0o700)
    return base / "servers"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time choose names and ports. The folder itself is locked: no file is left behind."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_state(state: State) -> None:
    """Write a state file, by rename."""
    write_json(state.path, asdict(state))


def read_state(path: Path) -> State | None:
    """Return the state in a file, or None when it is gone or unreadable: it is then no server."""
    try:
        return State(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def all_states(folder: Path) -> list[State]:
    """Return the states in a folder, by name."""
    found = (read_state(path) for path in folder.glob("*.json"))
    return sorted((state for state in found if state), key=lambda state: state.name)


def remove(state: State) -> None:
    """Remove a server's state and log."""
    for path in (state.path, state.log):
        path.unlink(missing_ok=True)


def checked_name(name: str) -> str:
    """Return `name` if it can be a file's.

    Raises:
        UserError: it cannot.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot be a server's name", expected="letters, digits, `.`, `_`, `-`; at most 64")
    return name


def name_for(ref: str) -> str:
    """Return the name that a server of a model gets: the last part of it."""
    last = ref.rstrip("/").rpartition("/")[2].partition("@")[0].removesuffix(".gguf")
    return re.sub(r"[^\w.-]+", "-", last).strip("-._")[:64] or "server"


def log_tail(path: Path, lines: int = 30, most_bytes: int = 64 << 10) -> str:
    """Return the last lines of a log, or "" when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - most_bytes))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])

"""Start a server and wait until it is up.

It fails fast, with the end of its log, when its process ends or the port is taken. `start_server` gives a server that
ends with this process, whatever happens to it; after `keep()` it stays.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from tunewright.backends.servers.keeper import MARK, Order
from tunewright.backends.servers.kinds import HOST, Launch, ServerKind
from tunewright.backends.servers.process import find_process, wait_until
from tunewright.backends.servers.readiness import wait_until_up
from tunewright.backends.servers.running import (
    MARGIN_SECONDS,
    failure,
    has_keeper,
    raise_if_dead,
    stop_server,
    sweep,
)
from tunewright.backends.servers.state import (
    DIED,
    STARTING,
    State,
    checked_name,
    locked,
    log_tail,
    name_for,
    read_state,
    runtime_folder,
)
from tunewright.errors import EnvironmentProblem, UserError

START_SECONDS = 600.0  # a large model on a cold disk
GRACE_SECONDS = 5.0
PORT_TRIES = 3
_PORT_TAKEN = ("address already in use", "port is already in use", "couldn't bind")


@dataclass
class Server:
    """A server that is up. As a context manager it is stopped at the end."""

    state: State
    keeper: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return self.state.url

    @property
    def model(self) -> str:
        """The name that requests must give."""
        return self.state.model

    def keep(self) -> None:
        """Let it outlive this process; `stop_server` ends it."""
        self._say("keep", lambda state: state.kept)
        self.keeper.stdin.close()  # type: ignore[union-attr]
        self.keeper.returncode = 0  # nobody waits for it any more, and Python shall not warn of that
        self.state = self.state.but(kept=True)

    def raise_if_dead(self) -> None:
        """Raise EnvironmentProblem, with the end of the log, when the server has ended."""
        raise_if_dead(self.state)

    def stop(self) -> None:
        """End it with all its descendants; safe to call twice."""
        if self.state.kept:
            return stop_server(read_state(self.state.path) or self.state)
        if self.keeper.stdin and not self.keeper.stdin.closed:
            self.keeper.stdin.close()
        try:
            self.keeper.wait(self.state.grace_seconds + MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            self.keeper.kill()
            self.keeper.wait()
        sweep(read_state(self.state.path) or self.state)

    def _say(self, word: str, is_heard: Callable[[State], bool]) -> None:
        """Tell the keeper, and wait until it has written it down."""
        with suppress(BrokenPipeError):
            self.keeper.stdin.write(f"{word}\n".encode())  # type: ignore[union-attr]
            self.keeper.stdin.flush()  # type: ignore[union-attr]
        if not wait_until(lambda: is_heard(read_state(self.state.path) or self.state), MARGIN_SECONDS):
            raise failure(self.state, "its keeper does not answer")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


# ── start ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def start_server(
    ref: str,
    kind: ServerKind,
    *,
    name: str | None = None,
    port: int | None = None,
    python: str = sys.executable,
    options: Sequence[str] = (),
    wait_seconds: float = START_SECONDS,
    grace_seconds: float = GRACE_SECONDS,
) -> Server:
    """Start a server and wait until it is up.

    Args:
        ref: the model, as the user names it.
        kind: which server.
        name: what to call it; else after the model, with a number where that is taken.
        port: else any that is free.
        python: whose packages hold the server.
        options: more for its command line.
        wait_seconds: how long it may take to be up.
        grace_seconds: how long after SIGTERM what is left is killed.

    Raises:
        UserError: a server of that name runs; the port is taken.
        EnvironmentProblem: not installed, or it did not come up: with the end of its log.
        ModelError: the model is not there, or nothing for this kind.
    """
    kind.argv(Launch(python, "", "", 0))  # before a model is downloaded for it
    files = kind.files(ref)
    for left in reversed(range(PORT_TRIES)):
        server = _spawn(ref, kind, name, files, port, python, options, grace_seconds)
        try:
            wait_until_up(server.state, kind, wait_seconds)
            server._say("up", lambda state: state.phase != STARTING)
        except BaseException as error:
            lost_port = port is None and isinstance(error, EnvironmentProblem) and _lost_port(server.state)
            server.stop()
            if lost_port and left:
                continue
            raise
        return server
    raise AssertionError("unreachable")


def _spawn(
    ref: str,
    kind: ServerKind,
    name: str | None,
    files: str,
    port: int | None,
    python: str,
    options: Sequence[str],
    grace_seconds: float,
) -> Server:
    folder = runtime_folder()
    with locked(folder):
        name = _free_name(folder, ref) if name is None else checked_name(name)
        _make_room(folder, name)
        chosen = _free_port(port)
        argv = kind.argv(Launch(python, files, name, chosen), options)
        mark = secrets.token_hex(8)
        state = State(
            name=name,
            kind=kind.name,
            ref=ref,
            model=files if kind.serves_path else name,
            port=chosen,
            folder=str(folder),
            temp=str(Path(tempfile.gettempdir()) / f"tunewright-server-{mark}"),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            mark=mark,
            grace_seconds=grace_seconds,
        )
        server = Server(state, _keeper(state, argv))
        wait_until(lambda: state.path.exists() or server.keeper.poll() is not None, 30.0)
    return server


def _free_name(folder: Path, ref: str) -> str:
    first = name_for(ref)
    names = (first if number == 1 else f"{first[:60]}-{number}" for number in count(1))
    return next(name for name in names if not _is_used(read_state(folder / f"{name}.json")))


def _is_used(state: State | None) -> bool:
    return state is not None and state.phase != DIED and has_keeper(state)


def _make_room(folder: Path, name: str) -> None:
    """Clear what a dead server of that name left.

    Raises:
        UserError: it is not dead.
    """
    old = read_state(folder / f"{name}.json")
    if old and _is_used(old):
        raise UserError(
            f"a server of that name runs at {old.url}", where=name, fix=f"tw server stop {name}, or give --name"
        )
    if old:
        sweep(old)
    (folder / f"{name}.log").unlink(missing_ok=True)


def _free_port(wanted: int | None) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted or 0))
        except (OSError, OverflowError) as error:
            told = getattr(error, "strerror", None) or str(error)
            raise UserError(
                f"the port cannot be used ({told})", where=f"{HOST}:{wanted}", fix="leave --port out for a free one"
            ) from None
        return int(probe.getsockname()[1])


def _keeper(state: State, argv: list[str]) -> subprocess.Popen[bytes]:
    own = find_process(os.getpid())
    env = {**os.environ, MARK: state.mark, "TMPDIR": state.temp, "PYTHONUNBUFFERED": "1"}
    order = Order(state, argv, env, own.key if own else (os.getpid(), ""))
    handle = os.open(state.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tunewright.backends.servers.keeper", str(state.log)],
            stdin=subprocess.PIPE, stdout=handle, stderr=handle, start_new_session=True, cwd=os.getcwd(),
        )  # fmt: skip
    finally:
        os.close(handle)
    keeper.stdin.write(order.as_json().encode() + b"\n")  # type: ignore[union-attr]
    keeper.stdin.flush()  # type: ignore[union-attr]
    return keeper


def _lost_port(state: State) -> bool:
    """True if somebody took the port between our look and the server's."""
    tail = log_tail(state.log).lower()
    return any(words in tail for words in _PORT_TAKEN)

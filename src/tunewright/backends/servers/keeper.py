"""The keeper of one server: two small processes that stand between us and it, so that nothing of it is left behind.

    owner ──stdin──► outer ──► inner ──► server ──► its workers

The inner one starts the server, and ends it with every descendant when it is told (SIGTERM), when the owner is gone
before it said `keep`, when the server itself ends, or when the outer one was killed. The outer one waits for the inner
one, ends what that left (it was killed), and tidies up. Orphans come to the nearest of the two (subreaper, Linux), so
a server that is killed does not lose its workers. If both are killed at once, the server dies with its parent (Linux),
and the next `tw server` command ends the rest by the mark in their environment.

reads    stdin: one line of JSON (`Order`), then `keep` or the end
writes   the state file, the server's log
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tunewright.backends.servers.process import (
    Process,
    adopt_orphans,
    descendants,
    die_with_parent,
    end_all,
    find_process,
    is_alive,
    reap_children,
)
from tunewright.backends.servers.state import DIED, UP, State, read_state, remove, write_state

MARK = "TUNEWRIGHT_SERVER"
OWNER_CHECK_SECONDS = 1.0
STOPPED, SERVER_DIED, BROKEN = 0, 1, 2


@dataclass(frozen=True)
class Order:
    """What the keeper is told to start. `owner` is (pid, start) of the process that it serves."""

    state: State
    argv: list[str]
    env: dict[str, str]
    owner: tuple[int, str]

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Order:
        """Return the order that a line holds."""
        value = json.loads(text)
        return cls(**{**value, "state": State(**value["state"]), "owner": tuple(value["owner"])})


def main() -> int:
    """Read the order from stdin and keep the server until it ends."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # unbuffered: what comes later is for the inner one
        line = stdin.readline()
    if not line.endswith(b"\n"):  # the owner was killed before it could say what
        Path(sys.argv[1]).unlink(missing_ok=True)
        return 0
    order = Order.from_json(line)
    os.makedirs(order.state.temp, mode=0o700, exist_ok=True)
    adopt_orphans()
    outer = os.getpid()
    inner = os.fork()
    if inner == 0:
        os._exit(_inner(order, outer))
    return _wait_for(inner, order)


def _inner(order: Order, outer: int) -> int:
    try:
        return _Inner(order, outer).run()
    except BaseException:
        with open(order.state.log, "a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
        return BROKEN


# ── the outer one ───────────────────────────────────────────────────────────────────────────────────────────────────


def _wait_for(inner: int, order: Order) -> int:
    os.close(0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: _tell(inner))
    while True:
        pid, status = os.waitpid(-1, 0)  # orphans of a killed inner one are reaped below
        if pid == inner:
            break
    end_all(lambda: descendants([os.getpid()]), 0.0, reap_children)
    _tidy(order, os.waitstatus_to_exitcode(status))
    return 0


def _tell(inner: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(inner, signal.SIGTERM)


def _tidy(order: Order, code: int) -> None:
    """Remove the server's files; state and log of one that was to stay, and died by itself, are left to be read."""
    shutil.rmtree(order.state.temp, ignore_errors=True)
    last = read_state(order.state.path)
    if code == STOPPED or not last or not last.kept:
        remove(order.state)
    elif code != SERVER_DIED:
        write_state(last.but(phase=DIED, note="its keeper was killed"))


# ── the inner one ───────────────────────────────────────────────────────────────────────────────────────────────────


class _Inner:
    def __init__(self, order: Order, outer: int):
        self.order, self.outer = order, outer
        self.told_to_stop = False
        self.state = order.state
        self.exit_code: int | None = None
        self.server = 0

    def run(self) -> int:
        self._listen()
        self._start()
        while not self.told_to_stop and self.exit_code is None and os.getppid() == self.outer:
            self._wait()
        died = self.exit_code is not None and not self.told_to_stop
        if died:
            self._tell_state(phase=DIED, note=f"it ended by itself, {_in_words(self.exit_code)}")
        end_all(self._family, 0.0 if died else self.state.grace_seconds, self._reap)
        while died and not self.state.kept and not self.told_to_stop and os.getppid() == self.outer:
            self._wait()  # the owner reads why, and then lets go
        if os.getppid() != self.outer:
            _tidy(self.order, STOPPED)
        return SERVER_DIED if died else STOPPED

    def _listen(self) -> None:
        adopt_orphans()
        self.wake, writer = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it only wakes
        die_with_parent(signal.SIGTERM)

    def _on_stop(self, *_: object) -> None:
        self.told_to_stop = True

    def _start(self) -> None:
        order = self.order
        with open(order.state.log, "ab") as log:
            try:
                self.child = subprocess.Popen(
                    order.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=order.env,
                    start_new_session=True, preexec_fn=lambda: die_with_parent(signal.SIGKILL),
                )  # fmt: skip
                self.server = self.child.pid
            except OSError as error:
                log.write(f"{order.argv[0]}: {error.strerror}\n".encode())
                self.exit_code = 127  # the shell's code for a command that is not there
        self._tell_state(keepers=[_key(self.outer), _key(os.getpid())], server=_key(self.server))

    def _tell_state(self, **changes: Any) -> None:
        self.state = self.state.but(**changes)
        write_state(self.state)

    def _wait(self) -> None:
        watched = [self.wake] if self.state.kept else [self.wake, 0]
        quiet = None if self.state.kept and sys.platform == "linux" else OWNER_CHECK_SECONDS
        ready = select.select(watched, [], [], quiet)[0]
        if self.wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self.wake, 4096)
        if 0 in ready:
            self._hear(os.read(0, 64))
        if not self.state.kept and not is_alive(self.order.owner):
            self.told_to_stop = True
        self._reap()

    def _hear(self, words: bytes) -> None:
        """The owner said that it is `up` or to `keep` it; or is gone: then its end of the pipe is closed."""
        if b"up" in words:
            self._tell_state(phase=UP)
        if b"keep" in words:
            self._tell_state(kept=True)
        if not words:
            self.told_to_stop = True

    def _reap(self) -> None:
        self.exit_code = reap_children().get(self.server, self.exit_code)

    def _family(self) -> list[Process]:
        return descendants([os.getpid()], groups=[self.server] if self.server else [])


def _key(pid: int) -> list[Any]:
    found = find_process(pid) if pid else None
    return [pid, found.start if found else ""]


def _in_words(code: int | None) -> str:
    if code is not None and code < 0:
        return f"by signal {signal.Signals(-code).name}"
    return f"with exit code {code}"


if __name__ == "__main__":
    sys.exit(main())

"""What runs, and how it is stopped: by its keepers if they live, else by us, down to the last descendant."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from tunewright.backends.servers.keeper import MARK
from tunewright.backends.servers.process import (
    Process,
    descendants,
    end_all,
    find_process,
    is_alive,
    processes,
    wait_until,
)
from tunewright.backends.servers.state import DIED, UP, State, all_states, log_tail, read_state, remove, runtime_folder
from tunewright.errors import EnvironmentProblem, UserError

MARGIN_SECONDS = 10.0  # what a keeper may take for its own part on a busy machine


def servers() -> list[State]:
    """Return all servers of this user. What was up and whose processes are gone is told as died."""
    return [_believed(state) for state in all_states(runtime_folder())]


def _believed(state: State) -> State:
    if state.phase == DIED or has_keeper(state):
        return state
    return state.but(phase=DIED, note=state.note or "its processes are gone")


def has_keeper(state: State) -> bool:
    """True while one of its two keepers runs."""
    return any(is_alive((pid, start)) for pid, start in state.keepers)


def find_server(name: str) -> State:
    """Return the server of a name.

    Raises:
        UserError: there is none; names those there are.
    """
    found = {state.name: state for state in servers()}
    if name not in found:
        raise UserError(f"no server {name!r}", expected=" | ".join(found) or "none runs", fix="tw server status")
    return found[name]


def is_up(state: State) -> bool:
    """True for a server that completes prompts."""
    return state.phase == UP


def raise_if_dead(state: State) -> None:
    """Raise EnvironmentProblem, with the end of the log, when a server has ended."""
    last = read_state(state.path)
    if last is None or last.phase == DIED or not has_keeper(last):
        raise failure(last or state, (last and last.note) or "its keeper is gone")


def failure(state: State, why: str) -> EnvironmentProblem:
    """Return the error that says why a server is not up, with the end of its log."""
    tail = log_tail(state.log)
    told = f"{why}; the end of its log:\n{tail}" if tail else f"{why}; it printed nothing"
    return EnvironmentProblem(told, where=f"server {state.name}")


def stop_server(state: State) -> None:
    """End a server with every descendant, and remove its files."""
    for pid, start in state.keepers:
        if is_alive((pid, start)):
            os.kill(pid, signal.SIGTERM)
            break
    wait_until(lambda: not has_keeper(state), state.grace_seconds + MARGIN_SECONDS)
    sweep(state)


def sweep(state: State) -> None:
    """End what is left of a server whose keepers are gone or do not obey, and remove its files."""
    end_all(lambda: _left_of(state), 0.0)
    shutil.rmtree(state.temp, ignore_errors=True)
    remove(state)


def _left_of(state: State) -> list[Process]:
    """Return the processes of a server: those in its state, all below them, and all that bear its mark."""
    named = [find_process(pid) for pid, start in (*state.keepers, state.server) if is_alive((pid, start))]
    known = [process for process in named if process]
    below = descendants([process.pid for process in known])
    found = {process.pid: process for process in (*known, *below, *_marked(state.mark))}
    found.pop(os.getpid(), None)
    return list(found.values())


def _marked(mark: str) -> list[Process]:
    """Return the processes with a server's mark in their environment (Linux)."""
    if sys.platform != "linux" or not mark:
        return []
    wanted = f"{MARK}={mark}".encode()
    return [
        process for process in processes().values() if not process.is_zombie and wanted in _environment(process.pid)
    ]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or gone
        return []

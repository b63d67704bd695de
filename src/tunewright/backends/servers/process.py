"""Processes as the system lists them: who they are, whose children, and how to end all of them.

A process is named by its id and its start time: ids are given out again, the pair is not. On Linux /proc is read; on
other systems `ps`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Process:
    """One process. `start` is opaque; equal pairs (pid, start) are the same process, also across a reboot."""

    pid: int
    start: str
    parent: int = 0
    group: int = 0
    is_zombie: bool = False

    @property
    def key(self) -> tuple[int, str]:
        """What names it."""
        return self.pid, self.start


def processes() -> dict[int, Process]:
    """Return all processes by id."""
    return _from_proc() if sys.platform == "linux" else _from_ps()


def find_process(pid: int) -> Process | None:
    """Return the process of an id, or None; a zombie is still found."""
    if sys.platform == "linux":
        return _read_stat(pid, _boot_id())
    return _from_ps().get(pid)


def is_alive(key: tuple[int, str]) -> bool:
    """True if that very process runs: not another one of its id, and no zombie."""
    found = find_process(key[0])
    return found is not None and found.key == key and not found.is_zombie


def _from_proc() -> dict[int, Process]:
    boot = _boot_id()
    found = (_read_stat(int(name), boot) for name in os.listdir("/proc") if name.isdecimal())
    return {process.pid: process for process in found if process}


def _read_stat(pid: int, boot: str) -> Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None
    rest = text.rpartition(")")[2].split()  # the name in brackets may hold anything; see proc(5)
    return Process(pid, f"{boot}:{rest[19]}", int(rest[1]), int(rest[2]), rest[0] in "ZX")


def _boot_id() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    return ""


def _from_ps() -> dict[int, Process]:
    command = ["ps", "-axo", "pid=,ppid=,pgid=,stat=,lstart="]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    found = {}
    for line in lines:
        pid, parent, group, state, start = line.split(None, 4)
        found[int(pid)] = Process(int(pid), start.strip(), int(parent), int(group), state.startswith("Z"))
    return found


def descendants(roots: Iterable[int], groups: Iterable[int] = ()) -> list[Process]:
    """Return the living processes below `roots`, and those of process groups; not the roots themselves."""
    table, family, grew = processes(), set(roots), True
    first, groups = set(family), set(groups)
    while grew:
        more = {p.pid for p in table.values() if p.parent in family or p.group in groups} - family
        family |= more
        grew = bool(more)
    return [table[pid] for pid in family - first if pid in table and not table[pid].is_zombie]


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to that very process; nothing happens when it is gone."""
    if is_alive(process.key):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def end_all(
    found: Callable[[], list[Process]], grace_seconds: float, reap: Callable[[], object] = lambda: None
) -> None:
    """End the processes that `found` gives: SIGTERM, then after the grace SIGKILL, until it gives none.

    Those that are started meanwhile are found too.
    """
    asked: set[tuple[int, str]] = set()

    def all_gone() -> bool:
        left = found()
        for process in left:
            if process.key not in asked:
                send(process, signal.SIGTERM)
                asked.add(process.key)
        return not left

    def all_killed() -> bool:
        left = found()
        for process in left:
            send(process, signal.SIGKILL)
        return not left

    if not wait_until(all_gone, grace_seconds, reap):
        wait_until(all_killed, 10.0, reap)


def wait_until(is_so: Callable[[], bool], seconds: float, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Wait until `is_so()`, at most `seconds`; True if it came to be."""
    end, pause = time.monotonic() + seconds, POLL_SECONDS / 4
    while True:
        meanwhile()
        if is_so():
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(0.2, pause * 1.5)


def reap_children() -> dict[int, int]:
    """Take the exit statuses of all children that ended: id -> exit code, below zero for a signal."""
    ended: dict[int, int] = {}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it (Linux); elsewhere process groups have to do."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: signal.Signals) -> None:
    """Ask for a signal when the parent ends (Linux)."""
    _prctl(PR_SET_PDEATHSIG, int(number))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)

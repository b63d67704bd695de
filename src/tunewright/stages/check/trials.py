"""Trials of training, in processes of their own: a host imports what training needs, once, and forks for each trial.

A trial measures the peak of its process, so it must not be this one, and a process of its own spends more time on
imports than on its steps. The host is started early (`warm`), so that it imports while the rows are looked at; further
trials find it warm. It ends with this process.

The host itself is `stages/sft/trial.py`, started by its name. In goes a JSON line, and `go` or `no`; out come an answer
and a line that says how it ended. Half of a trial's time goes by before its first step: so it can be begun while
something else is looked at.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tunewright.artifacts.processes import forks_can_compute
from tunewright.artifacts.trial import ENDED, GO

TRIAL = "tunewright.stages.sft.trial"


@dataclass(frozen=True)
class Ended:
    """How a trial ended: its exit code (minus a signal), its answer, and the last line that it complained with."""

    code: int
    answer: str
    complaint: str


class TooLong(Exception):
    """The trial took longer than it may."""


class Host:
    """The warm process."""

    def __init__(self) -> None:
        self._begun: dict[str, Any] | None = None
        self._unread = 0  # trials that were dropped, and whose end has not been read
        self._spent = False
        self._scratch = tempfile.TemporaryDirectory(prefix="tunewright-trials-", ignore_cleanup_errors=True)
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the host
        self._process = subprocess.Popen(
            [sys.executable, "-m", TRIAL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"},
            start_new_session=True,  # so that it and its trial can be ended together; Ctrl-C is ours to answer
        )

    @property
    def alive(self) -> bool:
        """True while it can be asked."""
        return self._begun is not None or (not self._spent and self._process.poll() is None)

    def begin(self, job: dict[str, Any]) -> None:
        """Let it get ready for a trial, which `ask` or `drop` ends. It uses half of the threads meanwhile."""
        self.drop()
        self._begun = job
        self._write(json.dumps({**job, "scratch": self._scratch.name}))

    def drop(self) -> None:
        """Take back a trial that was begun and not asked for. It ends when it is ready, and nobody waits for that."""
        if self._begun is None:
            return
        self._begun = None
        if forks_can_compute():
            self._unread += 1
            self._write("no")
        else:
            self.end()

    def ask(self, job: dict[str, Any], most_seconds: float) -> Ended:
        """Let it make a trial, the one that was begun or another.

        Raises:
            TooLong: it took more than `most_seconds`, and was ended.
        """
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.end()

        timer = threading.Timer(most_seconds, stop)
        timer.start()
        try:
            if self._begun != job:
                self.begin(job)
            self._begun, self._spent = None, not forks_can_compute()
            self._write(GO)
            for _ in range(self._unread):
                self._read()
            self._unread = 0
            answer, code = self._read()
        except BaseException:
            self.end()  # what it answers now would be taken for the answer to the next
            raise
        finally:
            timer.cancel()
        if late.is_set():
            self._process.wait()
            raise TooLong
        return Ended(self._process.wait() if code is None else code, answer, self._complaint())

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _read(self) -> tuple[str, int | None]:
        """Return the answer of a trial and its exit code; None where the host is gone."""
        assert self._process.stdout is not None
        answer = ""
        for line in self._process.stdout:
            if line.startswith(ENDED):
                return answer, int(line.removeprefix(ENDED))
            answer = line.strip()
        return answer, None

    def _complaint(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

    def end(self) -> None:
        """End it and its trial."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._scratch.cleanup()


_host: Host | None = None


def warm() -> Host:
    """Return the host, started now where there is none."""
    global _host
    if _host is None or not _host.alive:
        if _host is None:
            atexit.register(_end)
        else:
            _host.end()
        _host = Host()
    return _host


def drop() -> None:
    """Take back a trial that was begun and not asked for."""
    if _host is not None:
        _host.drop()


def _end() -> None:
    if _host is not None:
        _host.end()

"""Commands in processes of their own that need not import torch and its like first: forks of `warm_process.py`.

Seven seconds of processor are saved each time. They are real processes, with their own streams, signals and exit codes;
what a start itself costs, or imports, is tested with a Python that starts cold.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path


class WarmPython:
    """Starts commands; one a test process (`warm_python` in conftest.py)."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_process.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._unread, self._begun, self._codes = b"", [], {}

    def run(self, *argv, cwd=None, env=None, timeout=600):
        """As `subprocess.run` of a Python with these arguments, both streams captured as text."""
        started = self.start(*argv, cwd=cwd, env=env)
        try:
            out, err = started.communicate(timeout)
        finally:
            started.send_signal(signal.SIGKILL)  # what took too long
        return subprocess.CompletedProcess(argv, started.returncode, out, err)

    def start(self, *argv, cwd=None, env=None):
        """As `subprocess.Popen` of a Python with these arguments."""
        streams = [tempfile.NamedTemporaryFile() for _ in range(2)]  # noqa: SIM115  # read by `communicate`
        out, err = (stream.name for stream in streams)
        job = {"argv": [*map(str, argv)], "cwd": str(cwd or os.getcwd()), "env": {**(env or os.environ)}}
        self._process.stdin.write((json.dumps({**job, "out": out, "err": err}) + "\n").encode())
        while not self._begun:
            self._read(60)
        return Started(self, self._begun.pop(), *streams)

    def code_of(self, pid, seconds):
        """Return the exit code of a process, minus a signal; None if it has not ended after `seconds`."""
        end = time.monotonic() + seconds
        while pid not in self._codes and self._read(max(0.0, end - time.monotonic())):
            pass
        return self._codes.get(pid)

    def _read(self, seconds):
        """Take in what it tells within `seconds`; False if that is nothing."""
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return False
        told = os.read(self._process.stdout.fileno(), 1 << 16)
        assert told, "the warm Python has ended"
        *lines, self._unread = (self._unread + told).split(b"\n")
        for word, pid, *code in map(bytes.split, lines):
            if word == b"begun":
                self._begun.append(int(pid))
            else:
                self._codes[int(pid)] = int(code[0])
        return True

    def end(self):
        """End it, not what it started."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Started:
    """What tests use of `subprocess.Popen`; its streams are files."""

    def __init__(self, warm, pid, out, err):
        self.pid, self.returncode = pid, None
        self._warm, self._streams = warm, (out, err)

    def poll(self):
        """Return the exit code, or None."""
        if self.returncode is None:
            self.returncode = self._warm.code_of(self.pid, 0.0)
        return self.returncode

    def wait(self, timeout=600):
        """Return the exit code once it has ended."""
        if self.returncode is None:
            self.returncode = self._warm.code_of(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return self.returncode

    def communicate(self, timeout=600):
        """Wait for its end; return what it wrote."""
        self.wait(timeout)
        texts = []
        for stream in self._streams:
            with stream:
                texts.append(stream.read().decode())
        return tuple(texts)

    def send_signal(self, number):
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

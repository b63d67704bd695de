"""One worker, seen from outside: start it, give it a run, keep the time, end it.

For each run three files are made here and handed over: the job, a pipe for the answer, a pipe for what is printed. The
worker itself never reads them (see `zygote.py`). What comes back is bytes that may hold anything; `reading.py` tells
what they mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

from tunewright.graders.sandbox import visible
from tunewright.graders.sandbox.levels import Limits
from tunewright.graders.sandbox.namespaces import PACKAGES
from tunewright.graders.sandbox.removal import remove_tree
from tunewright.graders.sandbox.zygote import END, ENDED, READY, RUN

START_SECONDS = 30.0  # half a second is usual; a loaded machine may take long
END_SECONDS = 10.0
TAIL_BYTES = 4_000
_BOOT = (
    "import sys; sys.path.append({root!r}); import json; from tunewright.graders.sandbox.zygote import main;"
    " main(json.loads(sys.argv[1]))"
)

Stop = Literal["ended", "complete", "timeout", "too_long", "printed_too_much", "worker_died"]


class MissingLayer(Exception):
    """A layer cannot be had on this machine: (layer, why)."""


class WorkerFailed(Exception):
    """The worker does not answer; it has been killed."""


@dataclass(frozen=True)
class Reply:
    """What a run left behind.

    Args:
        started: whether the code itself was reached.
        answer: bytes of the answer, after the worker's own line.
        printed: the end of what was printed.
        status: exit code, negative for a signal; None if it was ended from outside.
        stop: why the run was over.
        seconds: from handing over the job.
    """

    started: bool
    answer: bytes
    printed: bytes
    status: int | None
    stop: Stop
    seconds: float

    @classmethod
    def of_failure(cls, why: str) -> Reply:
        """Return the reply of a run that never reached the code."""
        return cls(False, why.encode(errors="replace"), b"", None, "worker_died", 0.0)


class Worker:
    """A warm worker. Not thread-safe: one run at a time.

    Args:
        limits: bounds of each run.
        layers: what of `levels.LAYERS` is asked for.
        packages: folders of further Python packages that the code may import.

    Raises:
        MissingLayer: a layer cannot be had. WorkerFailed: it does not start.
    """

    def __init__(self, limits: Limits, layers: frozenset[str], packages: tuple[Path, ...] = ()):
        self.limits = limits
        self.owner = os.getpid()
        self.folder: str | None = None
        try:
            with contextlib.ExitStack() as on_failure:
                if "namespaces" not in layers:
                    self.folder = _folder_with_links(packages)
                    on_failure.callback(remove_tree, self.folder)
                self._start(layers, packages)
                on_failure.pop_all()
        except OSError as error:
            raise WorkerFailed(f"the worker does not start: {error}") from None
        self._greet()

    def _start(self, layers: frozenset[str], packages: tuple[Path, ...]) -> None:
        self.control, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as on_failure:
            on_failure.callback(self.control.close)
            boot = _BOOT.format(root=str(visible.source_root()))
            self.process = subprocess.Popen(
                [*visible.interpreter(), "-c", boot, self._config(theirs.fileno(), layers, packages)],
                env=visible.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                cwd="/",
            )
            on_failure.pop_all()

    def _config(self, control: int, layers: frozenset[str], packages: tuple[Path, ...]) -> str:
        whole, opened = (visible.readable(), []) if "namespaces" in layers else visible.apart()
        how = {
            "layers": sorted(layers),
            "limits": asdict(self.limits),
            "readable": whole,
            "listed": opened,
            "packages": [str(path) for path in packages],
            "folder": self.folder,
        }
        return json.dumps({"control": control, "how": how, "hidden": visible.hidden()})

    def _greet(self) -> None:
        self.control.settimeout(START_SECONDS)
        try:
            with self.control.makefile("rb") as file:
                hello = file.readline(10_000)
        except OSError as error:
            hello = str(error).encode()
        report = _parsed(hello)
        if report is None:
            said = self._last_words()
            self.kill()
            raise WorkerFailed(f"the worker does not start: {said or hello.decode(errors='replace')}")
        if report:
            self.kill()
            raise MissingLayer(report["missing"], report["why"])
        self.control.settimeout(END_SECONDS)

    def _last_words(self) -> str:
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        return (self.process.stderr.read() or b"").decode(errors="replace")[-2000:].strip()

    def run(self, job: bytes, answers: int | None, timeout_seconds: float) -> Reply:
        """Run one job in a new child of the worker.

        Args:
            job: JSON that `child.py` reads.
            answers: number of lines after which the run is over; None: it is over when the child is.
            timeout_seconds: wall clock, from when the code is reached.

        Raises:
            WorkerFailed: the worker died or does not answer, before the code was reached.
        """
        began = time.monotonic()
        try:
            with contextlib.ExitStack() as files:
                answer, their_answer = _pipe(files)
                printed, their_printed = _pipe(files)
                reader = _Reader(answer.fileno(), printed.fileno(), self.limits, answers)
                self._hand_over(timeout_seconds, _as_file(job, files), their_answer, their_printed)
                stop = reader.read(timeout_seconds)
                status, well = self._end(patient=stop == "ended")
                reader.drain()
        except OSError as error:
            self.kill()
            raise WorkerFailed(f"the worker does not answer: {error}") from None
        except BaseException:
            self.kill()  # interrupted: what the worker does now is unknown
            raise
        seconds = time.monotonic() - began
        stop = stop if well else "worker_died"
        return Reply(reader.started, bytes(reader.answer), bytes(reader.printed), status, stop, seconds)

    def _hand_over(self, timeout_seconds: float, *files: IO[bytes]) -> None:
        fds = [file.fileno() for file in files]
        socket.send_fds(self.control, [RUN.pack(min(int(timeout_seconds), 1 << 30) + 2)], fds)
        for file in files:
            file.close()  # the answer has come to its end when nobody can write it any more

    def _end(self, patient: bool) -> tuple[int | None, bool]:
        """Have the rest of the run killed; return its exit code, and whether the worker is well."""
        nonce = secrets.token_bytes(16)
        try:
            self.control.sendall(END.pack(patient, nonce))
            echo, status = ENDED.unpack(self.control.recv(ENDED.size, socket.MSG_WAITALL))
        except (OSError, struct.error):
            echo, status = b"", -1
        if echo != nonce:
            self.kill()
            return None, False
        return (os.waitstatus_to_exitcode(status) if status >= 0 else None), True

    @property
    def usable(self) -> bool:
        """Whether it can take another run, in this process."""
        return self.process.poll() is None and self.owner == os.getpid() and self.control.fileno() >= 0

    def kill(self) -> None:
        """End the worker and all that runs in it, and wait for that."""
        self.control.close()  # it ends when it sees this
        if self.owner != os.getpid():
            return
        try:
            self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its first process ends with it, and all others with that
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()
        if self.folder is not None:
            remove_tree(self.folder)


class _Reader:
    """Reads the two pipes of a run until it is over. Keeps all of the answer, and the end of what was printed."""

    def __init__(self, answer_fd: int, printed_fd: int, limits: Limits, answers: int | None):
        self.answer_fd, self.printed_fd = answer_fd, printed_fd
        self.limits, self.answers_wanted = limits, answers
        self.started, self.answer, self.printed = False, bytearray(), bytearray()
        self.answers = self.printed_bytes = 0

    def read(self, timeout_seconds: float) -> Stop:
        """Read until the run is over; return why it is."""
        deadline = time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.answer_fd, selectors.EVENT_READ)
            selector.register(self.printed_fd, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                was_started = self.started
                for key, _ in selector.select(left):
                    data = os.read(key.fd, 1 << 16)
                    if not data and key.fd == self.printed_fd:
                        selector.unregister(self.printed_fd)
                        continue
                    stop = self._take_answer(data) if key.fd == self.answer_fd else self._take_printed(data)
                    if stop:
                        return stop
                if self.started and not was_started:
                    deadline = time.monotonic() + timeout_seconds
        return "timeout"

    def drain(self) -> None:
        """Read what was printed last; call it when nobody can print any more."""
        os.set_blocking(self.printed_fd, False)
        with contextlib.suppress(BlockingIOError):  # a worker that died leaves its own end open for a moment
            self._take_printed(os.read(self.printed_fd, 1 << 16))

    def _take_answer(self, data: bytes) -> Stop | None:
        if not data:
            return "ended"
        self.answer += data
        self.answers += data.count(b"\n")
        if not self.started and self.answer.startswith(READY):
            del self.answer[: len(READY)]
            self.answers -= 1
            self.started = True
        if len(self.answer) > self.limits.value_bytes:
            return "too_long"
        wanted = self.answers_wanted
        return "complete" if self.started and wanted is not None and self.answers >= wanted else None

    def _take_printed(self, data: bytes) -> Stop | None:
        self.printed_bytes += len(data)
        self.printed += data
        del self.printed[:-TAIL_BYTES]
        return "printed_too_much" if self.printed_bytes > self.limits.printed_bytes else None


def _parsed(hello: bytes) -> dict[str, str] | None:
    try:
        report: dict[str, str] = json.loads(hello)
        return report
    except ValueError:
        return None


def _pipe(files: contextlib.ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Return the ends of a new pipe, to read and to write, which `files` will close. Raises OSError."""
    read, write = os.pipe()
    return files.enter_context(open(read, "rb", buffering=0)), files.enter_context(open(write, "wb", buffering=0))


def _as_file(data: bytes, files: contextlib.ExitStack) -> IO[bytes]:
    """Return an open file that holds `data`, without a name, which `files` will close. Raises OSError."""
    in_memory = hasattr(os, "memfd_create")
    file = os.fdopen(os.memfd_create("job"), "w+b") if in_memory else tempfile.TemporaryFile()  # noqa: SIM115
    files.enter_context(file)
    file.write(data)
    file.seek(0)
    return file


def _folder_with_links(packages: Sequence[Path]) -> str:
    """Return a new folder with a link to each package, by which it can be imported and its neighbours cannot."""
    folder = tempfile.mkdtemp(prefix="tunewright-")
    links = f"{folder}{PACKAGES}"
    os.mkdir(links)
    for path in packages:
        os.symlink(path, f"{links}/{path.name}")
    return folder

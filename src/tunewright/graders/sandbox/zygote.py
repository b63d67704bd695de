"""The worker: started once, set up once, then one forked child for each run.

It never sees what it runs: the caller passes three open files with each request (the job, the answer, what is printed),
and only the child reads and writes them. So nothing of one run is left in memory for the next. The caller keeps the
time and says when a run is over; then everything that is left of it is killed, and the child's exit status goes back,
under the number that came with the request to end and that no child has ever seen.

    python -P -s -S -c "…; main(…)" CONFIG    reads requests from the socket that CONFIG names; see `worker.py`
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from typing import Any, NoReturn

from tunewright.graders.sandbox import child, kernel, landlock, namespaces, seccomp
from tunewright.graders.sandbox.confine import ON_LINUX, Confinement, LayerMissing, confine, reason
from tunewright.graders.sandbox.removal import remove_tree

RUN = struct.Struct("<I")  # seconds of processor time
END = struct.Struct("<?16s")  # may the child end by itself; a nonce
ENDED = struct.Struct("<16si")  # the nonce; wait status
# A child has closed its files when this begins: what is left of it is quick, unless the machine is busy.
PATIENCE_SECONDS = 2.0
HIDING = ("namespaces", "landlock", "seccomp")
"""layers that could keep the library from being read, the likeliest first"""
MAX_FD = 256  # the worker never has more than a dozen
READY = b"ready\n"
# Loaded before the fork, so that answers which import these do not pay for them each time.
PRELOADED = (
    "bisect collections copy dataclasses datetime decimal enum fractions functools heapq itertools math operator "
    "random re statistics string threading traceback types typing"
)


def main(config: dict[str, Any]) -> NoReturn:
    """Set up, tell the caller how that went, and serve until it hangs up."""
    control = socket.socket(fileno=fcntl.fcntl(config["control"], fcntl.F_DUPFD_CLOEXEC, 10))
    os.close(config["control"])
    how = Confinement(**{**config["how"], "layers": frozenset(config["how"]["layers"])})
    try:
        _set_up(how, config["hidden"])
    except LayerMissing as missing:
        layer, why = missing.args
        control.sendall(json.dumps({"missing": layer, "why": why}).encode() + b"\n")
        os._exit(1)
    control.sendall(b"{}\n")
    _forget_ourselves(how)
    gc.collect()
    gc.freeze()  # children need not look through, and so copy, what is here already
    while True:
        _serve_one(control, how)


def _set_up(how: Confinement, hidden: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in PRELOADED.split():
        __import__(name)
    if not ON_LINUX:
        missing = sorted(how.layers - {"rlimits"})
        if missing:
            raise LayerMissing(missing[0], "needs Linux")
        return
    _invite_the_oom_killer()
    if "namespaces" in how.layers:
        try:
            namespaces.enter()
            namespaces.build_root(how.readable, hidden, how.packages)
        except (OSError, KeyError) as error:
            raise LayerMissing("namespaces", reason(error)) from None
    else:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.bound_capabilities()
    _try_out(how)


def _invite_the_oom_killer() -> None:
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # then it chooses as it always does


def _try_out(how: Confinement) -> None:
    """Let a child confine itself and import something. Raises LayerMissing, as the child would."""
    for layer, probe in (("landlock", landlock.abi), ("seccomp", seccomp.packed)):
        if layer in how.layers:
            try:
                probe()
            except OSError as error:
                raise LayerMissing(layer, reason(error)) from None
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            with _Folder(how) as folder:
                confine(how, folder, cpu_seconds=10)
            __import__("colorsys")
        except LayerMissing as missing:
            os.write(write, json.dumps(missing.args).encode())
        except BaseException as error:
            hiding = next((layer for layer in HIDING if layer in how.layers), "rlimits")
            os.write(write, json.dumps([hiding, f"the standard library cannot be imported: {error!r}"]).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    if said:
        raise LayerMissing(*json.loads(said))


def _forget_ourselves(how: Confinement) -> None:
    """Leave to the code that will run here nothing but the standard library and the packages it was promised."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tunewright"]:
        del sys.modules[name]
    sys.path.pop()  # where this package lies
    sys.path.append(how.package_folder)
    sys.argv[:] = [""]
    sys.orig_argv[:] = [""]


class _Folder:
    """The folder of one run: WORK where there are namespaces, else a temporary one that is removed afterwards."""

    def __init__(self, how: Confinement):
        self.path = namespaces.WORK if "namespaces" in how.layers else tempfile.mkdtemp(dir=how.folder)

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        if self.path != namespaces.WORK:
            remove_tree(self.path)


def _serve_one(control: socket.socket, how: Confinement) -> None:
    request, fds, _, _ = socket.recv_fds(control, RUN.size, 3)
    if not request:
        os._exit(0)
    (cpu_seconds,) = RUN.unpack(request)
    with _Folder(how) as folder:
        pid = os.fork()
        if not pid:
            _run_child(how, folder, cpu_seconds, *fds)
        for fd in fds:
            os.close(fd)
        request = control.recv(END.size, socket.MSG_WAITALL)
        patient, nonce = END.unpack(request) if request else (False, b"")
        status = _end_everything(pid, patient, "namespaces" in how.layers)
    if not request:
        os._exit(0)
    control.sendall(ENDED.pack(nonce, status))


def _run_child(how: Confinement, folder: str, cpu_seconds: int, job: int, answer: int, printed: int) -> NoReturn:
    """Become the process that runs hostile code. The caller believes what it says only from READY on, as an answer."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        job, answer, printed = (fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (job, answer, printed))
        for fd, number in ((printed, 1), (printed, 2), (answer, 3), (job, 4)):
            os.dup2(fd, number)
        os.closerange(5, MAX_FD)
        confine(how, folder, cpu_seconds)
        with open(4, "rb") as file:
            task = json.loads(file.read())
        os.write(3, READY)
    except BaseException as error:
        os.write(3, repr(error).encode())
        os._exit(1)
    child.run(task, 3)


def _end_everything(pid: int, patient: bool, in_namespace: bool) -> int:
    """Kill whatever is left of a run and reap it; return the wait status of its first process if that ended by itself.

    It is -1 if it had to be killed.
    """
    deadline = time.monotonic() + (PATIENCE_SECONDS if patient else 0)
    status = -1
    while time.monotonic() < deadline:
        done, found = os.waitpid(pid, os.WNOHANG)
        if done:
            status = found
            break
        time.sleep(0.0005)
    while True:
        _kill_all(pid, in_namespace)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return status


def _kill_all(first: int, in_namespace: bool) -> None:
    for pid in [-1] if in_namespace else [-first, *_children()]:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended by itself
            os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    """Return the processes that are ours: orphans of a run come to the worker, which is their subreaper."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []

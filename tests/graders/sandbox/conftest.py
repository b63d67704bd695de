"""Sandboxes that tests share, things worth stealing, and the processes that are there."""

import os
import socket
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from tunewright.graders.sandbox import Level, Limits, Sandbox, available_level
from tunewright.graders.sandbox.worker import Worker

SMALL = Limits(memory_bytes=256 << 20, disk_bytes=8 << 20, workers=1)


@pytest.fixture(scope="session")
def full():
    """A sandbox of one worker at full isolation, small enough that filling it takes no time."""
    level, why = available_level()
    if level < Level.FULL:
        pytest.skip(f"this machine does not reach full isolation: {why}")
    with Sandbox(SMALL, require=Level.FULL) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def sandbox():
    """A sandbox of one worker at the best isolation there is, for what must work at any."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        best = Sandbox(SMALL)
    with best:
        yield best


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """What attacks are after: sockets that listen on the loopback, a file of the user, the process that grades."""
    folder = tmp_path_factory.mktemp("target")
    secret = folder / "secret.txt"
    secret.write_text("a secret of the user")
    secret.chmod(0o666)
    folder.chmod(0o777)
    listening = {
        "tcp": socket.create_server(("127.0.0.1", 0)),
        "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "unix": socket.socket(socket.AF_UNIX),
        "abstract": socket.socket(socket.AF_UNIX),
    }
    abstract = f"\0tunewright-{os.getpid()}"
    listening["udp"].bind(("127.0.0.1", 0))
    listening["unix"].bind(str(folder / "socket"))
    listening["abstract"].bind(abstract)
    for name in ("unix", "abstract"):
        listening[name].listen()
    os.environ["TUNEWRIGHT_CANARY"] = "a secret of the environment"
    yield {
        "tcp": listening["tcp"].getsockname()[1],
        "udp": listening["udp"].getsockname()[1],
        "unix": str(folder / "socket"),
        "abstract": abstract,
        "secret": str(secret),
        "home": str(Path.home()),
        "grader": os.getpid(),
        "python": sys.executable,
        "packages": sysconfig.get_path("purelib"),
    }
    del os.environ["TUNEWRIGHT_CANARY"]
    assert secret.read_text() == "a secret of the user"
    for name, server in listening.items():
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            assert not (server.recv(10) if name == "udp" else server.accept()), name


def warm_worker(sandbox: Sandbox) -> Worker:
    """Return the idle worker of a sandbox of one, started where a run before ended it (a busy machine, no memory)."""
    for _ in range(3):
        if sandbox._idle:
            break
        assert sandbox.run_python("def f(): return 1", "f", [], 5.0).value == 1
    (worker,) = sandbox._idle
    return worker


def outlasting(sandbox: Sandbox, run: Callable[[], None]) -> Worker:
    """Return the worker that did `run` and is idle again; repeats it where a busy machine had the worker replaced."""
    for _ in range(3):
        worker = warm_worker(sandbox)
        run()
        if worker in sandbox._idle:
            return worker
    raise AssertionError("no worker is idle again after this run")


def alive(pid: int) -> bool:
    """True for a process that is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until_dead(pids: Collection[int], seconds: float) -> None:
    """Wait until none of these processes is alive."""
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def descendants(root: int) -> dict[int, str]:
    """Every process below `root`, by its number; those that have ended do not count."""
    parents: dict[int, tuple[int, str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if words[0] != "Z":
            parents[int(folder.name)] = (int(words[1]), command)
    found: dict[int, str] = {}
    below = {root}
    while below:
        below = {pid for pid, (parent, _) in parents.items() if parent in below} - set(found)
        found |= {pid: parents[pid][1] for pid in below}
    return found

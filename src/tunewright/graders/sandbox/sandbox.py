"""The door: a pool of warm workers, the level of isolation they reach, and functions that run code in them."""

from __future__ import annotations

import json
import os
import threading
import warnings
import weakref
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tunewright.errors import EnvironmentProblem
from tunewright.graders.sandbox.levels import LAYERS, Level, Limits, Outcome

if TYPE_CHECKING:
    from tunewright.graders.sandbox.worker import Reply, Worker


class Sandbox:
    """Runs untrusted code. Any number of threads may use one; close it, or leave its `with`, to end its processes.

    Args:
        limits: bounds of each run.
        require: the least level that will do.
        packages: import names of installed packages that the code may use beside the standard library.
        without: layers that shall not be used, from `levels.LAYERS`.

    Raises:
        EnvironmentProblem: the machine does not reach `require`, or no worker starts. A level below FULL that is not
            asked for with `without` is told in a RuntimeWarning.
    """

    def __init__(
        self,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        require: Level | None = None,
        packages: Sequence[str] = (),
        without: Collection[str] = (),
    ):
        if os.name != "posix":
            raise EnvironmentProblem("code cannot be run safely on this system", expected="Linux, or macOS with less")
        from tunewright.graders.sandbox.visible import package_folders

        self.limits = limits
        self.layers = frozenset(LAYERS) - frozenset(without)
        self.missing = {layer: "switched off" for layer in LAYERS if layer in without}
        """layer -> why it is not used"""
        self._packages = package_folders(packages)
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(limits.workers or os.cpu_count() or 1)
        self._finalizer = weakref.finalize(self, _kill_all, self._idle)
        self._idle.append(self._first_worker())
        self.require(require)
        self._say_what_is_missing(frozenset(without))

    @property
    def level(self) -> Level:
        """The level that is reached."""
        return Level.of_layers(self.layers)

    def describe(self) -> dict[str, Any]:
        """Return level, layers and why there are not more, as they belong into a record."""
        return {"level": self.level.name.lower(), "layers": sorted(self.layers), "missing": dict(self.missing)}

    def run_python(self, source: str, entry: str, args: Sequence[Any], timeout_seconds: float) -> Outcome:
        """Run `source`, then `entry(*args)`, and return what that returns.

        Args:
            source: Python; may do anything.
            entry: a function in it, or `Class.method` for a method of a new object.
            args: JSON values.
            timeout_seconds: wall clock. Processor time is bounded by two seconds more.
        """
        return self.run_calls(source, entry, [args], timeout_seconds)[0]

    def run_calls(
        self, source: str, entry: str, calls: Sequence[Sequence[Any]], timeout_seconds: float
    ) -> list[Outcome]:
        """Run `source` once and call `entry` with each of `calls`; return an outcome for each.

        The time is for all of them together; waiting for a free worker, or for a new one, does not count. Where a call
        ends the process, the next ones get a new one.
        """
        from tunewright.graders.sandbox.reading import read_calls

        outcomes: list[Outcome] = []
        seconds_left = timeout_seconds
        while left := list(calls[len(outcomes) :]):
            job = {"source": source, "entry": entry, "calls": [list(args) for args in left]}
            refused = self._refused(source, seconds_left)
            if refused:
                return outcomes + [refused] * len(left)
            reply = self._run(job, len(left), seconds_left)
            seconds_left -= reply.seconds
            outcomes += read_calls(reply, len(left))
        return outcomes

    def run_script(self, source: str, stdin: str, timeout_seconds: float) -> Outcome:
        """Run `source` as a script that reads `stdin`; the value is what it prints to stdout."""
        from tunewright.graders.sandbox.reading import read_script

        refused = self._refused(source, timeout_seconds)
        return refused or read_script(self._run({"source": source, "stdin": stdin}, None, timeout_seconds))

    def close(self) -> None:
        """End all workers; the sandbox can be used again, which starts new ones."""
        with self._lock:
            _kill_all(self._idle)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refused(self, source: str, seconds_left: float) -> Outcome | None:
        size = len(source.encode(errors="surrogatepass"))
        if size > self.limits.source_bytes:
            return Outcome.failed("source_too_large", f"{size} bytes of source; at most {self.limits.source_bytes}")
        if seconds_left <= 0:
            return Outcome.failed("timeout", "no time was left for it")
        return None

    def _run(self, job: Mapping[str, Any], answers: int | None, timeout_seconds: float) -> Reply:
        """Run a job in some worker; if the worker fails before the code is reached, once more in another one."""
        from tunewright.graders.sandbox.worker import MissingLayer, Reply, WorkerFailed

        try:
            data = json.dumps(job).encode()
        except (TypeError, ValueError, RecursionError) as error:
            return Reply.of_failure(f"the arguments are no JSON: {error}")
        reply = Reply.of_failure("")
        with self._slots:
            for _ in range(2):
                try:
                    worker = self._take()
                    reply = worker.run(data, answers, timeout_seconds)
                except (WorkerFailed, MissingLayer) as error:
                    reply = Reply.of_failure(": ".join(map(str, error.args)))
                    continue
                if reply.started:
                    self._give_back(worker)
                    break
                worker.kill()  # it may be that which is broken
        return reply

    def _take(self) -> Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.usable:
                    return worker
                worker.kill()
        return self._new_worker()

    def _give_back(self, worker: Worker) -> None:
        if worker.usable:
            with self._lock:
                self._idle.append(worker)
        else:
            worker.kill()

    def _new_worker(self) -> Worker:
        from tunewright.graders.sandbox.worker import Worker

        return Worker(self.limits, self.layers, self._packages)

    def _first_worker(self) -> Worker:
        """Start a worker with as many layers as the machine has."""
        from tunewright.graders.sandbox.worker import MissingLayer, WorkerFailed

        while True:
            try:
                return self._new_worker()
            except MissingLayer as missing:
                layer, why = missing.args
                if layer not in self.layers:
                    raise EnvironmentProblem(f"code cannot be run: {layer}: {why}") from None
                self.layers -= {layer}
                self.missing[layer] = why
            except WorkerFailed as error:
                raise EnvironmentProblem(f"code cannot be run: {error}") from None

    def require(self, least: Level | None) -> None:
        """Raise EnvironmentProblem, and end all workers, if the level is below `least`."""
        if least is None or self.level >= least:
            return
        self.close()
        raise EnvironmentProblem(
            f"untrusted code would run at level `{self.level.name.lower()}` ({self.why_not_more})",
            expected=f"level `{least.name.lower()}` or more",
            fix="run where nothing is missing, or require less; docs/sandbox.md says what each level stops",
        )

    @property
    def why_not_more(self) -> str:
        """What is missing, and why; "" at FULL."""
        return "; ".join(f"{layer}: {reason}" for layer, reason in self.missing.items())

    def _say_what_is_missing(self, without: frozenset[str]) -> None:
        if set(self.missing) - without:
            told = f"untrusted code runs at level `{self.level.name.lower()}`, not `full`: {self.why_not_more}"
            warnings.warn(told, RuntimeWarning, stacklevel=3)


def _kill_all(workers: list[Worker]) -> None:
    while workers:
        workers.pop().kill()


@cache
def shared_sandbox(require: Level | None = None, packages: tuple[str, ...] = ()) -> Sandbox:
    """Return the sandbox that all graders with these wishes share; it ends with the process. Raises as Sandbox does."""
    return Sandbox(require=require, packages=packages)


@cache
def available_level() -> tuple[Level, str]:
    """Return the level that this machine reaches, and why not more ("" at FULL). Starts a worker the first time."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            sandbox = Sandbox()
    except EnvironmentProblem as problem:
        return Level.NONE, problem.seen
    sandbox.close()
    return sandbox.level, sandbox.why_not_more

"""What a sandbox promises: its limits, the levels of isolation, and what comes out of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

LAYERS = ("rlimits", "namespaces", "landlock", "seccomp")
"""What a machine may lack, from the most common to the least."""

Kind = Literal[
    "ok", "timeout", "memory", "crash", "forbidden", "protocol", "exception", "source_too_large", "sandbox_failed"
]
"""How a run ended; `sandbox_failed` is our fault, all others but `ok` are the code's."""


class Level(IntEnum):
    """How far code is shut in. Each level includes those before it.

    NONE: it cannot be run at all. PROCESS: a process of its own, killed on time, with an empty environment. RLIMITS:
    bounded processor time, memory, file size, open files and threads. NAMESPACES: a read-only root with nothing but
    Python in it, no network, no sight of other processes. FULL: Landlock and a list of allowed system calls on top.
    """

    NONE = 0
    PROCESS = 1
    RLIMITS = 2
    NAMESPACES = 3
    FULL = 4

    @classmethod
    def of_layers(cls, layers: frozenset[str]) -> Level:
        """Return the level that `layers` reach; a layer above a missing one does not count."""
        if "rlimits" not in layers:
            return cls.PROCESS
        if "namespaces" not in layers:
            return cls.RLIMITS
        return cls.FULL if {"landlock", "seccomp"} <= layers else cls.NAMESPACES


@dataclass(frozen=True)
class Limits:
    """Bounds of one run. The defaults are those that OpenAI once published for its Python graders.

    Args:
        memory_bytes: address space of the process (RLIMIT_AS).
        disk_bytes: its folder, a tmpfs where there are namespaces, else the largest file (RLIMIT_FSIZE).
        threads: threads at a time (RLIMIT_NPROC); further processes are never allowed where seccomp is.
        open_files: file descriptors at a time.
        source_bytes: longest source that is run.
        value_bytes: longest answer that is read, for all calls of a run together.
        printed_bytes: more than this on stdout and stderr ends the run.
        workers: runs at the same time; None: one a core.
    """

    memory_bytes: int = 2 << 30
    disk_bytes: int = 64 << 20
    threads: int = 32
    open_files: int = 64
    source_bytes: int = 256_000
    value_bytes: int = 4_000_000
    printed_bytes: int = 1_000_000
    workers: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What came out of a run.

    Args:
        value: what the function returned; means something only if `kind` is "ok", for None is a value too.
        error: what went wrong, one line; None if nothing did.
        kind: how it ended. The code can choose among the kinds of failure by failing that way, or by saying so.
        stderr_tail: the end of what the run printed, at most 4,000 characters.
        seconds: from asking to having the answer.
    """

    value: Any
    error: str | None
    kind: Kind
    stderr_tail: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.kind == "ok"

    @classmethod
    def failed(cls, kind: Kind, error: str, stderr_tail: str = "", seconds: float = 0.0) -> Outcome:
        """Return the outcome of a run without a value."""
        return cls(None, error, kind, stderr_tail, seconds)

"""What a child gives up, for good, before it reads the code that it shall run.

In this order, since each step needs what the next one takes away: its folder, limits, user and capabilities, files
(Landlock), system calls (seccomp).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tunewright.graders.sandbox import kernel, landlock, namespaces, seccomp

ON_LINUX = sys.platform == "linux"
FILE_BYTES_MIN = 1 << 20  # where the folder is no tmpfs, this much of a source must fit


@dataclass(frozen=True)
class Confinement:
    """What holds for each child of a worker.

    Args:
        layers: names from `levels.LAYERS` that are used.
        limits: the fields of `levels.Limits`.
        readable: folders and files that stay visible.
        listed: folders of which only the names of what is in them stay visible.
        packages: folders of further Python packages.
        folder: where children get their folders, and links to packages lie, if there are no namespaces.
    """

    layers: frozenset[str]
    limits: Mapping[str, int]
    readable: Sequence[str]
    listed: Sequence[str]
    packages: Sequence[str]
    folder: str | None

    @property
    def package_folder(self) -> str:
        """The folder from which packages are imported."""
        return namespaces.PACKAGES if "namespaces" in self.layers else f"{self.folder}{namespaces.PACKAGES}"


class LayerMissing(Exception):
    """A layer that was asked for cannot be had here: (layer, why)."""


def reason(error: Exception) -> str:
    """Return an error as a few words, without its number."""
    return getattr(error, "strerror", None) or str(error)


def confine(how: Confinement, folder: str, cpu_seconds: int) -> None:
    """Give up everything but `how`, with `folder` as the place to write.

    Raises:
        LayerMissing: names the first layer that failed. The process must end then.
    """
    os.setsid()
    if "namespaces" in how.layers:
        _layer("namespaces", namespaces.empty_folder, how.limits["disk_bytes"])
    os.chdir(folder)
    os.environ["HOME"] = os.environ["TMPDIR"] = folder
    if "rlimits" in how.layers:
        _layer("rlimits", _limit, how, cpu_seconds)
    if ON_LINUX:
        _become_nobody("namespaces" in how.layers)
    if "landlock" in how.layers:
        readable = [*how.readable, how.package_folder, *how.packages, *DEVICES]
        _layer("landlock", landlock.restrict, readable, [folder, "/dev/null"], how.listed)
    if "seccomp" in how.layers:
        _layer("seccomp", seccomp.restrict, "namespaces" in how.layers)


DEVICES = ("/dev/urandom",)


def _layer(name: str, step: object, *arguments: object) -> None:
    try:
        step(*arguments)  # type: ignore[operator]  # one of the functions above
    except (OSError, ValueError) as error:
        raise LayerMissing(name, reason(error)) from None


def _limit(how: Confinement, cpu_seconds: int) -> None:
    limits = how.limits
    bounds = {
        "RLIMIT_AS": limits["memory_bytes"],
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_FSIZE": max(limits["disk_bytes"], FILE_BYTES_MIN),
        "RLIMIT_NOFILE": limits["open_files"],
        "RLIMIT_CORE": 0,
        "RLIMIT_MEMLOCK": 0,
        "RLIMIT_MSGQUEUE": 0,
    }
    if "namespaces" in how.layers:  # elsewhere the kernel counts all processes of this user
        bounds["RLIMIT_NPROC"] = limits["threads"]
    for name, bound in bounds.items():
        if hasattr(resource, name):
            which = getattr(resource, name)
            hard = resource.getrlimit(which)[1]
            bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            spare = 1 if name == "RLIMIT_CPU" else 0  # so that SIGXCPU comes first and says what it was
            resource.setrlimit(which, (bound, bound + spare))


def _become_nobody(mapped: bool) -> None:
    if mapped and os.geteuid() != namespaces.NOBODY:
        os.setgroups([])
        os.setresgid(*[namespaces.NOBODY] * 3)
        os.setresuid(*[namespaces.NOBODY] * 3)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)

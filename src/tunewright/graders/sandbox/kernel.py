"""System calls that Python has no function for, by ctypes. Linux only, x86-64 and 64-bit ARM."""

from __future__ import annotations

import ctypes
import os
import platform
from typing import Any

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38

# The same numbers on every machine: calls newer than 5.0 share one table.
SYS_MOUNT_SETATTR = 442
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPABILITY_VERSION_3 = 0x20080522

machine = platform.machine()
_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def checked(result: int, what: str) -> int:
    """Return `result` of a C function.

    Raises:
        OSError: it is negative; the message begins with `what`.
    """
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def syscall(number: int, *arguments: Any, what: str) -> int:
    """Call the kernel by number. Raises OSError."""
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return checked(_libc.syscall(ctypes.c_long(number), *wide), what)


def prctl(option: int, *arguments: Any) -> None:
    """Call prctl with the arguments left out as 0. Raises OSError."""
    wide = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in (*arguments, 0, 0, 0, 0)[:4]]
    checked(_libc.prctl(ctypes.c_int(option), *wide), f"prctl {option}")


def unshare(flags: int) -> None:
    """Leave namespaces of the parent (os.unshare is there from Python 3.12 on). Raises OSError."""
    checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Mount a file system. Raises OSError."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    data = None if options is None else options.encode()
    checked(_libc.mount(*words, ctypes.c_ulong(flags), data), f"mount {target}")


def bind_read_only(source: str, target: str) -> None:
    """Show `source` and what is mounted below it at `target`, read-only. Raises OSError."""
    mount(source, target, None, MS_BIND | MS_REC)
    attributes = _MountAttr(MS_RDONLY | MS_NOSUID | MS_NODEV)  # of these three, both calls have the same bits
    at_fdcwd, recursive = -100, 0x8000
    size = ctypes.sizeof(attributes)
    path = os.fsencode(target)
    syscall(
        SYS_MOUNT_SETATTR, at_fdcwd, path, recursive, ctypes.byref(attributes), size, what=f"mount_setattr {target}"
    )


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root and show the old one at `old`. Raises OSError."""
    syscall(_PIVOT_ROOT[machine], os.fsencode(new), os.fsencode(old), what="pivot_root")


def unmount(path: str) -> None:
    """Take a mount away, at once for new openings. Raises OSError."""
    checked(_libc.umount2(os.fsencode(path), MNT_DETACH), f"umount {path}")


def bound_capabilities() -> None:
    """Let no program that is started from here gain a capability."""
    try:
        for capability in range(64):
            prctl(PR_CAPBSET_DROP, capability)
    except OSError:
        pass  # past the last one that this kernel knows, or no right to: then PR_SET_NO_NEW_PRIVS does the same


def drop_capabilities() -> None:
    """Give up every capability, for good. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    checked(_libc.capset(ctypes.byref(header), ctypes.byref(nothing)), "capset")

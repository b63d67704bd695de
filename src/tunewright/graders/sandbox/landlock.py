"""Landlock: rules of the kernel on which files a process may touch, which hold for it and all that come after it.

Where it is there it also refuses TCP (from ABI 4 on) and signals and abstract sockets to the outside (from ABI 6 on).
Source: Linux' Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

from tunewright.graders.sandbox import kernel

_READ_FILE, _WRITE_FILE, _READ_DIR, _TRUNCATE = 1 << 2, 1 << 1, 1 << 3, 1 << 14
_MAKE_DEVICES_AND_SOCKETS = 1 << 6 | 1 << 9 | 1 << 11
_EXECUTE, _IOCTL_DEVICE = 1 << 0, 1 << 15
_FILE_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP, _SCOPES = 0b11, 0b11


def abi() -> int:
    """Return the version of Landlock in this kernel. Raises OSError if it is not there or switched off."""
    return kernel.syscall(kernel.SYS_LANDLOCK_CREATE_RULESET, None, 0, 1, what="landlock")


def restrict(readable: Iterable[str], writable: Iterable[str], listed: Iterable[str] = ()) -> None:
    """Let this process read below `readable`, read and write below `writable`, and touch nothing else.

    Below `listed` it sees names, and no file's content. A path that is not there is passed over. Raises OSError.
    """
    version = abi()
    files = (1 << _FILE_RIGHTS_BY_ABI.get(version, 16)) - 1
    rules = struct.pack("QQQ", files, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = kernel.syscall(kernel.SYS_LANDLOCK_CREATE_RULESET, rules, size, 0, what="landlock_create_ruleset")
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_DIR)
        for path in listed:
            _allow(ruleset, path, _READ_DIR)
        for path in writable:
            _allow(ruleset, path, files & ~(_EXECUTE | _IOCTL_DEVICE | _MAKE_DEVICES_AND_SOCKETS))
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.syscall(kernel.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, what="landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights, fd))
        path_beneath = 1
        kernel.syscall(kernel.SYS_LANDLOCK_ADD_RULE, ruleset, path_beneath, rule, 0, what=f"landlock rule for {path}")
    finally:
        os.close(fd)

"""A view of the machine with nothing in it but Python: own users, processes, network, mounts, messages and host name.

`enter` moves into new namespaces and returns in their first process: when that one ends, the kernel ends all others in
them. `build_root` then swaps the root for an empty one that shows, read-only, what Python needs; the old root is taken
away. Neither needs privileges where user namespaces are allowed.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence

from tunewright.graders.sandbox import kernel

NOBODY = 65534
WORK, PACKAGES = "/box", "/packages"
_ALL = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
)
_OLD = "/old"
_QUIET_MOUNT = kernel.MS_NOSUID | kernel.MS_NODEV


def enter() -> None:
    """Go on as process 1 of new namespaces, while the process that called waits for it and ends with it.

    Raises:
        OSError: the machine does not allow it.
    """
    _unshare_with_users()
    first = os.fork()
    if first:
        os.closerange(3, 256)
        os.waitpid(first, 0)
        os._exit(0)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    socket.sethostname("sandbox")


def build_root(readable: Sequence[str], hidden: Sequence[str], packages: Sequence[str]) -> None:
    """Replace the root by one with `readable` folders at their own paths, `hidden` ones empty, `packages` in PACKAGES.

    Raises:
        OSError: a mount failed; the message names it.
    """
    sources = {path: os.path.realpath(path) for path in readable if os.path.isdir(path)}
    sources |= {f"{PACKAGES}/{os.path.basename(path)}": os.path.realpath(path) for path in packages}
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", "/tmp", "tmpfs", _QUIET_MOUNT, "size=1m,mode=755")
    os.mkdir(f"/tmp{_OLD}")
    kernel.pivot_root("/tmp", f"/tmp{_OLD}")
    os.chdir("/")
    for path in (WORK, PACKAGES, "/dev"):
        os.mkdir(path)
    for device in ("/dev/null", "/dev/urandom"):
        os.close(os.open(device, os.O_CREAT | os.O_WRONLY))
        kernel.mount(_OLD + device, device, None, kernel.MS_BIND)
    for target in sorted(sources):
        if not os.path.lexists(target):  # else it lies inside one that is already there
            _show(_OLD + sources[target], target)
    for path in filter(os.path.isdir, hidden):
        kernel.mount("tmpfs", path, "tmpfs", _QUIET_MOUNT | kernel.MS_RDONLY, "size=4k,mode=555")
    kernel.unmount(_OLD)
    os.rmdir(_OLD)
    kernel.mount("none", "/", None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | _QUIET_MOUNT)


def empty_folder(size_bytes: int) -> None:
    """Give this process an empty WORK of its own, which nobody owns and which goes away with it. Raises OSError."""
    kernel.unshare(kernel.CLONE_NEWNS)
    options = f"size={size_bytes},nr_inodes=4096,mode=700,uid={NOBODY},gid={NOBODY}"
    kernel.mount("tmpfs", WORK, "tmpfs", _QUIET_MOUNT, options)


def _show(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target)
    else:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
    kernel.bind_read_only(source, target)


def _unshare_with_users() -> None:
    """Leave the parent's namespaces; a helper that stays outside says who is who in the new ones."""
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    helper = os.fork()
    if not helper:
        os.close(go_write)
        os._exit(_map_users(os.getppid(), said_write) if os.read(go_read, 1) else 0)
    os.close(said_write)
    try:
        kernel.unshare(_ALL)
        os.write(go_write, b"1")
    finally:
        os.close(go_write)
        said = os.read(said_read, 1000)
        os.waitpid(helper, 0)
        for fd in (go_read, said_read):
            os.close(fd)
    if said:
        raise OSError(said.decode())


def _map_users(pid: int, said: int) -> int:
    """Write who process `pid` is in its new user namespace; `said` gets what went wrong.

    Root keeps itself for the worker and maps nobody for hostile code. Anyone else has but one user to map: both are it,
    and what keeps them apart is that the worker has capabilities and the code has none.
    """
    own_user, own_group = os.geteuid(), os.getegid()
    try:
        if own_user == 0:
            try:
                both = f"0 0 1\n{NOBODY} {NOBODY} 1\n"
                _write(f"/proc/{pid}/uid_map", both)
                _write(f"/proc/{pid}/gid_map", both)
                return 0
            except OSError:
                pass  # a container whose user namespace has no nobody
        _write(f"/proc/{pid}/setgroups", "deny")
        _write(f"/proc/{pid}/uid_map", f"{NOBODY} {own_user} 1")
        _write(f"/proc/{pid}/gid_map", f"{NOBODY} {own_group} 1")
    except OSError as error:
        os.write(said, f"users cannot be mapped: {error}".encode())
    return 0


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)

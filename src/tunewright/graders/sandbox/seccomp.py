"""Seccomp: the list of system calls that hostile code may make. Everything else is answered with an error.

What Python, its standard library and threads need is on the list; a new process, another program, a socket, ptrace,
namespaces, mounts, keys, BPF and so on are not. A refused call fails with EPERM, and one that is newer than the list's
old numbers with ENOSYS, since C libraries then fall back to the older call.

Where the files of the user are in sight (no namespaces), calls that change a file without opening it for writing are
refused too: Landlock knows nothing of modes and times, and its first two versions nothing of truncation.

The numbers are those of Linux' `asm/unistd_64.h` and `asm-generic/unistd.h`; a test compares them.
"""

from __future__ import annotations

import ctypes
import os
import struct
from functools import cache

from tunewright.graders.sandbox.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, machine, prctl

_TABLE = """
read 0 63|write 1 64|readv 19 65|writev 20 66|pread64 17 67|pwrite64 18 68|preadv 295 69|pwritev 296 70|open 2 -
openat 257 56|openat2 437 437|creat 85 -|close 3 57|close_range 436 436|stat 4 -|fstat 5 80|lstat 6 -
newfstatat 262 79|statx 332 291|statfs 137 43|fstatfs 138 44|lseek 8 62|access 21 -|faccessat 269 48
faccessat2 439 439|readlink 89 -|readlinkat 267 78|getcwd 79 17|chdir 80 49|fchdir 81 50|getdents 78 -
getdents64 217 61|mkdir 83 -|mkdirat 258 34|rmdir 84 -|unlink 87 -|unlinkat 263 35|rename 82 -|renameat 264 38
renameat2 316 276|link 86 -|linkat 265 37|symlink 88 -|symlinkat 266 36|truncate 76 45|ftruncate 77 46
fallocate 285 47|fadvise64 221 223|fsync 74 82|fdatasync 75 83|chmod 90 -|fchmod 91 52|fchmodat 268 53
utimensat 280 88|umask 95 166|dup 32 23|dup2 33 -|dup3 292 24|fcntl 72 25|flock 73 32|pipe 22 -|pipe2 293 59
poll 7 -|ppoll 271 73|select 23 -|pselect6 270 72|epoll_create 213 -|epoll_create1 291 20|epoll_ctl 233 21
epoll_wait 232 -|epoll_pwait 281 22|epoll_pwait2 441 441|eventfd 284 -|eventfd2 290 19|timerfd_create 283 85
timerfd_settime 286 86|timerfd_gettime 287 87|sendfile 40 71|copy_file_range 326 285|mmap 9 222|munmap 11 215
mprotect 10 226|mremap 25 216|madvise 28 233|msync 26 227|brk 12 214|rt_sigaction 13 134|rt_sigprocmask 14 135
rt_sigreturn 15 139|rt_sigpending 127 136|rt_sigtimedwait 128 137|rt_sigsuspend 130 133|sigaltstack 131 132
getpid 39 172|gettid 186 178|getppid 110 173|getuid 102 174|geteuid 107 175|getgid 104 176|getegid 108 177
getresuid 118 148|getresgid 120 150|getgroups 115 158|getpgid 121 155|getpgrp 111 -|getsid 124 156|getrusage 98 165
times 100 153|sysinfo 99 179|uname 63 160|getrlimit 97 163|setrlimit 160 164|sched_yield 24 124
sched_getaffinity 204 123|sched_getparam 143 121|sched_getscheduler 145 120|clock_gettime 228 113|clock_getres 229 114
clock_nanosleep 230 115|nanosleep 35 101|gettimeofday 96 169|time 201 -|getcpu 309 168|getitimer 36 102
setitimer 38 103|alarm 37 -|pause 34 -|timer_create 222 107|timer_settime 223 110|timer_gettime 224 108
timer_delete 226 111|futex 202 98|futex_waitv 449 449|set_robust_list 273 99|get_robust_list 274 100|rseq 334 293
set_tid_address 218 96|membarrier 324 283|arch_prctl 158 -|getrandom 318 278|exit 60 93|exit_group 231 94
restart_syscall 219 128|wait4 61 260|waitid 247 95|recvfrom 45 207|shutdown 48 210|getsockopt 55 209
getsockname 51 204|getpeername 52 205|clone 56 220|kill 62 129|tgkill 234 131|prlimit64 302 261|socketpair 53 199
sendto 44 206|ioctl 16 29|prctl 157 167
"""
_COLUMN = {"x86_64": 1, "aarch64": 2}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# struct seccomp_data: number, architecture, instruction pointer, then six arguments of 64 bits (little-endian here).
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_EQUAL, _GREATER, _AT_LEAST = 0x15, 0x25, 0x35
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = _ERRNO | 1, _ERRNO | 38

_X32 = 0x40000000  # the second table of numbers on x86-64, which would go round this list
_SHARED = 424  # from this number on all machines share one table, and calls are newer than 5.0

_CLONE_THREAD, _CLONE_NEW = 0x00010000, 0x7E020080  # all flags that ask for a namespace
_AF_UNIX = 1
_ANYONE = 0x7EADBEE5  # stands for a process number, and is no other number here
_IOCTLS = (0x5401, 0x802C542A, 0x5413, 0x5421, 0x541B, 0x5450, 0x5451)  # is it a terminal; blocking; close on exec
_PRCTLS = (15, 16)  # a thread's name
# Copies of files, their flags, locks, sizes of pipes. Not: who gets a signal when a file is ready, and which one.
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1031, 1032)
_CHANGES_UNOPENED = {"chmod", "fchmod", "fchmodat", "utimensat", "truncate"}
_OPENS_BY_ADDRESS = "openat2"  # its flags stand in memory, where no filter looks
_MODE_AND_TRUNCATE = 0x203
_NO_TRUNCATION_UNWRITTEN = (0, 1, 2, 0x201, 0x202)  # to read, to write, both; the last two from the start

Instruction = tuple[int, int, int, int]


def numbers(column: int) -> dict[str, int]:
    """Return name -> number of the listed calls: column 1 for x86-64, 2 for 64-bit ARM."""
    rows = (entry.split() for entry in _TABLE.replace("\n", "|").split("|") if entry)
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def program(own_pid: int, kind: str = machine, own_files: bool = True) -> list[Instruction]:
    """Return the filter as (code, jump if true, jump if false, operand).

    Args:
        own_pid: the only process that may be signalled or whose limits may be changed.
        kind: machine, as `platform.machine()` names it. Raises OSError if it is none of the two.
        own_files: whether files in sight that can be changed are the process's own, as in a namespace.
    """
    if kind not in _COLUMN:
        raise OSError(f"no list of system calls for {kind}")
    calls = numbers(_COLUMN[kind])
    if not own_files:
        calls = {name: calls[name] for name in calls.keys() - _CHANGES_UNOPENED - {_OPENS_BY_ADDRESS}}
    code: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCH[kind]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
    ]
    guarded = {name: checks for name, checks in _guards(own_pid, own_files).items() if name in calls}
    for name, checks in guarded.items():
        code += [(_EQUAL, 0, len(checks), calls[name]), *checks]
    for low, high in _ranges(sorted(number for name, number in calls.items() if name not in guarded)):
        code += [(_AT_LEAST, 0, 2, low), (_GREATER, 1, 0, high), (_RETURN, 0, 0, _ALLOW)]
    return [*code, (_AT_LEAST, 0, 1, _SHARED), (_RETURN, 0, 0, _ENOSYS), (_RETURN, 0, 0, _EPERM)]


def _guards(own_pid: int, own_files: bool) -> dict[str, list[Instruction]]:
    """Return the calls that are allowed with some arguments only -> what decides."""
    guards = {
        "clone": [_load(0), (_AND, 0, 0, _CLONE_THREAD | _CLONE_NEW), *_allow_if([_CLONE_THREAD])],
        "kill": [_load(0), *_allow_if([own_pid])],
        "tgkill": [_load(0), *_allow_if([own_pid])],
        "prlimit64": [_load(0), *_allow_if([0, own_pid])],
        "socketpair": [_load(0), *_allow_if([_AF_UNIX])],
        # With an address it would reach any datagram socket that has a name in the file system.
        "sendto": [_load(4), (_EQUAL, 1, 0, 0), (_RETURN, 0, 0, _EPERM), _load(4, high=True), *_allow_if([0])],
        "ioctl": [_load(1), *_allow_if(_IOCTLS)],
        "prctl": [_load(0), *_allow_if(_PRCTLS)],
        "fcntl": [_load(1), *_allow_if(_FCNTLS)],
    }
    if not own_files:
        for name, flags in (("open", 1), ("openat", 2)):
            guards[name] = [_load(flags), (_AND, 0, 0, _MODE_AND_TRUNCATE), *_allow_if(_NO_TRUNCATION_UNWRITTEN)]
    return guards


@cache
def packed(own_files: bool = True) -> bytes:
    """Return the filter as the kernel takes it, with _ANYONE for the process's own number. Raises OSError."""
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program(_ANYONE, own_files=own_files))


def restrict(own_files: bool) -> None:
    """Put this process, and every thread it will have, under the filter (see `program`). Raises OSError."""
    code = packed(own_files).replace(struct.pack("I", _ANYONE), struct.pack("I", os.getpid()))
    array = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(array)))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, 2, ctypes.cast(header, ctypes.c_void_p))


def _load(argument: int, high: bool = False) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + 4 * high)


def _allow_if(values: list[int] | tuple[int, ...]) -> list[Instruction]:
    """Allow the call if the loaded half word is one of `values`, else refuse it."""
    tests = [(_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [*tests, (_RETURN, 0, 0, _EPERM), (_RETURN, 0, 0, _ALLOW)]


def _ranges(ordered: list[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in ordered:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges

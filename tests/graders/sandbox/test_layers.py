"""The parts that talk to the kernel, against what the kernel's own headers say."""

import re
import time
from pathlib import Path

import pytest

from tunewright.graders.sandbox import Level, seccomp
from tunewright.graders.sandbox.levels import LAYERS, Limits
from tunewright.graders.sandbox.reading import one_line, parse, printable

HEADERS = {
    1: [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")],
    2: [Path("/usr/include/asm-generic/unistd.h")],
}
ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


@pytest.mark.parametrize("column", [1, 2])
def test_the_numbers_of_system_calls_are_those_of_the_kernels_headers(column):
    header = next((path for path in HEADERS[column] if path.exists()), None)
    if header is None:
        pytest.skip("the kernel's headers are not installed")
    known = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    known.setdefault("newfstatat", known.get("fstatat"))  # the generic header has another name for it
    wrong = {
        name: (number, known.get(name))
        for name, number in seccomp.numbers(column).items()
        if str(number) != known.get(name)
    }
    assert not wrong


def verdict(code, kind, number, *arguments):
    """Run the filter as the kernel would; return what it answers."""
    data = {0: number, 4: ARCHITECTURE[kind]}
    for at, value in enumerate((*arguments, 0, 0, 0, 0, 0, 0)[:6]):
        data[16 + 8 * at], data[20 + 8 * at] = value & 0xFFFFFFFF, value >> 32
    loaded, at = 0, 0
    while True:
        operation, jump_true, jump_false, operand = code[at]
        at += 1
        if operation == 0x20:
            loaded = data[operand]
        elif operation == 0x54:
            loaded &= operand
        elif operation == 0x06:
            return operand
        else:
            holds = {0x15: loaded == operand, 0x25: loaded > operand, 0x35: loaded >= operand}[operation]
            at += jump_true if holds else jump_false


@pytest.mark.parametrize(("kind", "column"), [("x86_64", 1), ("aarch64", 2)])
def test_the_filter_allows_what_is_listed_and_nothing_else(kind, column):
    code, calls = seccomp.program(77, kind), seccomp.numbers(column)
    guarded = {
        calls[name]: name
        for name in ("clone", "kill", "tgkill", "prlimit64", "socketpair", "sendto", "ioctl", "prctl", "fcntl")
    }
    for number in range(600):
        if number in guarded:
            continue
        expected = ALLOW if number in calls.values() else ENOSYS if number >= 424 else EPERM
        assert verdict(code, kind, number) == expected, number


@pytest.mark.parametrize(("kind", "column"), [("x86_64", 1), ("aarch64", 2)])
def test_the_filter_looks_at_arguments_where_they_matter(kind, column):
    code, calls = seccomp.program(77, kind), seccomp.numbers(column)
    ask = lambda name, *arguments: verdict(code, kind, calls[name], *arguments)  # noqa: E731
    thread = 0x3D0F00  # what the C library asks for when it starts a thread
    assert (ask("clone", thread), ask("clone", 17), ask("clone", thread | 0x10000000)) == (ALLOW, EPERM, EPERM)
    assert (ask("kill", 77), ask("kill", 1), ask("kill", 0xFFFFFFFF), ask("kill", 0)) == (ALLOW, EPERM, EPERM, EPERM)
    assert (ask("prlimit64", 0), ask("prlimit64", 77), ask("prlimit64", 1)) == (ALLOW, ALLOW, EPERM)
    assert (ask("socketpair", 1), ask("socketpair", 2)) == (ALLOW, EPERM)
    assert (ask("sendto", 3, 0, 0, 0, 0), ask("sendto", 3, 0, 0, 0, 1 << 40), ask("sendto", 3, 0, 0, 0, 5)) == (
        ALLOW,
        EPERM,
        EPERM,
    )
    assert (ask("ioctl", 0, 0x5401), ask("ioctl", 0, 0x5412)) == (ALLOW, EPERM)
    assert (ask("prctl", 15), ask("prctl", 4), ask("prctl", 22)) == (ALLOW, EPERM, EPERM)
    duplicate, set_flags, set_owner, set_signal, lease, notify = 1030, 4, 8, 10, 1024, 1026
    assert {ask("fcntl", 3, command) for command in (duplicate, set_flags)} == {ALLOW}
    assert {ask("fcntl", 3, command) for command in (set_owner, set_signal, 15, lease, notify)} == {EPERM}


@pytest.mark.parametrize(("kind", "column"), [("x86_64", 1), ("aarch64", 2)])
def test_where_files_of_others_are_in_sight_none_is_changed_that_was_not_opened_for_writing(kind, column):
    code, calls = seccomp.program(77, kind, own_files=False), seccomp.numbers(column)
    ask = lambda name, *arguments: verdict(code, kind, calls[name], *arguments)  # noqa: E731
    for name in {"chmod", "fchmod", "fchmodat", "utimensat", "truncate"} & calls.keys():
        assert ask(name) == EPERM, name
        assert verdict(seccomp.program(77, kind), kind, calls[name]) == ALLOW, name
    assert ask("openat2") == ENOSYS
    truncate, create = 0o1000, 0o100
    assert {ask("openat", 0, 0, flags) for flags in (0, create | truncate | 1, truncate | 2)} == {ALLOW}
    assert {ask("openat", 0, 0, flags) for flags in (truncate, truncate | 3, 3)} == {EPERM}


def test_the_filter_kills_what_comes_by_another_table():
    code = seccomp.program(77, "x86_64")
    assert verdict(code, "x86_64", 0x40000000) == KILL
    assert verdict(code, "aarch64", 0) == KILL


def test_the_place_of_the_own_process_number_cannot_be_mistaken():
    if seccomp.machine not in ARCHITECTURE:
        pytest.skip(f"no list of system calls for {seccomp.machine}")
    places = sum(operand == seccomp._ANYONE for *_, operand in seccomp.program(seccomp._ANYONE))
    assert seccomp.packed().count(seccomp._ANYONE.to_bytes(4, "little")) == places == 3


def test_an_unknown_machine_has_no_list():
    with pytest.raises(OSError, match="riscv64"):
        seccomp.program(77, "riscv64")


@pytest.mark.parametrize(
    ("missing", "level"),
    [
        (set(), Level.FULL),
        ({"seccomp"}, Level.NAMESPACES),
        ({"landlock"}, Level.NAMESPACES),
        ({"namespaces"}, Level.RLIMITS),
        ({"rlimits"}, Level.PROCESS),
    ],
)
def test_a_level_is_only_as_high_as_its_lowest_gap(missing, level):
    assert Level.of_layers(frozenset(LAYERS) - missing) == level


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"[" * 200 + b"]" * 200,
        b"9" * 5000,
        b'"\\ud800"',
        b'{"\\udfff": 1}',
        b"{",
        b"\xff",
    ],
)
def test_json_that_could_do_harm_is_no_value(text):
    with pytest.raises(ValueError):
        parse(text)


def test_long_json_is_read_in_little_time():
    began = time.process_time()
    fraction = b"1" * 300 + b"." + b"7" * 400_000 + b","
    for text in (b"1," * 200_000, b"[]," * 140_000, b'{"a":1},' * 40_000, fraction):
        parse(b"[" + text[:-1] + b"]")
    assert time.process_time() - began < 20


def test_json_that_is_sound_is_a_value():
    assert parse('{"a": [1, 2.5, true, null, "ä😀"]}'.encode()) == {"a": [1, 2.5, True, None, "ä😀"]}


def test_text_for_a_log_cannot_steer_a_terminal():
    assert printable("a\x1b[2Jb\tc\nd\u202e") == "a\ufffd[2Jb    c\nd\ufffd"
    assert one_line("a\n b\r" + "x" * 1000) == "a b\ufffd" + "x" * 596


def test_the_defaults_are_the_limits_that_openai_published():
    assert (Limits().memory_bytes, Limits().source_bytes) == (2 << 30, 256_000)

"""Servers as children: a small real one, with workers in sessions of their own, that is started, watched and ended.

The counts are of real processes, ports and files of this machine.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from protocol_server import __file__ as SMALL

from tunewright.backends.servers.kinds import ServerKind
from tunewright.backends.servers.manager import start_server
from tunewright.backends.servers.process import descendants, find_process, is_alive, processes, wait_until
from tunewright.backends.servers.running import find_server, is_up, servers, stop_server
from tunewright.backends.servers.state import State, read_state, runtime_folder, write_state
from tunewright.errors import EnvironmentProblem, UserError

SOON = 60  # seconds on a machine that does much else; what is waited for comes in a tenth of one


def small(*options, program=SMALL):
    def command(launch):
        return [launch.python, "-S", program, "--port", str(launch.port), *options]

    return ServerKind("small", "anything", lambda ref: ref, command, install="")


@pytest.fixture(autouse=True)
def runtime(tmp_path):
    """A runtime folder and a temporary folder of the test's own."""
    import tempfile

    before = {name: os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "TMPDIR")}
    for name in before:
        folder = tmp_path / name
        folder.mkdir()
        os.environ[name] = str(folder)
    tempfile.tempdir = None
    yield tmp_path
    for state in servers():
        stop_server(state)
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    tempfile.tempdir = None


def marked(mark):
    """Every living process with a server's mark in its environment, as the system shows it."""
    found = []
    for pid, process in processes().items():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in environment and not process.is_zombie:
            found.append(pid)
    return found


def files(runtime):
    """What a server left: by os.walk, which goes on where a folder is removed while it is read (rglob raises)."""
    return [
        Path(folder, name)
        for folder, folders, names in os.walk(runtime)
        for name in [*names, *(name for name in folders if name.startswith("tunewright-server-"))]
    ]


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_nothing_left(state, runtime):
    assert wait_until(lambda: not marked(state.mark), SOON), marked(state.mark)
    assert wait_until(lambda: not any(is_alive((pid, start)) for pid, start in state.keepers), SOON)
    assert not is_open(state.port)
    assert files(runtime) == []
    assert servers() == []


# ── start and stop ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_completes_prompts_and_ends_with_all_its_workers(runtime):
    with start_server("some/model", small("--workers", "3")) as server:
        up = find_server("model")
        assert is_up(up) and up.url == server.url and is_open(up.port)
        assert wait_until(lambda: len(marked(up.mark)) == 7, SOON)  # the server, three workers, a child of each
        server.raise_if_dead()
    assert_nothing_left(up, runtime)


def test_workers_that_ignore_sigterm_are_ended_too(runtime):
    with start_server("model", small("--workers", "2", "--stubborn"), grace_seconds=1) as server:
        assert wait_until(lambda: len(marked(server.state.mark)) == 5, SOON)
        time.sleep(0.3)  # until all of them ignore it
        up = find_server("model")
    assert_nothing_left(up, runtime)


def test_orphans_of_a_server_that_was_killed_are_ended(runtime):
    with start_server("model", small("--workers", "2")) as server:
        up = find_server("model")
        assert wait_until(lambda: len(marked(up.mark)) == 5, SOON)
        os.kill(up.server[0], signal.SIGKILL)
        assert wait_until(lambda: not marked(up.mark), SOON)
        with pytest.raises(EnvironmentProblem, match=r"by signal SIGKILL.*\nlistening on"):
            server.raise_if_dead()
    assert_nothing_left(up, runtime)


@pytest.mark.parametrize("which", [0, 1])
def test_a_keeper_that_is_killed_takes_the_server_with_it(runtime, which):
    with start_server("model", small("--workers", "2")):
        up = find_server("model")
        assert wait_until(lambda: len(marked(up.mark)) == 5, SOON)
        os.kill(up.keepers[which][0], signal.SIGKILL)
        assert wait_until(lambda: not marked(up.mark), SOON)
    assert_nothing_left(up, runtime)


def test_when_both_keepers_are_killed_at_once_the_next_command_ends_the_rest(runtime):
    server = start_server("model", small("--workers", "2"))
    server.keep()
    up = find_server("model")
    assert wait_until(lambda: len(marked(up.mark)) == 5, SOON)
    for pid, _ in reversed(up.keepers):
        os.kill(pid, signal.SIGSTOP)
    for pid, _ in up.keepers:
        os.kill(pid, signal.SIGKILL)
    server.keeper.returncode = None
    server.keeper.wait()
    assert wait_until(lambda: find_server("model").phase == "died", SOON)
    stop_server(find_server("model"))
    assert_nothing_left(up, runtime)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_ends_with_the_process_that_owns_it_however_that_ends(runtime, how):
    owner = owner_process("time.sleep(100)")
    assert wait_until(lambda: any(map(is_up, servers())), SOON)
    up = find_server("model")
    assert wait_until(lambda: len(marked(up.mark)) == 3, SOON)  # a worker's child comes after "listening"
    owner.send_signal(how)
    owner.wait()
    assert_nothing_left_soon(up, runtime)


def test_an_owner_that_is_killed_while_it_still_waits_leaves_nothing(runtime):
    owner = owner_process("", "--fault", "hang")
    assert wait_until(lambda: any(state.server[0] and marked(state.mark) for state in servers()), SOON)
    state = servers()[0]
    owner.kill()
    owner.wait()
    assert_nothing_left_soon(state, runtime)


@pytest.mark.parametrize("said", [b"", b'{"state": {"na'])
def test_a_keeper_whose_owner_was_killed_before_it_said_what_to_start_leaves_nothing(runtime, said):
    log = runtime / "model.log"
    log.touch()
    keeper = [sys.executable, "-m", "tunewright.backends.servers.keeper", str(log)]
    assert subprocess.run(keeper, input=said, check=False).returncode == 0
    assert files(runtime) == []


def test_a_kept_server_outlives_its_owner_and_can_be_stopped(runtime):
    owner = owner_process("server.keep()")
    assert owner.wait() == 0
    up = find_server("model")
    assert is_up(up) and up.kept and is_open(up.port)
    stop_server(up)
    assert_nothing_left(up, runtime)


def owner_process(then, *options):
    here = str(Path(__file__).parent)
    code = (
        f"import sys, time; sys.path[:0] = [{here!r}, {str(Path(SMALL).parent)!r}]\n"
        "from test_manager import small; from tunewright.backends.servers.manager import start_server\n"
        f"server = start_server('model', small('--workers', '1', *{options!r}))\n{then}\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def assert_nothing_left_soon(state, runtime):
    assert wait_until(lambda: not marked(state.mark) and not files(runtime), SOON), (marked(state.mark), files(runtime))
    assert_nothing_left(state, runtime)


# ── what goes wrong ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_dies_at_its_start_fails_fast_with_the_end_of_its_log(runtime):
    began = time.monotonic()
    with pytest.raises(EnvironmentProblem, match=r"exit code 1.*\n.*no such quantisation: q9"):
        start_server("model", small("--say-at-start", "no such quantisation: q9"))
    assert time.monotonic() - began < SOON and servers() == [] and files(runtime) == []


def test_a_program_that_is_not_there_is_named(runtime):
    kind = ServerKind("small", "", str, lambda launch: ["/no/such/server"], install="")
    with pytest.raises(EnvironmentProblem, match="/no/such/server: No such file"):
        start_server("model", kind)
    assert files(runtime) == []


def test_healthy_is_not_up_a_prompt_must_be_completed(runtime):
    with pytest.raises(EnvironmentProblem, match=r"completes nothing.*500"):
        start_server("model", small("--fault", "500"))
    with pytest.raises(EnvironmentProblem, match="completes nothing"):
        start_server("model", small("--fault", "empty"))
    with pytest.raises(EnvironmentProblem, match="not up within 1 s"):
        start_server("model", small("--fault", "hang"), wait_seconds=1)
    assert files(runtime) == [] and servers() == []


def test_a_port_that_is_taken_is_told_before_anything_is_started(runtime):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="port cannot be used"):
            start_server("model", small(), port=taken.getsockname()[1])
    assert files(runtime) == []


def test_a_port_that_somebody_takes_in_between_is_replaced_by_another(runtime, tmp_path):
    counter = tmp_path / "starts"

    def command(launch):
        first = launch.port and not counter.exists()
        if launch.port:
            counter.touch()
        told = ["--say-at-start", "OSError: [Errno 98] Address already in use"] if first else []
        return [launch.python, SMALL, "--port", str(launch.port), *told]

    with start_server("model", ServerKind("small", "", str, command, install="")) as server:
        assert is_up(find_server("model")) and is_open(server.state.port)


def test_two_servers_cannot_have_one_name(runtime):
    with start_server("a/model", small()):
        with pytest.raises(UserError, match="a server of that name runs"):
            start_server("b/model", small(), name="model")
        with start_server("b/model", small()):
            assert [state.name for state in servers()] == ["model", "model-2"]


def test_a_kept_server_that_died_is_told_with_its_log_until_it_is_stopped_or_started_again(runtime):
    end = runtime / "end"
    start_server("model", small("--die-when", str(end))).keep()
    end.touch()
    assert wait_until(lambda: find_server("model").phase == "died", SOON)
    told = find_server("model")
    assert "exit code 1" in told.note and "out of memory" in told.log.read_text()
    with start_server("model", small()):
        assert is_up(find_server("model"))
    assert servers() == []


def test_a_stale_state_never_harms_a_stranger_that_has_its_process_id(runtime):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        old = [stranger.pid, "another start time"]
        state = State("model", "small", "model", "model", 1, str(runtime_folder()), str(runtime / "none"), phase="up",
                      mark="0", keepers=[old], server=old)  # fmt: skip
        write_state(state)
        assert [(s.name, s.phase) for s in servers()] == [("model", "died")]
        stop_server(find_server("model"))
        assert stranger.poll() is None and servers() == []
    finally:
        stranger.kill()
        stranger.wait()


def test_a_broken_state_file_is_no_server(runtime):
    folder = runtime_folder()
    for text in ("", "{", "[]", "null", json.dumps({"name": "x"})):
        (folder / "broken.json").write_text(text)
        assert read_state(folder / "broken.json") is None and servers() == []
    (folder / "broken.json").unlink()


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused(runtime, name):
    with pytest.raises(UserError, match="server's name"):
        start_server("model", small(), name=name)


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_process_is_known_by_its_start_time_too():
    own = find_process(os.getpid())
    assert is_alive(own.key) and not is_alive((own.pid, "earlier"))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    key = find_process(child.pid).key
    assert child.pid in {process.pid for process in descendants([os.getpid()])} | {child.pid}
    assert wait_until(lambda: find_process(child.pid).is_zombie, SOON)
    assert not is_alive(key)  # ended, and not yet asked for its status
    child.wait()


@pytest.mark.skipif(not shutil.which("ps"), reason="needs the program `ps`")
def test_the_portable_way_to_list_processes_agrees_with_the_one_of_linux():
    from tunewright.backends.servers.process import _from_proc, _from_ps

    linux, portable = _from_proc(), _from_ps()
    own = os.getpid()
    assert (portable[own].parent, portable[own].group) == (linux[own].parent, linux[own].group)

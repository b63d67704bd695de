"""What holds where the user's own files are in sight: no namespaces. And what a worker does when it lacks something."""

import errno
import gc
import os
import stat
import threading
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.graders.sandbox.conftest import SMALL, warm_worker

from tunewright.graders.python import PACKAGES
from tunewright.graders.sandbox import Level, Limits, Sandbox, visible, worker
from tunewright.graders.sandbox.levels import LAYERS
from tunewright.graders.sandbox.removal import remove_tree

HOME = "F = 'FILE'\nimport fcntl, os\n"
CHANGES = {
    "its mode": "os.chmod(F, 0o777)",
    "its mode, once it is open": "os.fchmod(os.open(F, os.O_RDONLY), 0o777)",
    "its times": "os.utime(F, (1, 1))",
    "its length": "os.truncate(F, 0)",
    "its length, opened to read": "os.open(F, os.O_RDONLY | os.O_TRUNC)",
    "its length, opened for neither": "os.open(F, 3 | os.O_TRUNC)",
    "its content": "open(F, 'w')",
}


def without_namespaces(packages=(), limits=SMALL) -> Sandbox:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = Sandbox(limits, without=("namespaces",), packages=packages)
    return found


@pytest.fixture(scope="module")
def weak():
    """A sandbox of one worker without namespaces, with the layers that keep files."""
    with without_namespaces() as sandbox:
        if not {"landlock", "seccomp"} <= sandbox.layers:
            pytest.skip(f"this machine lacks {sandbox.why_not_more}")
        yield sandbox


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_of_the_user_is_not_changed(name, weak, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    file.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    before = file.stat()
    source = HOME.replace("FILE", str(file)) + f"def f():\n    {CHANGES[name]}\n    return 'escaped'"
    assert weak.run_python(source, "f", [], 10.0).kind == "forbidden"
    after = file.stat()
    assert (file.read_text(), after.st_mode, after.st_mtime) == ("kept", before.st_mode, before.st_mtime)


def test_what_code_needs_in_its_own_folder_still_works(weak):
    source = """
import os, shutil, tempfile
def f():
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/a", "w") as file:
            file.write("one")
        shutil.copyfile(folder + "/a", "b")
    shutil.move("b", "c")
    with open("c", "r+") as file:
        file.truncate(2)
    return os.listdir("."), open("c").read()
"""
    assert weak.run_python(source, "f", [], 10.0).value == [["c"], "on"]


def test_what_is_installed_beside_the_library_is_not_read(weak):
    beside = [Path(path) for path in visible.hidden() if os.path.isdir(path)]
    files = [file for folder in beside for file in folder.rglob("*.py")]
    if not files:
        pytest.skip("nothing is installed beside this Python's library")
    outcome = weak.run_python("def f(path): return open(path).read()", "f", [str(files[0])], 10.0)
    assert outcome.kind == "forbidden"
    whole, opened = visible.apart()
    assert not {os.path.realpath(path) for path in beside} & {*whole, *opened}


@pytest.mark.parametrize("without", [(), ("namespaces",)], ids=["all layers", "no namespaces"])
def test_each_promised_package_that_is_installed_can_be_imported(without):
    installed = [name for name in PACKAGES if find_spec(name)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        sandbox = Sandbox(Limits(workers=1), without=without, packages=PACKAGES)
    with sandbox:
        for name in installed:
            outcome = sandbox.run_python(f"def f():\n    import {name}\n    return {name}.__name__", "f", [], 60.0)
            assert outcome.value == name, outcome
        hidden = sandbox.run_python("def f():\n    import pydantic", "f", [], 60.0)
        assert "ModuleNotFoundError" in str(hidden.error)


DEEP = """
import os
def f():
    os.mkdir("closed"), os.mkdir("closed/inside"), os.chdir("closed")
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    return 1
"""


def test_a_tree_too_deep_for_recursion_goes_away(weak):
    found = warm_worker(weak)
    before = set(os.listdir(found.folder))
    assert weak.run_python(DEEP, "f", [], 60.0).value == 1
    assert set(os.listdir(found.folder)) == before
    assert warm_worker(weak) is found


def test_a_tree_is_removed_whatever_its_depth_and_modes_and_no_link_is_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    top = tmp_path / "top"
    (top / "closed" / "inside").mkdir(parents=True)
    (top / "link").symlink_to(kept)
    (top / "dangling").symlink_to(tmp_path / "nothing")
    (top / "closed").chmod(0)
    here = os.open(top, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree(str(top))
    assert not top.exists() and (kept / "file").exists()
    assert stat.S_IMODE(kept.stat().st_mode) != 0
    remove_tree(str(top))  # what is not there is no error


def test_waiting_for_a_free_worker_is_not_the_answers_time(weak):
    """Its first call ends the process, so that the second asks for a worker again, when the clock has run on."""
    source = "import os\ndef f(n):\n    return n if n else os._exit(1)"
    weak._slots.acquire()
    threading.Timer(2.2, weak._slots.release).start()
    outcomes = weak.run_calls(source, "f", [[0], [1]], 2.0)
    assert [outcome.kind for outcome in outcomes] == ["crash", "ok"], outcomes


def open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def too_many(*_, **__):
    raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("missing", ["os.pipe", "os.memfd_create", "selectors.DefaultSelector", "socket.send_fds"])
def test_a_run_without_files_is_a_failure_of_ours_and_leaks_none(missing, monkeypatch):
    with without_namespaces() as sandbox:
        warm_worker(sandbox)
        sandbox.close()
        before = open_files()
        with monkeypatch.context() as patched:
            patched.setattr(f"tunewright.graders.sandbox.worker.{missing}", too_many, raising=False)
            outcome = sandbox.run_python("def f(): return 1", "f", [], 10.0)
        assert outcome.kind == "sandbox_failed" and "Too many open files" in outcome.error
        assert open_files() == before
        assert sandbox.run_python("def f(): return 1", "f", [], 10.0).value == 1


@pytest.mark.parametrize("missing", ["socket.socketpair", "subprocess.Popen", "tempfile.mkdtemp"])
def test_a_worker_that_cannot_start_leaves_nothing(missing, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = open_files()
    with monkeypatch.context() as patched:
        patched.setattr(f"tunewright.graders.sandbox.worker.{missing}", too_many)
        with pytest.raises(worker.WorkerFailed, match="Too many open files"):
            worker.Worker(SMALL, frozenset(LAYERS) - {"namespaces"})
    assert open_files() == before
    assert list(tmp_path.iterdir()) == []


def test_a_fork_of_this_process_leaves_its_workers_alone():
    with without_namespaces() as sandbox:
        assert sandbox.level == Level.RLIMITS
        folder = warm_worker(sandbox).folder
        child = os.fork()
        if not child:
            sandbox.close()
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        assert os.path.isdir(folder)
        assert sandbox.run_python("def f(): return 1", "f", [], 10.0).value == 1
    assert not os.path.exists(folder)

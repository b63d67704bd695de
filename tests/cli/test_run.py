"""`tw run` as a user calls it: two at once, Ctrl-C, a recipe from a pipe, folders with odd names."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunewright.artifacts.rundir import RunFolder, choosing

TW = Path(sys.executable).with_name("tw")
TEXT = "recipe: rows\nmodel: smollm2-135m-instruct\nstages:\n  - data: {sources: [{type: jsonl, path: rows.jsonl}]}\n"
HELD = """
import time
from pathlib import Path
def keep(row):
    while not Path("go").exists():
        time.sleep(0.01)
    return True
"""


def start(folder, *arguments):
    command = [TW, "run", *(arguments or ("rows.yaml",))]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(reached, *running):
    """Wait for a moment that comes while all of these processes run."""
    deadline = time.monotonic() + 600
    while not reached():
        for process in running:
            assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def model(smollm2_folder):
    """The recipe's model, made before anything that has its time asks for it."""


@pytest.fixture
def folder(tmp_path):
    """A folder with a recipe that reads rows."""
    return project(tmp_path)


@pytest.fixture
def held(folder):
    """A run stays in its stage until there is a file `go` in the folder."""
    (folder / "held.py").write_text(HELD)
    (folder / "rows.yaml").write_text(TEXT.replace("]}\n", "], filters: [{type: custom, function: held:keep}]}\n"))
    yield
    (folder / "go").touch()


def project(folder):
    folder.mkdir(exist_ok=True)
    lines = (json.dumps({"prompt": f"Say {n}. " + "Please. " * 20, "completion": f"It is {n}."}) for n in range(40))
    (folder / "rows.jsonl").write_text("\n".join(lines))
    (folder / "rows.yaml").write_text(TEXT)
    return folder


# ── two at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_runs_of_one_recipe_at_once_one_is_refused_and_writes_nothing(folder, held):
    both = [start(folder), start(folder)]
    wait_until(lambda: any(process.poll() is not None for process in both))
    (folder / "go").touch()
    ends = [process.communicate(timeout=600) for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], ends
    loser, winner = codes.index(2), codes.index(0)
    assert f"run rows/1 is being written by process {both[winner].pid}" in ends[loser][1]
    assert "report:" not in ends[loser][1]
    assert [path.name for path in (folder / "runs" / "rows").glob("[0-9]*")] == ["1"]
    assert RunFolder(folder / "runs" / "rows" / "1").state["status"] == "done"
    assert [path.name for path in (folder / "runs" / "rows" / "1" / "logs").glob("attempt-*")] == ["attempt-1.log"]


def test_a_run_waits_while_another_chooses_its_folder(folder):
    made = folder / "runs" / "rows" / "1"
    with choosing("rows", folder / "runs"):
        waiting = start(folder)
        end = time.monotonic() + 4
        while time.monotonic() < end and not made.exists():
            time.sleep(0.05)
        assert not made.exists()
    _, err = waiting.communicate(timeout=600)
    assert (waiting.returncode, made.exists()) == (0, True), err


def test_a_run_that_is_refused_leaves_the_others_pages_as_they_are(folder):
    start(folder).communicate(timeout=600)
    done = RunFolder(folder / "runs" / "rows" / "1")
    pages = [done.path / name for name in ("report.html", "journal.md")]
    for page in pages:
        page.write_text("the other's")
    with done.locked():
        refused = start(folder)
        out, err = refused.communicate(timeout=600)
    assert (refused.returncode, out) == (2, "")
    assert f"is being written by process {os.getpid()}" in err
    assert [page.read_text() for page in pages] == ["the other's"] * 2


def test_two_runs_of_a_recipe_and_its_variant_at_once_both_end(folder, held):
    both = [start(folder), start(folder, "rows.yaml", "--set", "seed=8")]
    begun = [folder / "runs" / "rows" / number / "1-data" / "started.json" for number in "12"]
    wait_until(lambda: all(path.exists() for path in begun), *both)
    (folder / "go").touch()
    ends = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert sorted(path.name for path in (folder / "runs" / "rows").glob("[0-9]*")) == ["1", "2"]


# ── Ctrl-C ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_one_json_document_too(folder, held, stop):
    running = start(folder, "rows.yaml", "--json")
    wait_until((folder / "runs" / "rows" / "1" / "1-data" / "started.json").exists, running)
    running.send_signal(stop)
    out, err = running.communicate(timeout=600)
    assert running.returncode == 130
    told = json.loads(out)
    assert (told["error"], told["where"]) == ("Stopped", "runs/rows/1")
    assert told["fix"] == "to go on: tw run rows.yaml --json"
    assert "Traceback" not in err
    assert RunFolder(folder / "runs" / "rows" / "1").state["status"] == "stopped"


# ── recipes and folders of any kind ─────────────────────────────────────────────────────────────────────────────────


def test_a_recipe_from_a_pipe_is_run_from_the_current_folder_and_kept(folder):
    command = f"{TW} run <(sed 's/recipe: rows/recipe: piped/' rows.yaml)"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    kept = folder / "runs" / "piped" / "1" / "recipe.yaml"
    assert kept.read_text() == TEXT.replace("recipe: rows", "recipe: piped")


@pytest.mark.parametrize("by", ["cat rows.yaml | {tw} run /dev/stdin", "{tw} run /dev/stdin < rows.yaml"])
def test_a_recipe_from_standard_input_is_run_from_the_current_folder(folder, by):
    command = by.format(tw=TW)
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "runs" / "rows" / "1" / "recipe.yaml").read_text() == TEXT


@pytest.mark.parametrize("name", [b"two\nlines", "\u2028".encode(), b"\x01\x1b[31m", b"\xff\xfe"])
def test_a_run_ends_well_in_a_folder_of_any_name(tmp_path, name):
    odd = project(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    running = start(odd, "rows.yaml", "--output", os.fsdecode(name))
    out, err = running.communicate(timeout=600)
    assert running.returncode == 0, err
    assert out.endswith("report.html\n")
    run_folder = RunFolder(odd / os.fsdecode(name) / "rows" / "1")
    assert run_folder.state["status"] == "done"
    assert (run_folder.path / "report.html").is_file()


@pytest.mark.parametrize("arguments", [["run"], ["run", "--json"], ["check", "--static", "--json"]])
def test_rows_whose_folder_is_not_utf8_are_refused_before_anything_runs(tmp_path, arguments):
    odd = project(Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")))
    command = [TW, arguments[0], odd / "rows.yaml", *arguments[1:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    told = json.loads(done.stdout)["problems"][0]["seen"] if "--json" in arguments else done.stderr
    assert "has a name that is not UTF-8, or lies in a folder that has" in told

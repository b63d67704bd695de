"""The time of every attempt counts, also of one that was killed; what cannot be read never stops a run."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tunewright.artifacts.attempt import HEARTBEAT_SECONDS, begin_attempt, counted, end_attempt, read_attempt

LEFT = {"fingerprint": "f", "start": "2026-01-01T00:00:00+00:00", "seconds": 30.0, "attempts": 2}


def leave(folder, value=LEFT):
    folder.mkdir(exist_ok=True)
    (folder / "started.json").write_text(value if isinstance(value, str) else json.dumps(value))
    (folder / "answers.jsonl").write_text("{}\n")
    return folder


def test_an_attempt_at_the_same_thing_goes_on_with_its_files_and_its_time(tmp_path):
    attempt = begin_attempt(leave(tmp_path / "s"), "f")
    assert (attempt.attempts, attempt.seconds, attempt.start) == (3, 30.0, LEFT["start"])
    assert (tmp_path / "s" / "answers.jsonl").exists()


def test_an_attempt_at_another_thing_begins_anew(tmp_path):
    attempt = begin_attempt(leave(tmp_path / "s"), "g")
    assert (attempt.attempts, attempt.seconds) == (1, 0.0)
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["started.json"]


@pytest.mark.parametrize(
    "garbage",
    [
        "", "{", "[]", "7", "null", '"text"', "{}", "\x00\x00", '{"fingerprint": "f"}',
        {**LEFT, "attempts": "two"}, {**LEFT, "attempts": 0}, {**LEFT, "attempts": None}, {**LEFT, "attempts": 1.5},
        {**LEFT, "seconds": -1}, {**LEFT, "seconds": "30"}, {**LEFT, "seconds": [1]}, {**LEFT, "start": "yesterday"},
        {**LEFT, "start": 3}, {**LEFT, "fingerprint": None},
        json.dumps({**LEFT, "seconds": float("nan")}), json.dumps({**LEFT, "seconds": float("inf")}),
    ],
)  # fmt: skip
def test_a_file_that_is_garbage_is_as_good_as_none(tmp_path, garbage):
    folder = leave(tmp_path / "s", garbage)
    assert read_attempt(folder) is None
    assert begin_attempt(folder, "f").attempts == 1
    assert not (folder / "answers.jsonl").exists()


def test_a_folder_in_the_place_of_the_file_is_as_good_as_none(tmp_path):
    (tmp_path / "s" / "started.json").mkdir(parents=True)
    assert begin_attempt(tmp_path / "s", "f").attempts == 1


def test_the_time_of_an_attempt_adds_up_and_is_kept_however_it_ends(tmp_path):
    attempt = begin_attempt(leave(tmp_path / "s"), "f")
    with pytest.raises(RuntimeError), counted(tmp_path / "s", attempt) as seconds:
        time.sleep(0.05)
        assert 30.05 <= seconds() < 60
        raise RuntimeError
    assert 30.05 <= read_attempt(tmp_path / "s").seconds < 60
    end_attempt(tmp_path / "s")
    assert read_attempt(tmp_path / "s") is None


def test_an_attempt_whose_folder_was_taken_away_still_ends(tmp_path):
    attempt = begin_attempt(leave(tmp_path / "s"), "f")
    with counted(tmp_path / "s", attempt):
        (tmp_path / "s").rename(tmp_path / "t")
    assert not (tmp_path / "s").exists()


def test_the_time_of_a_killed_attempt_is_known_from_its_heartbeats(tmp_path):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tunewright.artifacts.attempt import begin_attempt, counted\n"
        "folder = Path(sys.argv[1])\n"
        "with counted(folder, begin_attempt(folder, 'f')): time.sleep(600)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "s")]
    began, known = time.monotonic(), 0.0
    with subprocess.Popen(command) as process:
        while known < 2 * HEARTBEAT_SECONDS and time.monotonic() - began < 600:
            time.sleep(0.05)
            left = read_attempt(tmp_path / "s")
            known = left.seconds if left else 0.0
        process.send_signal(signal.SIGKILL)
    assert 2 * HEARTBEAT_SECONDS <= known <= begin_attempt(tmp_path / "s", "f").seconds < time.monotonic() - began

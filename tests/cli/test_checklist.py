import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from sample_run import complete_run

from tunewright.cli.main import main


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return complete_run(Path("runs"))


def test_a_run_that_nobody_read_ends_with_1_and_says_what_is_lacking(run, capsys):
    assert main(["checklist", "tour"]) == 1
    out = capsys.readouterr().out
    assert "outputs read by a person" in out and "nobody has signed" in out
    assert "1 not done" in out


def test_a_signature_is_written_and_then_nothing_is_not_done(run, capsys):
    assert main(["checklist", "tour", "--sign", "A. Reader"]) == 0
    assert "A. Reader" in capsys.readouterr().out
    assert main(["checklist", "tour"]) == 0


def test_as_json_it_is_one_document(run, capsys):
    assert main(["checklist", "tour/1", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["run"] == "tour/1" and told["ready"] is False
    assert {"name", "state", "seen", "evidence"} == set(told["items"][0])
    assert {item["state"] for item in told["items"]} == {"done", "not done", "not shown", "not needed"}


def test_a_run_that_is_not_there_is_the_users_mistake(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["checklist", "nothing"]) == 2
    assert "no run" in capsys.readouterr().err

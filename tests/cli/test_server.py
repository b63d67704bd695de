"""`tw server` from start to stop, with a program on the PATH that is called `llama-server` and is a small real one."""

import json
import os
import sys
from pathlib import Path

import pytest

from tunewright.cli.main import main

SMALL = Path(__file__).parents[1] / "backends" / "protocol_server.py"


@pytest.fixture
def gguf(tmp_path):
    """A model file, with our program as the server that loads it."""
    program = tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S {SMALL} "$@"\n')
    program.chmod(0o755)
    before = {name: os.environ.get(name) for name in ("XDG_RUNTIME_DIR", "PATH")}
    os.environ |= {"XDG_RUNTIME_DIR": str(tmp_path), "PATH": f"{program.parent}:{before['PATH']}"}
    model = tmp_path / "tiny.gguf"
    model.write_bytes(b"GGUF")
    yield str(model)
    main(["server", "stop", "--all"])
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def told(capsys, *arguments):
    capsys.readouterr()
    code = main(["server", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_server_is_started_seen_and_stopped(gguf, capsys):
    code, up = told(capsys, "start", gguf)
    assert code == 0 and up["phase"] == "up" and up["kind"] == "llama.cpp" and up["name"] == "tiny"
    assert up["url"].startswith("http://127.0.0.1:")
    assert told(capsys, "status") == (0, {"servers": [up]})
    assert main(["server", "status"]) == 0
    assert up["url"] in capsys.readouterr().out
    code, logs = told(capsys, "logs", "tiny")
    assert code == 0 and "listening on" in logs["text"]
    assert told(capsys, "stop") == (0, {"stopped": ["tiny"]})
    assert told(capsys, "status") == (0, {"servers": []})


def test_options_behind_two_dashes_go_to_the_server(gguf, capsys):
    code = main(["server", "start", gguf, "--name", "other", "--json", "--", "--say-at-start", "so be it"])
    error = json.loads(capsys.readouterr().out)
    assert code == 3 and "so be it" in error["seen"]


def test_several_servers_are_stopped_by_name_or_all_at_once(gguf, capsys):
    assert main(["server", "start", gguf, "--name", "a"]) == main(["server", "start", gguf, "--name", "b"]) == 0
    code, error = told(capsys, "stop")
    assert code == 2 and "a | b" in error["expected"]
    assert told(capsys, "stop", "--all") == (0, {"stopped": ["a", "b"]})


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["start"], "no model"),
        (["start", "x.gguf"], "no such file"),
        (["start", "x", "--kind", "nope"], "no such kind"),
        (["stop", "nobody"], "no server"),
        (["stop", "a", "--all"], "`a` and --all are both given"),
        (["logs"], "name is needed"),
        (["status", "x"], "too much"),
        (["dance"], "nothing to do"),
        (["start", "model", "--kind", "vllm", "--python", "/no/python"], "no such program"),
    ],
)
def test_mistakes_are_told_without_a_traceback(gguf, capsys, arguments, word):
    code, error = told(capsys, *arguments)
    assert code in (2, 3) and word in error["seen"] and "bug" not in error

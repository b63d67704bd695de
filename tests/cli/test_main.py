"""The frame of the command line: help, errors, exit codes, signals. Most of it as a user sees it: a real process."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.pace import assert_takes_less_than

from tunewright import __version__
from tunewright.cli import main as frame
from tunewright.cli.main import VERBS, Verb, command_of, help_text, main
from tunewright.errors import GateFailed

TW = Path(sys.executable).with_name("tw")


def tw(*args, **more):
    return subprocess.run([TW, *args], capture_output=True, text=True, timeout=600, **more)


@pytest.fixture
def verb(tmp_path, monkeypatch):
    """Make a verb of a function body."""

    def make(body, name="trial"):
        (tmp_path / "trial_verb.py").write_text(
            f"from tunewright.errors import *\nimport sys, time\ndef trial(json: bool = False):\n    {body}\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "trial_verb", raising=False)
        monkeypatch.setitem(frame.VERBS, name, Verb("trial_verb:trial", "a trial"))
        return name

    return make


# ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("closed", "code"), [("<&-", 2), (">&-", 0), ("2>&-", 0)])
def test_a_stream_that_is_closed_is_no_bug(tmp_path, closed, code):
    arguments = "init z.yaml --dataset bfcl" if closed == "<&-" else "--version"
    done = subprocess.run(
        f"exec '{TW}' {arguments} {closed}", shell=True, capture_output=True, text=True, cwd=tmp_path, timeout=600
    )
    assert done.returncode == code and "Traceback" not in done.stderr


def test_progress_stays_out_of_the_result_where_stderr_is_closed(tmp_path):
    command, more = program(tmp_path, "print('progress', file=sys.stderr); print('result')")
    done = subprocess.run(
        f"{shlex.join(command)} 2>&-", shell=True, capture_output=True, text=True, timeout=600, **more
    )
    assert (done.returncode, done.stdout) == (0, "result\n")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_what_a_stream_cannot_show_is_shown_as_an_escape(tmp_path, encoding):
    body = "from tunewright.cli.tables import print_table; print_table(['a'], [['ok \\u2192 \\ud83d']])"
    command, more = program(tmp_path, body)
    done = subprocess.run(
        command, capture_output=True, timeout=600, cwd=tmp_path, env={**more["env"], "PYTHONIOENCODING": encoding}
    )
    arrow = "→" if encoding == "utf-8" else "\\u2192"
    assert (done.returncode, done.stdout.decode()) == (0, f"a\nok {arrow} \\ud83d\n")


# ── help ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_help_lists_every_verb_with_one_line():
    out = tw("--help").stdout
    assert all(f"  {name}" in out and verb.help in out for name, verb in VERBS.items())


def test_version_is_the_packages():
    assert tw("--version").stdout == f"tunewright {__version__}\n"


def test_the_module_is_the_same_program():
    out = subprocess.run([sys.executable, "-m", "tunewright", "--help"], capture_output=True, text=True, timeout=600)
    assert out.stdout == help_text() + "\n"


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_take_less_than_a_fifth_of_a_second(argument):
    assert_takes_less_than(0.2, [TW, argument])


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_function_of_its_name_and_help(name):
    module, _, function = VERBS[name].target.partition(":")
    assert function == name
    assert module == f"tunewright.cli.{name}"
    assert command_of(name).help


def test_without_a_verb_the_help_goes_to_stderr():
    done = tw()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: tw VERB" in done.stderr


def test_an_unknown_verb_gets_the_nearest_one():
    done = tw("chekc")
    assert done.returncode == 2
    assert "fix: tw check" in done.stderr


@pytest.mark.parametrize(
    "args", [["check"], ["check", "a.yaml", "--statc"], ["init", "--steps", "x"], ["schema", "a", "b"]]
)
def test_wrong_use_of_a_verb_is_clean_and_exits_2(args):
    done = tw(*args)
    assert done.returncode == 2
    assert f"tw {args[0]} --help" in done.stderr
    assert "Traceback" not in done.stderr


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_error_made_on_purpose_is_printed_clean(verb, capsys):
    assert main([verb("raise UserError('seen this', where='a:1', fix='do that')")]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "a:1: seen this\n  fix: do that\n")


def test_the_exit_code_is_the_errors(verb, capsys):
    assert main([verb("raise GateFailed('gate')")]) == GateFailed.exit_code == 1


def test_an_error_is_one_json_object_with_json(verb, capsys):
    assert main([verb("raise EnvironmentProblem('disk full')"), "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["seen"] == "disk full"
    assert err == ""


def test_wrong_use_is_one_json_object_with_json():
    assert json.loads(tw("check", "--json").stdout)["error"] == "UserError"


def test_a_bug_prints_its_traceback_and_exits_3(verb, capsys):
    assert main([verb("1 / 0")]) == 3
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_bug_is_one_json_object_with_json_and_still_has_its_traceback(verb, capsys):
    assert main([verb("1 / 0"), "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["bug"] is True
    assert "Traceback" in err


def test_a_verb_may_exit_with_a_code(verb, capsys):
    assert main([verb("import typer; raise typer.Exit(1)")]) == 1


# ── signals and pipes ───────────────────────────────────────────────────────────────────────────────────────────────


def program(tmp_path, body, *arguments):
    (tmp_path / "trial_verb.py").write_text(f"import sys, time\ndef trial(json: bool = False):\n    {body}\n")
    code = (
        "import sys; from tunewright.cli import main as m;"
        f"m.VERBS['trial'] = m.Verb('trial_verb:trial', ''); sys.exit(m.main(['trial', *{arguments}]))"
    )
    return [sys.executable, "-c", code], {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(tmp_path)}}


def test_ctrl_c_ends_with_130_and_one_line(tmp_path):
    command, more = program(tmp_path, "print('ready', flush=True); time.sleep(600)")
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=600)
    assert running.returncode == 130
    assert err.strip() == "stopped by Ctrl-C"


def test_ctrl_c_is_one_json_object_with_json(tmp_path):
    command, more = program(tmp_path, "print('ready', file=sys.stderr, flush=True); time.sleep(600)", "--json")
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
    assert running.stderr.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=600)
    assert (running.returncode, err) == (130, "")
    told = {"error": "Stopped", "where": None, "seen": "stopped by Ctrl-C", "expected": None, "fix": None}
    assert json.loads(out) == told


def test_an_error_about_a_file_whose_name_is_not_utf8_is_json_too(tmp_path):
    done = tw("check", "--static", "--json", os.fsdecode(b"\xff.yaml"))
    assert done.returncode == 2
    assert json.loads(done.stdout)["problems"][0]["file"] == os.fsdecode(b"\xff.yaml")


@pytest.mark.parametrize("flush", ["True", "False"])
def test_a_reader_that_goes_away_is_no_error(tmp_path, flush):
    command, more = program(tmp_path, f"[print('x' * 1000, flush={flush}) for _ in range(1000)]")
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    running.stdout.read(10)
    running.stdout.close()
    assert running.stderr.read() == b""
    assert running.wait(timeout=600) == 141


def test_a_stdout_that_is_full_is_told():
    with open("/dev/full", "w") as full:
        done = subprocess.run([TW, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=600)
    assert done.returncode == 3
    assert done.stderr == "stdout: cannot be written (No space left on device)\n"


def test_a_recipe_may_be_called_rows(smollm2_folder, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x", "completion": "y"}\n' * 4)
    source = "{sources: [{type: jsonl, path: rows.jsonl}]}"
    (tmp_path / "r.yaml").write_text(f"recipe: rows\nmodel: smollm2-135m-instruct\nstages: [data: {source}]\n")
    assert tw("run", "r.yaml", cwd=tmp_path).returncode == 0
    assert "rows/1  done" in tw("show", "rows", cwd=tmp_path).stdout


def test_finetune_takes_a_file_without_an_ending(tmp_path):
    (tmp_path / "rows").write_text("{}\n")
    done = tw("finetune", "--model", "none.gguf", "--dataset", "./rows", cwd=tmp_path)
    assert "{type: jsonl, path: ../rows}" in done.stderr


def test_finetune_takes_a_gguf_file_from_the_current_folder(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (tmp_path / "m.gguf").write_bytes(b"no model")
    done = tw("finetune", "--model", "m.gguf", "--dataset", "rows.jsonl", cwd=tmp_path)
    assert "model: m.gguf\n" in done.stderr
    assert "no such file" not in done.stderr

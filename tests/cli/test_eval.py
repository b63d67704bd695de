"""`tw eval`: on the toy model, in this process; the frame of the command line has its own tests."""

import json
import os
from pathlib import Path

import pytest
from tests.stages.test_evaluate import make_rows

from tunewright.artifacts.rundir import lock_folder
from tunewright.artifacts.verdict import judge
from tunewright.cli.eval import _hold
from tunewright.cli.evaluating import DONE, Evaluated, section_of
from tunewright.cli.main import main


@pytest.fixture
def rows(tmp_path):
    return make_rows(tmp_path / "rows.jsonl").path


@pytest.fixture
def other_model(toy_model, tmp_path):
    """The toy model with other weights."""
    import shutil

    import torch
    from transformers import LlamaForCausalLM

    folder = tmp_path / "other-model"
    shutil.copytree(toy_model, folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.05)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def tw(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


SHORT = ("--set", "max_new_tokens=4")


def test_several_models_stand_side_by_side_tested_against_the_first(tw, toy_model, other_model, rows):
    code, out, err = tw("eval", toy_model, other_model, "exact-match", "--rows", rows, *SHORT, "--json")
    assert code == 0, err
    told = json.loads(out)
    first, second = told["models"]
    assert told["baseline"] == first["model"] == str(toy_model)
    assert first["against_first"] == []
    assert [test["metric"] for test in second["against_first"]] == ["exact_match", "token_f1"]
    assert "A paired comparison on 9 rows in 5 groups shows" in err


def test_the_table_has_intervals_and_says_where_the_scores_lie(tw, toy_model, rows):
    code, out, _ = tw("eval", toy_model, "exact-match", "--rows", rows, "--limit", 3, *SHORT)
    assert code == 0
    assert "95% interval" in out
    assert "3 rows; intervals: 95%, Wilson" in out
    assert "against the first" not in out


def test_compare_reads_the_folders(tw, toy_model, other_model, rows):
    _, out, _ = tw("eval", toy_model, other_model, "exact-match", "--rows", rows, *SHORT, "--json")
    folders = [model["folder"] for model in json.loads(out)["models"]]
    code, out, err = tw("compare", *folders)
    assert code == 0, err
    assert "exact match" in out


def test_the_same_command_again_takes_what_is_there(tw, toy_model, rows):
    _, first, _ = tw("eval", toy_model, "exact-match", "--rows", rows, *SHORT, "--json")
    _, second, err = tw("eval", toy_model, "exact-match", "--rows", rows, *SHORT, "--json")
    assert second == first
    assert "taken from" in err


def test_an_evaluation_that_another_process_carries_out_is_refused(tw, toy_model, rows):
    command = ("eval", toy_model, "exact-match", "--rows", rows, *SHORT)
    folder = Path(json.loads(tw(*command, "--json")[1])["models"][0]["folder"])
    (folder / DONE).unlink()
    before = (folder / "answers.jsonl").read_bytes()
    with lock_folder(folder, "it", "wait"):
        code, _, err = tw(*command)
    assert code == 2
    assert f"{folder}: this evaluation is being written by process {os.getpid()}" in err
    assert (folder / "answers.jsonl").read_bytes() == before
    assert tw(*command)[0] == 0


def test_what_is_done_is_taken_though_another_process_holds_the_folder(tw, toy_model, rows):
    command = ("eval", toy_model, "exact-match", "--rows", rows, *SHORT, "--json")
    folder = Path(json.loads(tw(*command)[1])["models"][0]["folder"])
    with lock_folder(folder, "it", "wait"):
        assert tw(*command)[0] == 0


def test_other_settings_other_rows_and_another_limit_are_other_scores(tw, toy_model, rows, tmp_path):
    fewer = make_rows(tmp_path / "fewer.jsonl", 5).path
    variants = [
        ("--rows", rows),
        ("--rows", fewer),
        ("--rows", rows, "--limit", 4),
        ("--rows", rows, "--set", "system=Be brief."),
    ]
    folders = {
        json.loads(tw("eval", toy_model, "exact-match", *more, *SHORT, "--json")[1])["models"][0]["folder"]
        for more in variants
    }
    assert len(folders) == len(variants)


def test_a_suite_of_a_file_brings_its_rows_and_an_edited_one_is_scored_again(tw, toy_model, tmp_path):
    (tmp_path / "facts.jsonl").write_text(
        '{"question": "2+2?", "reference": "4"}\n{"question": "3+3?", "reference": "6"}\n'
    )
    (tmp_path / "facts.yaml").write_text(
        "suite: facts\nrows: {path: facts.jsonl}\nprompt: {template: '{{ question }}'}\n"
        "sampling: {max_new_tokens: 3}\nscorers: {exact: {suite: exact-match}}\n"
    )
    code, out, err = tw("eval", toy_model, "facts.yaml", "--json")
    assert code == 0, err
    told = json.loads(out)["models"][0]
    assert told["scores"]["num_rows"] == 2
    assert told["scores"]["inference"]["max_new_tokens"] == 3
    (tmp_path / "facts.jsonl").write_text('{"question": "2+2?", "reference": "4"}\n')
    again = json.loads(tw("eval", toy_model, "facts.yaml", "--json")[1])["models"][0]
    assert again["folder"] != told["folder"]
    assert again["scores"]["num_rows"] == 1


def test_drawn_answers_are_repeated(tw, toy_model, rows):
    more = ("--set", "temperature=1.0", "--set", "repeats=2", "--limit", 2)
    _, out, _ = tw("eval", toy_model, "exact-match", "--rows", rows, *SHORT, *more, "--json")
    scores = json.loads(out)["models"][0]["scores"]
    assert [one["metric"] for one in scores["pass_k"]] == ["exact_match pass@2", "exact_match pass^2"]


def test_a_served_model_stands_beside_a_local_one(tw, toy_model, rows, tmp_path, monkeypatch):
    from tests.backends.protocol_server import ProtocolServer

    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(tmp_path / "cache"))  # where paid answers are kept
    with ProtocolServer() as server:
        command = ("eval", toy_model, f"{server.url}#m", "exact-match", "--rows", rows, *SHORT, "--json")
        code, out, err = tw(*command)
    assert code == 0, err
    served = json.loads(out)["models"][1]
    assert served["scores"]["inference"]["backend"] == "openai"
    assert [test["num_rows"] for test in served["against_first"]] == [9, 9]
    assert "9 of 9 requests say what the rows say" in err


def test_what_a_server_could_not_answer_is_asked_for_again_by_the_same_command(tw, rows, tmp_path, monkeypatch):
    from tests.backends.protocol_server import ProtocolServer

    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(tmp_path / "cache"))
    with ProtocolServer() as server:
        command = ("eval", f"{server.url}#m", "exact-match", "--rows", rows, *SHORT, "--json")
        server.faults.append("filtered")
        code, out, err = tw(*command)
        assert code == 1 and "answers_scored" in out + err
        assert len(server.requests) == 9
        code, out, _ = tw(*command)
        assert code == 0 and len(server.requests) == 10
        assert json.loads(out)["models"][0]["scores"]["unscored"] == 0


def test_unscored_answers_are_let_pass_knowingly(tw, rows, tmp_path, monkeypatch):
    from tests.backends.protocol_server import ProtocolServer

    monkeypatch.setenv("TUNEWRIGHT_CACHE", str(tmp_path / "cache"))
    with ProtocolServer() as server:
        server.faults.append("filtered")
        allowed = ("--allow", "answers_scored")
        code, out, _ = tw("eval", f"{server.url}#m", "exact-match", "--rows", rows, *SHORT, *allowed, "--json")
    assert code == 0 and json.loads(out)["models"][0]["scores"]["unscored"] == 1


def test_what_a_gate_says_holds_nothing_that_a_terminal_obeys(tmp_path, capsys):
    said = judge("answers_scored", False, measured="\x1b[31mred", bound="none", remedy="look")
    _hold([Evaluated("m", tmp_path, None, [said])], ["answers_scored"])
    assert "⟨U+001B⟩[31mred" in capsys.readouterr().err


def test_a_suite_may_have_any_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "🎈.yaml").touch()
    assert section_of("./🎈.yaml", None, ()).suite == "🎈.yaml"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("exact-match",), "no suite was named"),
        (("a", "a", "exact-match"), "a model is named twice"),
        (("MODEL", "exact-mach"), "did you mean"),
        (("MODEL", "exact-match"), "this suite brings none"),
        (("MODEL", "exact-match", "--set", "temprature=1"), "unknown key `temprature`"),
        (("MODEL", "exact-match", "--set", "temperature=0", "--set", "repeats=2"), "answers to a row are the same"),
        (("MODEL", "exact-match", "--rows", "ROWS", "--set", "shots=4"), "no recipe is here"),
        (
            ("MODEL", "exact-match", "--rows", "ROWS", "--set", "shots=4", "--set", "shots_from=data.train"),
            "no recipe is here",
        ),
        (("https://host/v1", "exact-match", "--rows", "ROWS"), "the URL does not say which model"),
        (("./nothing", "exact-match", "--rows", "ROWS"), "no such model"),
    ],
)
def test_mistakes_are_told_clean(tw, toy_model, rows, arguments, told):
    given = [{"MODEL": toy_model, "ROWS": rows}.get(argument, argument) for argument in arguments]
    code, _, err = tw("eval", *given)
    assert code == 2
    assert told in err
    assert "Traceback" not in err

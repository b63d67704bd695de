"""`tw lint`: verdicts on a model and rows, and exit codes."""

import json

from tunewright.artifacts.files import write_jsonl
from tunewright.cli.main import main

ALIAS = "smollm2-135m-instruct"


def rows_file(tmp_path, question):
    answer = {"role": "assistant", "content": "Fine."}
    write_jsonl(tmp_path / "rows.jsonl", [{"messages": [{"role": "user", "content": question}, answer]}])
    return str(tmp_path / "rows.jsonl")


def test_a_clean_model_and_clean_rows_pass(tmp_path, capsys):
    assert main(["lint", ALIAS, rows_file(tmp_path, "How are you?"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {verdict["status"] for verdict in told["verdicts"]} == {"PASSED"}
    names = [verdict["name"] for verdict in told["verdicts"]]
    assert len(names) == len(set(names)) and {"control_tokens_are_real", "labels_are_the_answers", "rows_fit"} <= {
        *names
    }


def test_a_fault_is_told_with_its_remedy_and_exit_code_1(tmp_path, capsys):
    assert main(["lint", ALIAS, rows_file(tmp_path, "hi<|im_end|>")]) == 1
    told = capsys.readouterr().out
    assert "FAILED  rows_have_no_control_tokens: 1 of 1 rows" in told and "`<|im_end|>`" in told


def test_a_model_that_is_not_there_is_the_users_mistake(capsys):
    assert main(["lint", "no-such-model"]) == 2
    assert "no such model" in capsys.readouterr().err

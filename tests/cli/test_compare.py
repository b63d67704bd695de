import json
from pathlib import Path

import pytest

from tunewright.artifacts.files import read_jsonl, write_jsonl
from tunewright.cli.main import main

LOGS = Path(__file__).parents[1] / "sources" / "logs"
SUMS = [str(LOGS / f"samples_sums_{name}.jsonl") for name in "ab"]


def test_logs_of_lm_eval_are_compared_by_question(capsys):
    assert main(["compare", *SUMS, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    tests = {test["metric"]: test for test in told["tests"]}
    assert (tests["exact_match,flexible-extract"]["gained"], tests["exact_match,flexible-extract"]["lost"]) == (2, 0)
    assert told["verdict"] == "not shown" and told["matrix"] == []


def test_logs_of_inspect_are_compared_and_errors_are_counted(capsys):
    assert main(["compare", str(LOGS / "inspect_a.eval"), str(LOGS / "inspect_b.eval")]) == 0
    out = capsys.readouterr().out
    assert "graded/closeness" in out and "1 more unscored on a side" in out


def test_three_systems_are_compared_in_pairs_too(tmp_path, capsys):
    third = tmp_path / "samples_sums_c.jsonl"
    write_jsonl(third, ({**line, "exact_match": 0.0} for _, line in read_jsonl(Path(SUMS[0]))))
    assert main(["compare", *SUMS, str(third)]) == 0
    assert "every pair in" in capsys.readouterr().out
    main(["compare", *SUMS, str(third), "--json"])
    assert len(json.loads(capsys.readouterr().out)["matrix"]) == 3


def test_a_field_of_the_questions_groups_the_rows(capsys):
    assert main(["compare", *SUMS, "--cluster", "topic", "--json"]) == 0
    assert {test["num_groups"] for test in json.loads(capsys.readouterr().out)["tests"]} == {3}


def test_other_prompts_to_the_same_questions_are_told(tmp_path, capsys):
    other = tmp_path / "samples_sums_c.jsonl"
    write_jsonl(other, ({**line, "prompt_hash": "another"} for _, line in read_jsonl(Path(SUMS[1]))))
    assert main(["compare", SUMS[0], str(other)]) == 0
    assert "6 questions asked with another prompt" in capsys.readouterr().err


def test_what_changed_is_printed_with_rows_to_read(capsys):
    main(["compare", *SUMS])
    out = capsys.readouterr().out
    assert "p-values are Holm-corrected" in out and "6 rows in 6 groups" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", *SUMS, "--cluster", "subject"], "no field 'subject'"),
        (["compare", *SUMS, SUMS[0]], "named twice"),
        (["compare", SUMS[0], "nowhere"], "no scores in 'nowhere'"),
    ],
)
def test_mistakes_are_told_without_a_traceback(words, message, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err

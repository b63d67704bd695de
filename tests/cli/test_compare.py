import json
from pathlib import Path

import pytest

from tunewright.artifacts.files import read_jsonl, write_json, write_jsonl
from tunewright.artifacts.scores import MetricSummary, ScoreRow, Scores
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


def test_a_system_that_lacks_the_deciding_metric_is_told(tmp_path, capsys):
    third = tmp_path / "samples_sums_c.jsonl"
    lines = [line for _, line in read_jsonl(Path(SUMS[0]))]
    write_jsonl(third, (line for line in lines if line["filter"] == lines[0]["filter"]))  # its metric has no suffix
    assert main(["compare", *SUMS, str(third)]) == 2
    err = capsys.readouterr().err
    assert f"{SUMS[0]} and {third}: no row has a score in 'exact_match,strict-match'" in err


# ── what an evaluation says of its own metrics ──────────────────────────────────────────────────────────────────────


def evaluated(folder, **values):
    """A folder as `tw eval` leaves it: 20 rows, each metric with the same score in all of them."""
    folder.mkdir()
    empty = {"group": "", "source": "", "question": "", "reference": "", "answer": "", "reason": "", "finish": "stop"}
    empty |= {"prompt_sha256": "", "prompt_tokens": 0, "answer_tokens": 0, "seconds": 0.0}
    rows = [ScoreRow(id=f"r{i}", scores=values, **empty) for i in range(20)]
    write_jsonl(folder / "scores.jsonl", (row.model_dump(mode="json") for row in rows))
    summary = [
        MetricSummary(
            metric=name, value=value, low=value, high=value, num_rows=20, denominator="rows", binary=True,
            higher_is_better=name != "errors",
        )
        for name, value in values.items()
    ]  # fmt: skip
    scores = Scores(
        folder=folder, model="m", suite="own", shots=0, num_rows=20, summary=summary, main_metric=list(values)[-1],
        seconds=0.0, prompt_tokens=0, answer_tokens=0, cut_answers=0,
    )  # fmt: skip
    write_json(folder / "scores.json", {"scores": scores.model_dump(mode="json"), "verdicts": []})
    return str(folder)


def compared(capsys, *words):
    code = main(["compare", *words, "--json"])
    told = json.loads(capsys.readouterr().out)
    return code, told["main_metric"], told["verdict"]


def test_a_suite_of_ones_own_says_what_is_better(tmp_path, capsys):
    many, few = evaluated(tmp_path / "many", errors=1.0), evaluated(tmp_path / "few", errors=0.0)
    assert compared(capsys, many, few) == (0, "errors", "better")
    assert compared(capsys, few, many) == (1, "errors", "worse")
    assert compared(capsys, f"{few}/scores.jsonl", f"{many}/scores.jsonl") == (1, "errors", "worse")


def test_a_suite_of_ones_own_says_which_metric_decides(tmp_path, capsys):
    sides = [evaluated(tmp_path / str(right), exact_match=1.0 - right, mine=float(right)) for right in (0, 1)]
    assert compared(capsys, *sides) == (0, "mine", "better")


def test_rows_by_themselves_are_compared_by_what_is_known_of_their_names(tmp_path, capsys):
    for name, value in (("high", 1.0), ("low", 0.5)):
        rows = Path(evaluated(tmp_path / name, perplexity=value)) / "scores.jsonl"
        rows.rename(tmp_path / f"{name}.jsonl")
    assert compared(capsys, str(tmp_path / "high.jsonl"), str(tmp_path / "low.jsonl")) == (0, "perplexity", "better")


def test_a_result_that_cannot_be_read_is_told(tmp_path, capsys):
    many, few = evaluated(tmp_path / "many", errors=1.0), evaluated(tmp_path / "few", errors=0.0)
    (tmp_path / "few" / "scores.json").write_text("[]")
    assert main(["compare", many, few]) == 2
    assert "few/scores.json: no result of an evaluation" in capsys.readouterr().err


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

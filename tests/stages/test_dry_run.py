import json

import pytest
from tests.conftest import run as run_recipe_file
from tests.graders.policies import answers_to_sums, sums

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.files import write_jsonl
from tunewright.artifacts.rundir import find_run
from tunewright.errors import DataError, GateFailed
from tunewright.recipe.sections import DryRunSection
from tunewright.stages.dry_run.stage import dry_run

NUMBER = {"type": "number"}


@pytest.fixture
def rows(tmp_path):
    answers = {"role": "assistant"}
    write_jsonl(
        tmp_path / "train.jsonl",
        (
            {
                "id": row["id"],
                "messages": [*row["messages"], {**answers, "content": row["reference"]}],
                "source": "test",
                "group": row["id"],
                "meta": {},
            }
            for row in sums()
        ),
    )
    return Rows(path=tmp_path / "train.jsonl")


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    write_jsonl(path, ({"id": name, "answers": texts} for name, texts in answers_to_sums(sums()).items()))
    return path


def run(rows, out, **fields):
    out.mkdir(exist_ok=True)
    context = RunContext(quiet=True)
    section = DryRunSection(**{"rows": "data.train", "grader": NUMBER, "seed": 1, "model": "none", **fields})
    return dry_run(rows, section, out, context), context


def test_given_answers_are_graded_and_the_gate_gets_the_verdict(rows, answers, tmp_path):
    result, context = run(rows, tmp_path / "out", answers=str(answers))
    assert result.verdict == "GO" and result.num_answers == 200 and result.diagnoses == ()
    assert [(verdict.name, verdict.status) for verdict in context.verdicts] == [("grader_can_teach", "PASSED")]
    told = json.loads((tmp_path / "out" / "dry_run.json").read_text())
    assert told["verdict"] == "GO" and told["measured"]["groups"]["count"] == 25


def test_a_killed_dry_run_goes_on_from_the_grades_it_has(rows, answers, tmp_path):
    whole, _ = run(rows, tmp_path / "whole", answers=str(answers))
    run(rows, tmp_path / "half", answers=str(answers))
    log = tmp_path / "half" / "grades.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:40]) + lines[40][:25])
    again, _ = run(rows, tmp_path / "half", answers=str(answers))
    assert len(log.read_text().splitlines()) == 200
    assert (again.mean, again.dead_prompts) == (whole.mean, whole.dead_prompts)
    assert log.read_text().splitlines()[:40] == [line.rstrip("\n") for line in lines[:40]]


def test_grades_of_other_answers_are_not_gone_on_from(rows, answers, tmp_path):
    run(rows, tmp_path / "out", answers=str(answers))
    write_jsonl(answers, ({"id": row["id"], "answers": ["1", "2"]} for row in sums()))
    with pytest.raises(DataError, match="other answers"):
        run(rows, tmp_path / "out", answers=str(answers))


def test_a_dead_grader_fails_the_gate(rows, answers, tmp_path):
    result, context = run(
        rows, tmp_path / "out", answers=str(answers), grader="tests.graders.some_graders:swallows_its_errors"
    )
    assert result.verdict == "NO-GO" and result.diagnoses == ("dead",)
    assert context.verdicts[0].stops and "dead" in context.verdicts[0].remedy


def test_a_model_answers_several_times_and_each_answer_is_its_own(rows, toy_model, tmp_path):
    options = {"model": str(toy_model), "prompts": 3, "samples": 4, "max_new_tokens": 6, "batch_size": 12}
    result, _ = run(rows, tmp_path / "out", **options)
    lines = [json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").read_text().splitlines()]
    assert result.num_answers == len(lines) == 12 and result.num_prompts == 3
    assert len({line["answer"] for line in lines}) > 6  # random weights at temperature 1
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    run(rows, tmp_path / "out", **options)
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before


def test_in_a_recipe_a_no_go_stops_the_run_before_the_next_stage(tmp_path, toy_model, root):
    rows = sums()
    write_jsonl(
        tmp_path / "rows.jsonl",
        ({"id": row["id"], "prompt": row["messages"][0]["content"], "completion": row["reference"]} for row in rows),
    )
    write_jsonl(
        tmp_path / "said.jsonl", ({"id": name, "answers": texts} for name, texts in answers_to_sums(rows).items())
    )
    (tmp_path / "dry.yaml").write_text(
        f"""\
recipe: dry
model: {toy_model}
stages:
  - data: {{sources: [{{type: jsonl, path: rows.jsonl}}], split: {{test: 1}}}}
  - dry_run: {{id: sound, rows: data.train, grader: {{type: number}}, answers: {tmp_path}/said.jsonl}}
  - dry_run: {{id: blunt, rows: data.train, grader: {{type: regex, pattern: "."}}, answers: {tmp_path}/said.jsonl}}
  - dry_run: {{id: later, rows: data.train, grader: {{type: number}}, answers: {tmp_path}/said.jsonl}}
"""
    )
    with pytest.raises(GateFailed, match="dead"):
        run_recipe_file(tmp_path / "dry.yaml", root)
    records = find_run("dry", root).records()
    assert [(record.id, record.verdicts[0].status) for record in records[1:]] == [
        ("sound", "PASSED"),
        ("blunt", "FAILED"),
    ]
    assert find_run("dry", root).artifact("sound").verdict == "GO"

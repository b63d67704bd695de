import json

import pytest

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.files import write_jsonl
from tunewright.errors import DataError, ModelError
from tunewright.recipe.sections import EvaluateSection
from tunewright.stages.evaluate.stage import evaluate, pick_shots


def make_rows(path, count=9, words=4):
    rows = (
        {
            "id": f"r{i}",
            "messages": [
                {"role": "user", "content": f"Say {i}" + " please" * (words + i % 4)},
                {"role": "assistant", "content": f"It is {i}."},
            ],
            "source": "test",
            "group": f"g{i // 2}",
            "meta": {},
        }
        for i in range(count)
    )
    write_jsonl(path, rows)
    return Rows(path=path)


@pytest.fixture
def rows(tmp_path):
    return make_rows(tmp_path / "test.jsonl")


def section(model, **more):
    options = {"suite": "exact-match", "rows": "data.test", "model": str(model), "max_new_tokens": 6, "batch_size": 4}
    return EvaluateSection(**{**options, "seed": 1, **more})


def run_stage(rows, chosen, out, **more):
    out.mkdir(exist_ok=True)
    context = RunContext(quiet=True)
    return evaluate(rows, chosen, out, context, **more), context


def test_every_row_is_answered_and_scored_in_the_order_of_the_data(toy_model, rows, tmp_path):
    scores, context = run_stage(rows, section(toy_model), tmp_path / "out")
    found = list(scores.rows())
    assert [row.id for row in found] == [f"r{i}" for i in range(9)]
    assert all(row.question.startswith("Say") and row.reference.startswith("It is") for row in found)
    assert {summary.metric for summary in scores.summary} == {"exact_match", "token_f1"}
    assert all(summary.low <= summary.value <= summary.high for summary in scores.summary)
    assert [verdict.name for verdict in context.verdicts] == ["answers_complete"]


def test_answers_of_an_earlier_attempt_are_kept_and_the_rest_is_the_same(toy_model, rows, tmp_path):
    whole, _ = run_stage(rows, section(toy_model), tmp_path / "whole")
    run_stage(rows, section(toy_model), tmp_path / "half")
    log = tmp_path / "half" / "answers.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:5]) + lines[5][:20])  # killed in the middle of a line, in the middle of a batch
    again, _ = run_stage(rows, section(toy_model), tmp_path / "half")
    assert [row.answer for row in again.rows()] == [row.answer for row in whole.rows()]
    assert len(log.read_text().splitlines()) == 9


def test_nothing_is_generated_twice(toy_model, rows, tmp_path):
    run_stage(rows, section(toy_model), tmp_path / "out")
    before = (tmp_path / "out" / "answers.jsonl").read_bytes()
    run_stage(rows, section(toy_model), tmp_path / "out")
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == before


def test_worked_examples_lengthen_the_prompt_but_not_what_pairs_the_rows(toy_model, rows, tmp_path):
    train = make_rows(tmp_path / "train.jsonl", 12, words=2)
    plain, _ = run_stage(rows, section(toy_model), tmp_path / "plain")
    shots = section(toy_model, shots=3, shots_from="data.train")
    helped, _ = run_stage(rows, shots, tmp_path / "helped", shots_from=train)
    for one, other in zip(plain.rows(), helped.rows(), strict=True):
        assert one.prompt_sha256 == other.prompt_sha256
        assert other.prompt_tokens > one.prompt_tokens + 30
    assert helped.shots == 3


def test_worked_examples_come_from_different_groups_and_depend_on_the_seed_alone(toy_model, tmp_path):
    train = make_rows(tmp_path / "train.jsonl", 30)
    chosen = section(toy_model, shots=4, shots_from="data.train")
    shots = pick_shots(train, chosen)
    assert len({shot.group for shot in shots}) == 4
    assert shots == pick_shots(train, chosen)
    assert shots != pick_shots(train, section(toy_model, shots=4, shots_from="data.train", seed=2))


def test_too_few_groups_for_the_examples_are_told(toy_model, tmp_path):
    train = make_rows(tmp_path / "train.jsonl", 4)
    with pytest.raises(DataError, match="2 groups to draw 3 worked examples from"):
        pick_shots(train, section(toy_model, shots=3, shots_from="data.train"))


def test_a_prompt_longer_than_the_context_is_refused_by_name(toy_model, tmp_path):
    rows = make_rows(tmp_path / "long.jsonl", 1, words=600)
    with pytest.raises(DataError, match="row r0") as caught:
        run_stage(rows, section(toy_model), tmp_path / "out")
    assert "at most 512" in str(caught.value)


def test_no_rows_are_refused(toy_model, tmp_path):
    (tmp_path / "none.jsonl").touch()
    with pytest.raises(DataError, match="no rows to answer"):
        run_stage(Rows(path=tmp_path / "none.jsonl"), section(toy_model), tmp_path / "out")


def test_a_model_without_a_chat_template_is_refused(toy_model, rows, tmp_path):
    import shutil

    folder = tmp_path / "bare"
    shutil.copytree(toy_model, folder)
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="chat template"):
        run_stage(rows, section(folder), tmp_path / "out")


def test_limit_takes_the_first_rows(toy_model, rows, tmp_path):
    scores, _ = run_stage(rows, section(toy_model, limit=2), tmp_path / "out")
    assert [row.id for row in scores.rows()] == ["r0", "r1"]

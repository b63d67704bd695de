"""The stage `data`, called as a notebook calls it, on real rows and the real tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import Dataset
from tunewright.artifacts.verdict import Status
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, ModelError
from tunewright.recipe.sections import BfclSource, DataSection, JsonlSource, Split
from tunewright.stages.data.split import held_out_groups
from tunewright.stages.data.stage import data


def section(model: Path, *sources: object, test: float = 0.2, **fields: object) -> DataSection:
    return DataSection(model=str(model), seed=7, sources=sources, split=Split(test=test), **fields)


def write(path: Path, count: int, **extra: object) -> JsonlSource:
    rows = [{"id": f"{path.stem}{n}", "prompt": "Hi " * (n + 1), "completion": "Hello", **extra} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonlSource(type="jsonl", path=str(path))


@pytest.fixture(scope="module")
def bfcl(smollm2_folder, tmp_path_factory) -> tuple[Dataset, RunContext]:
    run = RunContext(quiet=True)
    out = tmp_path_factory.mktemp("data") / "2-data"
    return data(section(smollm2_folder, BfclSource(type="bfcl"), test=150), out, run), run


def test_the_tours_rows_are_split_by_function_and_all_gates_pass(bfcl):
    dataset, run = bfcl
    train, test = dataset.part("train").load(), dataset.part("test").load()
    assert len(train) + len(test) == 856
    assert len(test) == dataset.test_rows >= 150
    assert not {row.group for row in train} & {row.group for row in test}
    assert dataset.sources[0].model_dump() == {
        "source": "bfcl",
        "read": 858,
        "kept": 856,
        "dropped": {"no acceptable value": 2},
    }
    assert [verdict.name for verdict in run.verdicts] == [
        "rows_left",
        "groups_disjoint",
        "answers_end_with_end_of_turn",
        "every_row_trains",
        "decontaminated",
    ]
    assert {verdict.status for verdict in run.verdicts} == {Status.PASSED}


def test_the_counted_tokens_are_those_of_the_renderer(bfcl, smollm2_folder):
    dataset, _ = bfcl
    renderer = Renderer.from_folder(smollm2_folder)
    rendered = [renderer.conversation(row.messages, row.tools) for row in dataset.part("test")]
    lengths = sorted(len(item.token_ids) for item in rendered)
    stats = dataset.test_tokens
    assert (stats.rows, stats.tokens) == (len(lengths), sum(lengths))
    assert stats.trained_tokens == sum(sum(item.trained) for item in rendered)
    assert (stats.shortest, stats.longest) == (lengths[0], lengths[-1])


def test_the_samples_show_three_train_rows_with_their_mask(bfcl):
    dataset, _ = bfcl
    samples = json.loads((dataset.folder / "samples.json").read_text())["rows"]
    assert [sample["id"] for sample in samples] == [row.id for row in dataset.part("train").load(3)]
    trained = "".join(piece for piece, counts in samples[0]["pieces"] if counts)
    assert trained.startswith('<tool_call>{"name": ')
    assert trained.endswith("</tool_call><|im_end|>")


def test_the_same_section_gives_the_same_bytes(bfcl, smollm2_folder, tmp_path):
    dataset, _ = bfcl
    again = data(section(smollm2_folder, BfclSource(type="bfcl"), test=150), tmp_path, RunContext(quiet=True))
    for name in ("train.jsonl", "test.jsonl", "samples.json"):
        assert (again.folder / name).read_bytes() == (dataset.folder / name).read_bytes()


def test_rows_come_back_as_they_were_read(bfcl):
    dataset, _ = bfcl
    row = next(iter(dataset.part("train")))
    assert row.answer["content"] is None
    assert isinstance(row.answer["tool_calls"][0]["function"]["arguments"], dict)
    assert row.source == "bfcl"


def test_a_row_that_is_too_long_stops_the_stage_and_is_named(smollm2_folder, tmp_path):
    source = write(tmp_path / "rows.jsonl", 60)
    with pytest.raises(DataError) as caught:
        data(section(smollm2_folder, source, max_tokens=60), tmp_path / "out", RunContext(quiet=True))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'rows.jsonl'} row rows59: ")
    assert "at most 60 tokens" in message
    assert "overlong: drop" in message
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out" / "train.jsonl").exists()


def test_rows_that_are_too_long_are_dropped_and_counted_when_asked(smollm2_folder, tmp_path):
    source = write(tmp_path / "rows.jsonl", 60)
    run = RunContext(quiet=True)
    dataset = data(section(smollm2_folder, source, max_tokens=60, overlong="drop"), tmp_path / "out", run)
    count = dataset.sources[0]
    assert count.read == 60
    assert count.kept + count.dropped["longer than max_tokens"] == 60
    assert max(dataset.train_tokens.longest, dataset.test_tokens.longest) <= 60
    assert {verdict.name: verdict.status for verdict in run.verdicts}["rows_left"] is Status.WARNED


def test_a_row_longer_than_the_models_context_does_not_fit_either(smollm2_folder, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "word " * 9000, "completion": "x"}) + "\n")
    with pytest.raises(DataError, match="at most 8,192 tokens"):
        data(section(smollm2_folder, JsonlSource(type="jsonl", path=str(path))), tmp_path / "o", RunContext(quiet=True))


def test_a_row_that_is_too_large_to_be_rendered_stops_the_stage_with_its_line_or_is_dropped(smollm2_folder, tmp_path):
    source = write(tmp_path / "rows.jsonl", 9)
    huge = json.dumps({"id": "huge", "prompt": "word " * 1_000_000, "completion": "x"})
    Path(source.path).write_text(Path(source.path).read_text() + huge + "\n")
    with pytest.raises(DataError) as caught:
        data(section(smollm2_folder, source), tmp_path / "out", RunContext(quiet=True))
    assert str(caught.value).startswith(f"{source.path}:10: a row of 5.0 MB\n  expected: at most 2 MB a row")
    assert "overlong: drop" in str(caught.value)
    dataset = data(section(smollm2_folder, source, overlong="drop"), tmp_path / "out", RunContext(quiet=True))
    assert dataset.sources[0].model_dump(include={"read", "dropped"}) == {
        "read": 10,
        "dropped": {"larger than 2 MB": 1},
    }


def test_several_sources_keep_their_order_and_are_counted_apart(smollm2_folder, tmp_path):
    sources = [write(tmp_path / "b.jsonl", 5), write(tmp_path / "a.jsonl", 4)]
    dataset = data(section(smollm2_folder, *sources, test=2), tmp_path / "out", RunContext(quiet=True))
    assert [(Path(count.source).name, count.kept) for count in dataset.sources] == [("b.jsonl", 5), ("a.jsonl", 4)]
    ids = [row.id for row in dataset.part("train")]
    assert ids == sorted(ids, key=lambda row: (row[0] == "a", int(row[1:])))


def test_one_id_in_two_sources_is_refused(smollm2_folder, tmp_path):
    source = write(tmp_path / "a.jsonl", 3)
    with pytest.raises(DataError, match=r"id 'a0' stands in .* too"):
        data(section(smollm2_folder, source, source), tmp_path / "out", RunContext(quiet=True))


def test_more_test_rows_than_rows_are_refused_and_none_left_to_train_fails_the_gate(smollm2_folder, tmp_path):
    source = write(tmp_path / "a.jsonl", 5)
    with pytest.raises(DataError, match="6 test rows are asked for, and 5 rows are there"):
        data(section(smollm2_folder, source, test=6), tmp_path / "out", RunContext(quiet=True))
    run = RunContext(quiet=True)
    dataset = data(section(smollm2_folder, source, test=5), tmp_path / "out", run)
    assert dataset.train_rows == 0
    assert run.verdicts[0].status is Status.FAILED


def test_a_template_without_an_end_of_turn_fails_the_gate(smollm2_folder, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in smollm2_folder.glob("*.json"):
        (model / file.name).write_bytes(file.read_bytes())
    (model / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    run = RunContext(quiet=True)
    data(section(model, write(tmp_path / "a.jsonl", 5)), tmp_path / "out", run)
    verdict = {verdict.name: verdict for verdict in run.verdicts}["answers_end_with_end_of_turn"]
    assert verdict.status is Status.FAILED


def test_a_row_that_the_template_refuses_is_named(smollm2_folder, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for file in smollm2_folder.glob("*.json"):
        (model / file.name).write_bytes(file.read_bytes())
    template = (smollm2_folder / "chat_template.jinja").read_text()
    refusal = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    (model / "chat_template.jinja").write_text(refusal + template)
    source = write(tmp_path / "a.jsonl", 3, system="Be brief.")
    with pytest.raises(ModelError, match=r"a\.jsonl row a0: .*System role not supported"):
        data(section(model, source), tmp_path / "out", RunContext(quiet=True))


def test_a_section_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no model is named"):
        data(DataSection(sources=[BfclSource(type="bfcl")]), tmp_path, RunContext(quiet=True))


def test_a_test_question_that_stands_in_train_too_fails_the_gate_and_the_pair_is_shown(smollm2_folder, tmp_path):
    rows = [
        {"id": f"r{n}", "prompt": f"What is {n} plus {n * n}, said in words?", "completion": f"{n}."} for n in range(40)
    ]
    held = held_out_groups([row["id"] for row in rows], 8, seed=7)
    leaked = next(row for row in rows if row["id"] in held)
    trained = next(row["id"] for row in rows if row["id"] not in held)
    rows.append({**leaked, "id": "leak", "prompt": leaked["prompt"].upper(), "group": trained})
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = RunContext(quiet=True)
    data(section(smollm2_folder, JsonlSource(type="jsonl", path=str(path)), test=8), tmp_path / "out", run)
    verdict = run.verdicts[-1]
    assert verdict.status is Status.FAILED
    assert f"{leaked['id']} = leak (exact 100%)" in verdict.measured
    (pair,) = json.loads((tmp_path / "out" / verdict.evidence).read_text())
    assert pair["test_text"] == leaked["prompt"]
    assert pair["train_text"] == leaked["prompt"].upper()


def test_whole_groups_are_held_out_and_the_seed_decides_which():
    groups = [f"g{n // 3}" for n in range(30)]
    held_out = held_out_groups(groups, 7, seed=1)
    assert sum(group in held_out for group in groups) == 9
    assert held_out_groups(list(reversed(groups)), 7, seed=1) == held_out
    assert len({frozenset(held_out_groups(groups, 7, seed=seed)) for seed in range(20)}) > 5


def test_a_share_below_one_is_a_share_of_the_rows():
    groups = [str(n) for n in range(50)]
    assert len(held_out_groups(groups, 0.2, seed=0)) == 10
    assert len(held_out_groups(groups, 1, seed=0)) == 1

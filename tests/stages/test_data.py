"""The stage `data`, called as a notebook calls it, on real rows and the real tokenizer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Dataset
from tunewright.artifacts.verdict import Status, Verdict
from tunewright.chat.render import Renderer
from tunewright.errors import DataError, ModelError
from tunewright.recipe.data_sections import (
    CustomFilter,
    Decontaminate,
    DuplicatesFilter,
    GeneratedSource,
    OwnRows,
    QualityFilter,
)
from tunewright.recipe.sections import BfclSource, DataSection, JsonlSource, Split
from tunewright.sources.read import read_source
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
        "shortened": 0,
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


def test_rows_that_fit_with_fewer_tools_are_trained_on_and_what_is_evaluated_stays_as_it_was(smollm2_folder, tmp_path):
    multiple = BfclSource(type="bfcl", categories=("multiple",))
    sides = [
        data(
            section(smollm2_folder, multiple, test=20, max_tokens=384, overlong=overlong),
            tmp_path / overlong,
            RunContext(quiet=True),
        )
        for overlong in ("drop", "drop_tools")
    ]
    dropped, shortened = sides
    assert shortened.part("test").path.read_bytes() == dropped.part("test").path.read_bytes()
    before, after = ({row.id: row for row in side.part("train")} for side in sides)
    more = [row for row in after.values() if row.id not in before]
    assert {row.id: row for row in after.values() if row.id in before} == before
    assert len(more) == shortened.sources[0].shortened > 20
    assert all(row.meta["tools_dropped"] >= 1 and len(row.tools) >= 1 for row in more)
    assert not {row.group for row in more} & {row.group for row in shortened.part("test")}
    read = (row for row in read_source(multiple) if isinstance(row, ChatRow))
    place = {row.id: at for at, row in enumerate(read)}
    assert list(after) == sorted(after, key=place.__getitem__)
    count = shortened.sources[0]
    assert count.read == count.kept + sum(count.dropped.values()) and count.kept == len(after) + shortened.test_rows
    assert shortened.train_tokens.longest <= 384


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


# ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def verdicts(run: RunContext) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in run.verdicts}


def sums(path: Path, numbers: range | list[int], **extra: object) -> JsonlSource:
    rows = [
        {"id": f"{path.stem}{n}", "prompt": f"What is {n} plus {n * n}, said in words?", "completion": f"{n}.", **extra}
        for n in numbers
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonlSource(type="jsonl", path=str(path))


def test_filters_are_applied_in_their_order_and_what_each_took_is_counted_and_shown(smollm2_folder, tmp_path):
    source = sums(tmp_path / "a.jsonl", [*range(20), *range(100, 105)])
    with Path(source.path).open("a") as file:
        for number, answer in enumerate(["I'm sorry, but I can't help with that.", "9."]):
            file.write(json.dumps({"id": f"bad{number}", "prompt": f"{number}?", "completion": answer}) + "\n")
        file.write(json.dumps({"id": "twice", "prompt": "What is 3 plus 9, said in words?", "completion": "3."}) + "\n")
    filters = (
        QualityFilter(type="quality", min_question_chars=3),
        DuplicatesFilter(type="duplicates"),
        CustomFilter(type="custom", function="kept_below:below_hundred"),
    )
    (tmp_path / "kept_below.py").write_text(
        "def below_hundred(row):\n    return int(row['messages'][0]['content'].split()[2]) < 100 or 'a large number'\n"
    )
    sys.path.insert(0, str(tmp_path))
    run = RunContext(quiet=True)
    try:
        dataset = data(section(smollm2_folder, source, filters=filters), tmp_path / "out", run)
    finally:
        sys.path.remove(str(tmp_path))
    (count,) = dataset.sources
    assert (count.read, count.kept) == (28, 20)
    assert count.dropped == {"question below 3 characters": 2, "duplicate": 1, "a large number": 5}
    steps = json.loads((tmp_path / "out" / "filters.json").read_text())
    assert [(step["filter"], step["rows_in"], step["rows_kept"]) for step in steps] == [
        ("quality", 28, 26),
        ("duplicates", 26, 25),
        ("custom", 25, 20),
    ]
    assert steps[1]["examples"][0]["id"] == "twice"
    assert verdicts(run)["filters_kept_most"].status is Status.PASSED


def test_a_filter_that_takes_most_rows_warns_and_one_that_takes_all_is_an_error(smollm2_folder, tmp_path):
    source = sums(tmp_path / "a.jsonl", range(15))
    run = RunContext(quiet=True)
    strict = QualityFilter(type="quality", min_question_chars=35)
    data(section(smollm2_folder, source, filters=(strict,), test=2), tmp_path / "out", run)
    assert verdicts(run)["filters_kept_most"].status is Status.WARNED
    with pytest.raises(DataError, match="no row is left: quality took 15"):
        nothing = QualityFilter(type="quality", min_question_chars=500)
        data(section(smollm2_folder, source, filters=(nothing,)), tmp_path / "none", RunContext(quiet=True))


# ── decontamination ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_rows_of_evaluation_files_in_train_fail_the_gate_or_are_removed_when_asked(smollm2_folder, tmp_path):
    source = sums(tmp_path / "a.jsonl", range(30))
    held = tmp_path / "held.csv"
    held.write_text('prompt,completion\n"WHAT is 7 plus 49 said in words",7.\nSomething else altogether here?,Yes\n')
    run = RunContext(quiet=True)
    apart = Decontaminate(against=(str(held),))
    data(section(smollm2_folder, source, decontaminate=apart, test=3), tmp_path / "out", run)
    verdict = verdicts(run)["decontaminated"]
    assert verdict.status is Status.FAILED
    assert "1 of 5 evaluation rows" in verdict.measured
    (pair,) = json.loads((tmp_path / "out" / "overlaps.json").read_text())
    assert (pair["train_id"], pair["test_set"]) == ("a7", str(held))

    run = RunContext(quiet=True)
    removing = Decontaminate(against=(str(held),), action="remove")
    dataset = data(section(smollm2_folder, source, decontaminate=removing, test=3), tmp_path / "removed", run)
    assert verdicts(run)["decontaminated"].status is Status.PASSED
    assert dataset.sources[0].dropped == {"gives an evaluation row away": 1}
    assert "a7" not in {row.id for row in dataset.part("train")}
    assert (tmp_path / "removed" / "overlaps.json").is_file()


def test_rows_of_another_stage_are_compared_both_ways(smollm2_folder, tmp_path):
    quiet = RunContext(quiet=True)
    first = data(section(smollm2_folder, sums(tmp_path / "a.jsonl", range(30)), test=5), tmp_path / "1", quiet)
    second = section(smollm2_folder, sums(tmp_path / "b.jsonl", range(20, 60)), test=5)
    clean = section(smollm2_folder, sums(tmp_path / "c.jsonl", range(60, 90)), test=5)
    for stage, leaks in ((second, True), (clean, False)):
        for given in ({"held_out": {"a.test": first.part("test")}}, {"trained_on": {"a.train": first.part("train")}}):
            run = RunContext(quiet=True)
            data(stage, tmp_path / f"2-{leaks}-{next(iter(given))}", run, **given)
            assert (verdicts(run)["decontaminated"].status is Status.FAILED) is leaks


def test_rows_that_a_suite_brings_are_compared_too(smollm2_folder, tmp_path):
    pytest.importorskip("reasoning_gym")
    puzzles = {"tasks": ["chain_sum", "leg_counting"]}
    source = GeneratedSource(type="generated", function="reasoning-gym", options=puzzles, rows=20, seed=1)
    same = OwnRows(suite="reasoning-gym", options={**puzzles, "rows": 10}, seed=1)
    other = OwnRows(suite="reasoning-gym", options={**puzzles, "rows": 10}, seed=1000)
    for suite, status in ((same, Status.FAILED), (other, Status.PASSED)):
        run = RunContext(quiet=True)
        data(section(smollm2_folder, source, suites=(suite,), test=4), tmp_path / f"out-{suite.seed}", run)
        assert verdicts(run)["decontaminated"].status is status, verdicts(run)["decontaminated"]


# ── split ───────────────────────────────────────────────────────────────────────────────────────────────────────────


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

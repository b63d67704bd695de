"""`tw data`: each action on real files, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunewright.cli.data_filter import filter_of
from tunewright.cli.data_tables import bar
from tunewright.cli.main import main
from tunewright.errors import UserError


def write(path: Path, *answers: str, **fields: object) -> Path:
    rows = [
        {"id": f"{path.stem}{n}", "prompt": f"Question number {n}?", "completion": answer, **fields}
        for n, answer in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> dict:
    assert main(["data", *map(str, arguments), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


LONG = "An answer of some length."


def test_stats_tell_the_format_and_count(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", LONG, "short", LONG, group="g")
    found = told(capsys, "stats", path)
    assert found["formats"] == {str(path): "prompt"}
    assert (found["rows"], found["groups"], found["duplicates"]) == (3, 1, 0)
    assert found["turns"] == {"1": 3}
    assert found["answer_chars"] == {"sum": 55, "median": 25, "p95": 25, "longest": 25}
    assert main(["data", "stats", str(path)]) == 0
    assert "answers a row: 3 with 1" in capsys.readouterr().out


def test_prune_draws_each_step_and_writes_what_stays(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", LONG, "no", "I cannot assist with that request.", LONG)
    out = tmp_path / "out.jsonl"
    arguments = [
        "prune",
        path,
        "--filter",
        "{type: quality, min_answer_chars: 5}",
        "--filter",
        "duplicates",
        "--processes",
        1,
    ]
    found = told(capsys, *arguments, "--output", out)
    assert ids(out) == ["a0", "a3"]
    assert [(step["filter"], step["rows_in"], step["rows_kept"]) for step in found["steps"]] == [
        ("quality", 4, 2),
        ("duplicates", 2, 2),
    ]
    assert main(["data", *map(str, arguments), "--output", str(out)]) == 0
    text = capsys.readouterr().out
    assert "1 answer below 5 characters, 1 refusal" in text
    assert "refusal (I cannot assist with that request.): a2" in text
    assert "█" * 12 in text


def test_merge_keeps_the_order_and_tells_ids_of_two_files_apart(tmp_path, capsys):
    one, two = write(tmp_path / "a.jsonl", LONG, LONG), write(tmp_path / "b.jsonl", LONG)
    two.write_text(two.read_text().replace('"b0"', '"a0"'))
    found = told(capsys, "merge", one, two, "--output", tmp_path / "out.jsonl")
    assert ids(tmp_path / "out.jsonl") == ["a0", "a1", "b-a0"]
    assert found["files"] == {str(one): 2, str(two): 1}


def test_split_keeps_groups_whole_and_is_that_of_the_stage(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", *[LONG] * 20)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "group": f"g{n // 4}"}) + "\n" for n, row in enumerate(rows)))
    found = told(capsys, "split", path, "--test", "0.3", "--output", tmp_path / "out")
    assert (found["train"], found["test"]) == (12, 8)
    sides = [
        {json.loads(line)["group"] for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()}
        for name in ("train", "test")
    ]
    assert not sides[0] & sides[1]


def test_a_split_that_leaks_ends_with_1_and_its_files_stay(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", *[LONG] * 20)
    text = path.read_text()
    path.write_text(text + text.replace('"a', '"b'))  # each question twice, in groups of their own
    found = told(capsys, "split", path, "--test", "10", "--output", tmp_path / "out", code=1)
    assert {one["name"]: one["status"] for one in found["verdicts"]} == {
        "groups_disjoint": "PASSED",
        "decontaminated": "FAILED",
    }
    assert (len(ids(tmp_path / "out" / "train.jsonl")), len(ids(tmp_path / "out" / "test.jsonl"))) == (30, 10)
    assert main(["data", "split", str(path), "--test", "10", "--output", str(tmp_path / "out")]) == 1
    assert "FAILED  decontaminated: " in capsys.readouterr().out


def test_merge_says_how_many_rows_say_the_same(tmp_path, capsys):
    one, two = write(tmp_path / "a.jsonl", LONG, LONG), write(tmp_path / "b.jsonl", LONG, "Another.")
    assert told(capsys, "merge", one, two, "--output", tmp_path / "out.jsonl")["duplicates"] == 1


def test_rows_without_ids_are_the_same_by_what_they_say(tmp_path, capsys):
    rows = [json.dumps({"question": f"What is {n} + 1?", "answer": str(n + 1)}) for n in (1, 2, 2, 3)]
    one, two = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    one.write_text("\n".join(rows))
    two.write_text("\n".join(["", *rows]))
    found = told(capsys, "diff", one, two)
    assert (found["only_before"], found["only_after"], found["changed"], found["same"]) == ([], [], [], 4)
    two.write_text("\n".join([*rows[3:], *rows[:2], rows[0].replace("2", "5")]))
    found = told(capsys, "diff", one, two)
    assert (found["only_before"], found["only_after"], found["same"]) == (["a-3"], ["b-4"], 3)


def test_rows_that_a_filter_left_are_known_by_the_ids_it_wrote(tmp_path, capsys):
    one, two = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    one.write_text("".join(json.dumps({"prompt": f"Who is {n}?", "completion": LONG}) + "\n" for n in range(3)))
    told(capsys, "sample", one, "--limit", 2, "--output", two)
    two.write_text(two.read_text().replace(LONG, "Changed.", 1))
    found = told(capsys, "diff", one, two)
    assert (len(found["only_before"]), found["only_after"], len(found["changed"]), found["same"]) == (1, [], 1, 1)


@pytest.mark.parametrize("action", ["split", "rank"])
@pytest.mark.parametrize("side", ["train", "test"])
def test_a_side_is_never_written_over_the_rows_it_is_made_of(tmp_path, capsys, action, side):
    path = write(tmp_path / f"{side}.jsonl", *[LONG] * 5)
    before = path.read_bytes()
    assert main(["data", action, str(path), "--output", str(tmp_path)]) == 2
    assert f"{side}.jsonl: the output is one of the inputs" in capsys.readouterr().err
    assert (path.read_bytes(), [*tmp_path.iterdir()]) == (before, [path])


@pytest.mark.parametrize("action", ["split", "rank"])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(tmp_path, capsys, action):
    path = write(tmp_path / "a.jsonl", *[LONG] * 5, group="g")
    if action == "rank":
        pair = {"query": "what is it called", "query_id": 1, "passages": {"passage_text": ["x"], "is_selected": [1]}}
        path.write_text(json.dumps(pair) + "\n")
    assert main(["data", action, str(path), "--output", str(tmp_path / "out")]) == 2
    assert "all rows would be held out" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_rows_of_two_files_of_one_name_keep_ids_of_their_own(tmp_path, capsys):
    files = [tmp_path / folder / "rows.jsonl" for folder in "ab"]
    for file in files:
        file.parent.mkdir()
        lines = [{"prompt": f"In {file.parent.name}, question {n}?", "completion": LONG} for n in range(4)]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    main(["data", "split", *map(str, files), "--output", str(tmp_path / "out")])
    capsys.readouterr()
    told(capsys, "sample", *files, "--limit", 8, "--output", tmp_path / "drawn.jsonl")
    sides = [name for side in ("train", "test") for name in ids(tmp_path / "out" / f"{side}.jsonl")]
    assert sorted(sides) == sorted(set(ids(tmp_path / "drawn.jsonl")))
    assert len(set(sides)) == 8


def test_a_printed_sample_is_the_rows_themselves(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", "from the right: \u200f and back \x1b[0m")
    told(capsys, "sample", path, "--output", tmp_path / "out.jsonl")
    assert main(["data", "sample", str(path)]) == 0
    [row] = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert json.loads(capsys.readouterr().out) == row
    assert told(capsys, "sample", path) == {"rows": [row]}


def test_a_sample_is_even_repeatable_and_in_order(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", *[LONG] * 200)
    counts = [0] * 200
    for seed in range(60):
        told(capsys, "sample", path, "--limit", 20, "--seed", seed, "--output", tmp_path / "out.jsonl")
        drawn = ids(tmp_path / "out.jsonl")
        places = [int(name[1:]) for name in drawn]
        assert places == sorted(places) and len(set(places)) == 20
        for place in places:
            counts[place] += 1
    # Each row is expected 6 times in 60 draws of a tenth; a binomial's standard deviation is 2.3.
    assert sum(counts[:75]) + sum(counts[125:200]) > 450 and max(counts) < 18
    told(capsys, "sample", path, "--limit", 20, "--seed", 59, "--output", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()


def test_diff_tells_what_came_went_and_changed(tmp_path, capsys):
    one = write(tmp_path / "a.jsonl", LONG, LONG, LONG)
    lines = one.read_text().splitlines()
    two = tmp_path / "b.jsonl"
    two.write_text("\n".join([lines[0], lines[1].replace("some", "great"), lines[2].replace('"a2"', '"new"')]) + "\n")
    found = told(capsys, "diff", one, two)
    assert (found["only_before"], found["only_after"], found["changed"], found["same"]) == (["a2"], ["new"], ["a1"], 1)
    assert main(["data", "diff", str(one), str(two)]) == 0
    assert "only after" in capsys.readouterr().out


def test_overlap_ends_with_1_and_shows_the_pairs(tmp_path, capsys):
    train, test = write(tmp_path / "a.jsonl", LONG, LONG), write(tmp_path / "b.jsonl", LONG)
    found = told(capsys, "overlap", train, test, code=1)
    assert [(pair["train_id"], pair["test_id"], pair["kind"]) for pair in found["pairs"]] == [("a0", "b0", "exact")]
    assert main(["data", "overlap", str(train), str(test)]) == 1
    assert "train a0: Question number 0?" in capsys.readouterr().out
    other = tmp_path / "c.jsonl"
    other.write_text(json.dumps({"prompt": "Something else entirely, is it not?", "completion": "Yes"}) + "\n")
    assert told(capsys, "overlap", train, other)["verdict"]["status"] == "PASSED"


def test_rank_writes_rows_of_both_sides_and_no_query_on_both(tmp_path, capsys):
    pytest.importorskip("bm25s")
    records = [
        {"query": f"what is number {n} called in the old book", "query_id": n,
         "passages": {"passage_text": [f"number {n} is called name{n}", f"the old book of {n}"], "is_selected": [1, 0]}}
        for n in range(20)
    ]  # fmt: skip
    path = tmp_path / "marco.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    found = told(capsys, "rank", path, "--test", "0.25", "--output", tmp_path / "out")
    assert (found["queries"], found["relevant"], found["hard"]) == (20, 20, 80)
    assert [verdict["status"] for verdict in found["verdicts"]] == ["PASSED", "PASSED"]
    sides = [
        {json.loads(line)["qid"] for line in (tmp_path / "out" / f"{name}.jsonl").read_text().splitlines()}
        for name in ("train", "test")
    ]
    assert [len(side) for side in sides] == [15, 5] and not sides[0] & sides[1]


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["prune", "{a}"], "no place to write to"),
        (["prune", "{a}", "--output", "{a}"], "the output is one of the inputs"),
        (["stats", "{a}", "--output", "o"], "--output: `stats` writes no file"),
        (["diff", "{a}", "{a}", "--output", "o"], "--output: `diff` writes no file"),
        (["overlap", "{a}", "{a}", "--output", "o"], "--output: `overlap` writes no file"),
        (["prune", "{a}", "--filter", "qualty", "--output", "o"], "did you mean quality?"),
        (["prune", "{a}", "--filter", "nope", "--output", "o"], "--filter: no filter nope"),
        (["prune", "{a}", "--filter", "{type: quality, min_turns: x}", "--output", "o"], "a whole number, at least 1"),
        (["prune", "{a}", "--output", "{d}"], "this is a folder"),
        (["merge", "{a}", "{d}/../a.jsonl", "--output", "o"], "a.jsonl is named 2 times"),
        (["prune", "{a}", "--filter", "{type: quality, min: 3}", "--output", "o"], "quality.min"),
        (["diff", "{a}"], "1 file"),
        (["overlap", "{a}"], "no evaluation rows"),
        (["stats", "nothing.jsonl"], "no such file"),
        (["stats", "{a}", "--column", "prompt"], "FIELD=COLUMN"),
        (["nothing", "{a}"], "nothing"),
        (["split", "{a}", "--test", "9", "--output", "{a}.d"], "9 test rows are asked for"),
        (["split", "{a}", "--test", "2", "--output", "{a}.d"], "all rows would be held out: 2, in groups: 2"),
        (["split", "{a}", "--test", "inf", "--output", "{a}.d"], "--test: inf"),
        (["split", "{a}", "--test", "nan", "--output", "{a}.d"], "--test: nan"),
        (["split", "{a}", "--test", "0", "--output", "{a}.d"], "--test: 0"),
        (["rank", "{a}", "--test", "1.5", "--output", "{a}.d"], "--test: 1.5"),
    ],
)
def test_what_is_wrong_is_told_with_exit_code_2_and_no_traceback(tmp_path, capsys, arguments, seen):
    path, folder = write(tmp_path / "a.jsonl", LONG, LONG), tmp_path / "folder"
    folder.mkdir()
    filled = [text.replace("{a}", str(path)).replace("{d}", str(folder)) for text in arguments]
    assert main(["data", *filled]) == 2
    errors = capsys.readouterr().err
    assert seen in errors
    assert "Traceback" not in errors and "pydantic" not in errors
    assert {item.name for item in tmp_path.iterdir()} == {"a.jsonl", "folder"}


def test_a_filter_is_a_word_or_a_mapping():
    assert filter_of("duplicates").type == "duplicates"
    assert filter_of("{type: near_duplicates, threshold: 0.7}").threshold == 0.7
    for wrong in ("{type: near_duplicates, threshold: 7}", "{type", "", "{}"):
        with pytest.raises(UserError):
            filter_of(wrong)


def test_a_bar_is_as_long_as_its_share():
    assert (bar(0), bar(1, 4), bar(0.5, 4), bar(0.5625, 4)) == ("", "████", "██", "██▎")

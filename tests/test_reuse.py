"""A finished stage is taken as it lies only while it is whole; a damaged one is made again, and the run says why."""

import json
import shutil

import pytest
from tests.conftest import run

from tunewright.artifacts.record import read_record


def told(done):
    """What run.json says of each stage: id -> (status, why)."""
    return {stage["id"]: (stage["status"], stage["why"]) for stage in done.state["stages"]}


def log(done):
    return (done.path / "logs" / "latest").read_text()


def remove(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def alter(path):
    path.write_bytes(path.read_bytes()[::-1])


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl", "samples.json"])
@pytest.mark.parametrize(
    ("damage", "words"), [(remove, "is gone"), (cut, "bytes, and had"), (alter, "was altered"), (empty, "has 0 bytes")]
)
def test_a_damaged_file_of_a_finished_stage_is_made_again_and_told(data_recipe, root, name, damage, words):
    done = run(data_recipe, root)
    path = done.path / "1-data" / name
    whole = path.read_bytes()
    damage(path)
    again = run(data_recipe, root)
    assert again.path == done.path
    status, why = told(again)["data"]
    assert status == "done"
    assert why.startswith(f"runs again: in rows/1/1-data {name} ")
    assert words in why
    assert path.read_bytes() == whole
    assert "1-data is not taken" in log(again)


def test_a_damaged_stage_of_another_run_is_not_linked(data_recipe, root):
    first = run(data_recipe, root)
    (first.path / "1-data" / "train.jsonl").unlink()
    second = run(data_recipe, root, "hypothesis=another")
    assert told(second)["data"] == ("done", "runs again: in rows/1/1-data train.jsonl is gone")
    assert not (second.path / "1-data").is_symlink()
    assert not (first.path / "1-data" / "train.jsonl").exists()


def test_a_linked_stage_whose_origin_was_damaged_is_made_in_its_own_folder(data_recipe, root):
    first = run(data_recipe, root)
    second = run(data_recipe, root, "hypothesis=another")
    assert (second.path / "1-data").is_symlink()
    remove(first.path / "1-data" / "test.jsonl")
    again = run(data_recipe, root, "hypothesis=another")
    assert again.path == second.path
    assert not (second.path / "1-data").is_symlink()
    assert (second.path / "1-data" / "test.jsonl").is_file()


def test_a_damaged_stage_is_taken_from_another_run_that_has_it_whole(data_recipe, root):
    first = run(data_recipe, root)
    second = run(data_recipe, root, "hypothesis=another")
    (second.path / "1-data").unlink()
    shutil.copytree(first.path / "1-data", second.path / "1-data")
    cut(first.path / "1-data" / "train.jsonl")
    again = run(data_recipe, root)
    assert again.path == first.path
    assert told(again)["data"] == ("reused", "same section, inputs and code")
    assert again.state["stages"][0]["reused_from"] == "rows/2"


def test_a_record_that_does_not_list_its_files_is_not_believed(data_recipe, root):
    done = run(data_recipe, root)
    record = done.path / "1-data" / "record.json"
    value = json.loads(record.read_text())
    del value["files"]
    record.write_text(json.dumps(value))
    assert "record.json does not list" in told(run(data_recipe, root))["data"][1]
    assert read_record(done.path / "1-data").files


def test_many_damaged_files_are_told_in_one_line(data_recipe, root):
    done = run(data_recipe, root)
    record = done.path / "1-data" / "record.json"
    value = json.loads(record.read_text())
    value["files"] |= {f"x{n}": {"size_bytes": 1, "sha256": None} for n in range(9)}
    record.write_text(json.dumps(value))
    assert told(run(data_recipe, root))["data"][1].endswith("x0 is gone, x1 is gone, x2 is gone, and 6 more")


def test_followers_are_made_again_only_where_what_they_read_came_out_different(recipe_file, root):
    done = run(recipe_file, root)
    shutil.rmtree(done.path / "3-sft" / "tb")  # a copy of metrics.jsonl, which nobody reads
    remove(done.path / "1-data" / "train.jsonl")  # comes out the same
    cut(done.path / "2-before" / "scores.jsonl")  # has the seconds of each answer, which never come out the same
    again = run(recipe_file, root)
    assert again.path == done.path
    text = log(again)
    assert {name for name, _ in told(again).items() if f"{name}: done already" in text} == {"sft", "after"}
    assert told(again)["data"][1] == "runs again: in toy/1/1-data train.jsonl is gone"
    assert "scores.jsonl has" in told(again)["before"][1]
    assert told(again)["compare"][1] == "runs again: before was made again and came out different"


def test_a_stage_that_was_removed_is_made_again_and_so_is_what_was_made_from_it(recipe_file, root):
    done = run(recipe_file, root)
    shutil.rmtree(done.path / "4-after")
    again = run(recipe_file, root)  # the seconds of each answer come out different
    assert again.path == done.path
    assert told(again)["compare"][1] == "runs again: after was made again and came out different"


def test_what_was_made_from_other_files_is_not_taken_by_a_later_attempt_either(recipe_file, root):
    done = run(recipe_file, root)
    shutil.copytree(done.path / "5-compare", root / "compare-of-the-first")
    shutil.rmtree(done.path / "4-after")
    run(recipe_file, root)
    shutil.rmtree(done.path / "5-compare")  # as if the second attempt had been stopped before it
    shutil.copytree(root / "compare-of-the-first", done.path / "5-compare")
    assert told(run(recipe_file, root))["compare"][1] == "runs again: after was made again and came out different"


def test_a_training_made_again_that_gives_the_same_adapter_changes_nothing_behind_it(recipe_file, root):
    done = run(recipe_file, root)
    shutil.rmtree(done.path / "3-sft")  # comes out the same, but for the time of each step
    text = log(run(recipe_file, root))
    assert "sft (sft): runs for the first time" in text
    assert "after: done already" in text

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from tests.conftest import run

from tunewright.artifacts.record import read_record
from tunewright.artifacts.rundir import RunFolder, runs_of
from tunewright.errors import DataError, EnvironmentProblem, GateFailed, RunFolderError
from tunewright.pipeline import run_recipe
from tunewright.planning import plan
from tunewright.recipe.load import load_recipe

STAGES = ("1-data", "2-before", "3-sft", "4-after", "5-compare")


def outcome(folder: RunFolder):
    """What must not depend on how often a run was interrupted."""
    scores = {name: sorted(row.model_dump_json(exclude={"seconds"}) for row in folder.artifact(name).rows())
              for name in ("before", "after")}  # fmt: skip
    return scores, folder.artifact("sft").adapter_sha256, folder.artifact("compare").model_dump(mode="json")


def test_a_run_leaves_a_record_for_every_stage(recipe_file, root):
    done = run(recipe_file, root, text="as written")
    assert [record.id for record in done.records()] == ["data", "before", "sft", "after", "compare"]
    assert (root / "toy" / "latest").resolve() == done.path.resolve()
    assert done.state["status"] == "done"
    assert (done.path / "recipe.yaml").read_text() == "as written"
    for name in STAGES:
        record = read_record(done.path / name)
        assert record.provenance.attempts == 1
        assert not (done.path / name / "started.json").exists()
    assert read_record(done.path / "4-after").inputs["sft"].path == "3-sft"


def test_what_a_run_tells_holds_nothing_that_a_terminal_obeys(data_recipe, root, capsys):
    run_recipe(load_recipe(data_recipe), root=root / "\x1b[31m")
    err = capsys.readouterr().err
    assert "\x1b" not in err and "⟨U+001B⟩[31m" in err


def test_the_same_recipe_again_runs_nothing_and_makes_no_second_folder(recipe_file, root):
    first = run(recipe_file, root)
    records = [(first.path / name / "record.json").read_bytes() for name in STAGES]
    second = run(recipe_file, root)
    assert second.path == first.path
    assert [(first.path / name / "record.json").read_bytes() for name in STAGES] == records


def test_a_changed_field_runs_its_stage_and_what_follows_and_reuses_the_rest(recipe_file, root):
    run(recipe_file, root)
    second = run(recipe_file, root, "sft.steps=4")
    status = {stage["id"]: stage["status"] for stage in second.state["stages"]}
    assert status == {"data": "reused", "before": "reused", "sft": "done", "after": "done", "compare": "done"}
    assert (second.path / "1-data").is_symlink()
    assert os.readlink(second.path / "1-data") == "../1/1-data"
    why = next(stage["why"] for stage in second.state["stages"] if stage["id"] == "sft")
    assert "steps: 12 -> 4" in why
    assert "run toy/1 differs" in why


def test_a_name_or_a_saving_interval_is_no_difference(recipe_file, root):
    first = [stage.fingerprint for stage in plan(load_recipe(recipe_file))]
    assert [stage.fingerprint for stage in plan(load_recipe(recipe_file, ["sft.save_every=5"]))] == first


def test_changed_rows_are_noticed_though_the_recipe_is_the_same(recipe_file, root):
    first = run(recipe_file, root)
    rows = recipe_file.parent / "rows.jsonl"
    rows.write_text(rows.read_text().replace("It is 3.", "It is three."))
    second = run(recipe_file, root)
    assert second.path != first.path
    assert {stage["status"] for stage in second.state["stages"]} == {"done"}


def test_a_run_folder_can_be_moved(recipe_file, root, tmp_path):
    done = run(recipe_file, root)
    before = outcome(done)
    (tmp_path / "elsewhere").mkdir()
    done.path.rename(tmp_path / "elsewhere" / "1")
    assert outcome(RunFolder(tmp_path / "elsewhere" / "1")) == before


def test_two_runs_cannot_write_one_folder(recipe_file, root):
    done = run(recipe_file, root)
    with done.locked(), pytest.raises(RunFolderError, match=f"being written by process {os.getpid()}"):
        run(recipe_file, root)


def test_a_failed_gate_stops_the_run_and_allow_lets_it_pass(recipe_file, root):
    hard = ["compare.require={metric: exact_match, better_by: 0.9}"]
    with pytest.raises(GateFailed, match="better_than_baseline"):
        run(recipe_file, root, *hard)
    folder = runs_of("toy", root)[-1]
    assert folder.state["status"] == "failed"
    assert "better_than_baseline" in folder.state["error"]
    passed = run(recipe_file, root, *hard, allow=["better_than_baseline"])
    assert passed.path == folder.path
    assert passed.state["status"] == "done"
    assert passed.state["allowed"] == ["better_than_baseline"]


def test_a_full_disk_is_told_and_nothing_half_done_is_taken_for_done(recipe_file, root):
    run(recipe_file, root, "sft.steps=2")
    folder = runs_of("toy", root)[-1]
    stage = folder.path / "5-compare"
    (stage / "record.json").unlink()
    (stage / "comparison.json").unlink()
    after = folder.path / "4-after"
    (after / "record.json").unlink()
    (after / "answers.jsonl").unlink()
    fingerprint = plan(load_recipe(recipe_file, ["sft.steps=2"]))[3].fingerprint
    started = {"fingerprint": fingerprint, "start": "2026-01-01T00:00:00+00:00", "seconds": 1.0, "attempts": 1}
    (after / "started.json").write_text(json.dumps(started))
    (after / "answers.jsonl").symlink_to("/dev/full")
    with pytest.raises(EnvironmentProblem, match="no room left"):
        run(recipe_file, root, "sft.steps=2")
    assert not (after / "record.json").exists()
    (after / "answers.jsonl").unlink()
    done = run(recipe_file, root, "sft.steps=2")
    assert done.path == folder.path
    assert read_record(after).provenance.attempts == 3


def test_a_place_that_cannot_be_written_is_told(recipe_file, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunFolderError, match="cannot write there"):
        run(recipe_file, tmp_path / "file" / "runs")


def test_a_damaged_record_is_told_with_its_place(recipe_file, root):
    done = run(recipe_file, root)
    (done.path / "1-data" / "record.json").write_text('{"kind": "data"}')
    with pytest.raises(RunFolderError, match=r"1-data/record\.json"):
        run(recipe_file, root)


@pytest.mark.parametrize("name", ["run.json", "recipe.resolved.json", "1-data/record.json"])
def test_a_damaged_earlier_run_does_not_stop_another(data_recipe, root, name):
    broken = run(data_recipe, root)
    (broken.path / name).write_text("{")
    done = run(data_recipe, root, "seed=8")
    assert done.path != broken.path
    assert done.state["status"] == "done"


@pytest.mark.parametrize("name", ["run.json", "recipe.resolved.json"])
def test_a_damaged_run_is_not_gone_on_with_but_its_stages_are_reused(data_recipe, root, name):
    broken = run(data_recipe, root)
    (broken.path / name).write_text("{}")
    done = run(data_recipe, root)
    assert (done.path.name, done.state["stages"][0]["status"]) == ("2", "reused")


def test_a_stage_whose_origin_was_deleted_is_made_again(data_recipe, root):
    first = run(data_recipe, root, "data.split.test=12")
    second = run(data_recipe, root, "hypothesis=another")
    assert (second.path / "1-data").is_symlink()
    shutil.rmtree(first.path)
    again = run(data_recipe, root, "hypothesis=another")
    assert again.path == second.path
    assert (again.path / "1-data" / "train.jsonl").is_file()


def test_a_seed_of_zero_is_recorded(data_recipe, root):
    assert run(data_recipe, root, "data.seed=0").records()[0].provenance.seed == 0


def test_the_time_of_a_killed_attempt_counts_in_the_record_and_the_run(data_recipe, root):
    done = run(data_recipe, root)
    stage = done.path / "1-data"
    fingerprint = read_record(stage).fingerprint
    shutil.rmtree(stage)
    stage.mkdir()
    left = {"fingerprint": fingerprint, "start": "2026-01-01T00:00:00+00:00", "seconds": 1000.0, "attempts": 3}
    (stage / "started.json").write_text(json.dumps(left))  # as a killed attempt leaves it
    began = time.monotonic()
    again = run(data_recipe, root)
    made = read_record(stage).provenance
    assert (made.attempts, made.start) == (4, left["start"])
    assert 1000 < made.seconds <= 1000 + time.monotonic() - began
    assert again.state["stages"][0]["seconds"] == made.seconds


def test_a_stopped_stage_keeps_its_time_in_the_state_of_the_run(data_recipe, root):
    rows = data_recipe.parent / "rows.jsonl"
    rows.write_text(rows.read_text() + "{}\n")
    with pytest.raises(DataError):
        run(data_recipe, root)
    entry = runs_of("rows", root)[-1].state["stages"][0]
    assert (entry["status"], entry["seconds"] > 0) == ("failed", True)


def test_garbage_in_started_json_does_not_stop_a_run(data_recipe, root):
    done = run(data_recipe, root)
    stage = done.path / "1-data"
    (stage / "record.json").unlink()
    (stage / "started.json").write_text('["garbage"]')
    assert run(data_recipe, root).path == done.path
    assert read_record(stage).provenance.attempts == 1


@pytest.fixture
def start(warm_python, recipe_file, root):
    words = ("-m", "tunewright", "run", recipe_file, "--output", root)
    return lambda: warm_python.start(*words, env={**os.environ, "TERM": "dumb"})


def wait_for(moment, process, seconds=600):
    end = time.monotonic() + seconds
    while not moment() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)


def begun(stage: Path):
    """True from the stage's beginning on: `started.json` is gone again when it ends."""
    return lambda: (stage / "started.json").exists() or (stage / "record.json").exists()


def saved(stage: Path):
    """The checkpoints of step 4 or later."""
    return (path for path in stage.glob("checkpoints/checkpoint-*") if int(path.name.split("-")[1]) >= 4)


def test_a_run_killed_in_every_stage_ends_as_the_undisturbed_one(start, recipe_file, root, tmp_path):
    undisturbed = outcome(run(recipe_file, tmp_path / "undisturbed"))
    folder = root / "toy" / "1"
    moments = (
        begun(folder / "1-data"),
        (folder / "2-before" / "answers.jsonl").exists,
        lambda: any(saved(folder / "3-sft")) or (folder / "3-sft" / "record.json").exists(),
        begun(folder / "4-after"),
    )
    for moment in moments:
        process = start()
        wait_for(moment, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert "goes on where it stopped" in errors or "done already" in errors
    assert outcome(RunFolder(folder)) == undisturbed
    assert not (root / "toy" / "2").exists()


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(start, root):
    process = start()
    wait_for(begun(root / "toy" / "1" / "3-sft"), process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "fix: to go on: tw run" in errors
    assert "Traceback" not in errors
    assert RunFolder(root / "toy" / "1").state["status"] == "stopped"

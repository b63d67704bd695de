"""The bench itself: what counts as caught, and that its faults and sound projects are what they say."""

import json
from pathlib import Path

import pytest

from tunewright.cli.faults import _named
from tunewright.cli.main import main
from tunewright.faults.bench import Alarm, Bench, _alarms, first_catch, judged, trl_results
from tunewright.faults.clean import MATRIX, TWINS
from tunewright.faults.drive import CHECK, STATIC, Said, Told, drive
from tunewright.faults.fault import GROUPS
from tunewright.faults.groups import FAULTS
from tunewright.faults.page import as_page, as_text
from tunewright.faults.project import Shape, build

BY_NAME = {fault.name: fault for fault in FAULTS}


def said(gate, status, stage="check"):
    return Said(gate, status, stage, 1.0, "measured")


# ── the tables ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_are_forty_faults_or_more_and_none_stands_twice():
    assert len(FAULTS) >= 40
    assert len(BY_NAME) == len(FAULTS)


def test_every_group_has_faults():
    assert {fault.group for fault in FAULTS} == set(GROUPS)


def test_there_are_thirty_sound_projects_or_more():
    assert len(MATRIX) >= 30


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_has_a_twin_and_a_way_to_ask_trl(fault):
    assert fault.shape in TWINS
    assert fault.trl in ("sft", "grpo") or " " in fault.trl


def test_what_trl_says_is_of_faults_that_there_are():
    assert trl_results().keys() <= BY_NAME.keys()
    assert {one["said"] for one in trl_results().values()} <= {"raises", "warns", "silent", "not applicable"}


def test_what_others_promise_is_there_for_every_topic():
    path = Path(__file__).parents[2] / "src" / "tunewright" / "faults" / "promises.json"
    topics = json.loads(path.read_text())["topics"]
    assert {fault.promise for fault in FAULTS} == topics.keys()


# ── what is caught ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_gate_that_fails_on_the_twin_too_has_caught_nothing():
    assert first_catch(Told([said("g", "FAILED")]), Told([said("g", "FAILED")])) is None


def test_a_gate_that_is_louder_than_on_the_twin_has_caught_it():
    assert first_catch(Told([said("g", "WARNED")]), Told([said("g", "PASSED")])).gate == "g"
    assert first_catch(Told([said("g", "FAILED")]), Told([said("g", "WARNED")])).status == "FAILED"


def test_what_stops_goes_before_what_warns():
    told = Told([said("first", "WARNED"), said("second", "FAILED")])
    assert first_catch(told, Told()).gate == "second"


def test_a_traceback_is_no_catch():
    told = Told([Said("KeyError", "CRASHED", "sft", 1.0, "'x'")], steps=3)
    found = judged(BY_NAME["broken-line"], told, Told(steps=40))
    assert not found.caught and found.status == "CRASHED" and found.steps_saved == 0


def test_a_failure_on_a_sound_project_is_a_false_alarm_and_a_warning_is_none():
    told = Told([said("g", "FAILED"), said("h", "WARNED"), said("DataError", "REFUSED"), said("i", "PASSED")])
    assert [alarm.gate for alarm in _alarms(("clean", "code", ()), told)] == ["g", "DataError"]


# ── a project, really driven ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


WAY = (STATIC, CHECK)


@pytest.fixture(scope="module")
def twin(models, tmp_path_factory):
    shape = Shape(settings={"sft.precision": "float32"})
    return drive(build(shape, tmp_path_factory.mktemp("twin") / "project", models).folder, WAY)


def test_the_sound_project_passes_in_silence(twin):
    assert twin.said
    assert {one.status for one in twin.said} == {"PASSED"}


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("key-with-a-typo", "check --static"),
        ("answers-without-end-of-turn", "check"),
        ("test-rows-in-train", "check"),
        ("no-weights", "check"),
        ("broken-line", "check"),
        ("a-weight-missing", "check"),
        ("tokenizer-of-another-model", "check"),
    ],
)
def test_a_planted_fault_is_caught_before_a_step_is_trained(models, twin, tmp_path, name, stage):
    fault = BY_NAME[name]
    project = build(TWINS[fault.shape], tmp_path / "project", models)
    fault.plant(project)
    project.save()
    found = judged(fault, drive(project.folder, WAY), twin)
    assert found.caught and found.stage == stage
    assert found.measured and found.remedy


def test_a_warning_before_training_is_told_beside_the_gate_that_stopped_later():
    told = Told([said("first", "WARNED", "check"), said("second", "FAILED", "compare")], steps=40)
    found = judged(BY_NAME["broken-line"], told, Told(steps=40))
    assert (found.gate, found.told) == ("second", "first WARNED at check") and found.before_training
    late = judged(BY_NAME["broken-line"], Told([said("second", "FAILED", "compare")], steps=40), Told(steps=40))
    assert late.caught and not late.before_training


# ── the page ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_text_and_page_say_first_what_is_not_caught():
    found = (
        judged(BY_NAME["broken-line"], Told([said("DataError", "REFUSED")]), Told(steps=40)),
        judged(BY_NAME["mojibake"], Told([], steps=40), Told(steps=40)),
    )
    bench = Bench(found, (Alarm("clean: code", "g", "check", "3 of 4"),), 30, 12.0)
    assert (
        "1 of 2 faults caught, 1 before the first training step, 1 of these stop it; 0 have no effect here; 1 false"
        in as_text(bench)
    )
    page = as_page(bench, "2 cores")
    assert page.index("`mojibake`: questions were decoded") < page.index("**broken-line**")
    assert "- clean: code: `g` at check: 3 of 4" in page


def test_the_page_in_the_docs_names_every_fault():
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    assert [name for name in BY_NAME if f"| **{name}**:" not in page] == []
    assert "/tw-faults-" not in page


def test_faults_are_named_on_the_command_line_and_a_misspelt_one_gets_the_nearest(capsys):
    assert _named(["double-bos", "double-bos"]) == (BY_NAME["double-bos"],)
    assert main(["faults", "double-bso"]) == 2
    assert "fix: did you mean double-bos?" in capsys.readouterr().err

"""Every item of the checklist: what shows it, what shows the contrary, and what shows nothing."""

import pytest
from sample_run import SampleRun

from tunewright.artifacts.files import read_json, read_jsonl, write_json, write_jsonl
from tunewright.artifacts.verdict import judge
from tunewright.errors import DataError, RunFolderError, UserError
from tunewright.reports.checklist import SIGNOFF, State, items_of, sign
from tunewright.reports.gather import Story

TEMPLATE = "ef" * 32  # of the sample's training rows


def verdict(name, ok=True):
    return judge(name, ok, measured=f"{name} measured", bound="b", remedy="r")


@pytest.fixture
def ready(tmp_path):
    """A run of which everything is shown that a run without an export can show."""
    sample = SampleRun(tmp_path / "runs")
    sample.data(verdict("groups_disjoint"), verdict("decontaminated"), verdict("control_tokens_are_real"))
    for stage in ("before", "before-few-shot"):
        sample.evaluate(stage)
    sample.sft()
    sample.evaluate("after")
    sample.compare()
    run = sample.state()
    for stage in ("before", "before-few-shot", "after"):
        path = run.stage_folder(stage) / "scores.jsonl"
        write_jsonl(path, ({**_clean(row), "template_sha256": TEMPLATE} for _, row in list(read_jsonl(path))))
    sign(Story(run), "A. Reader")
    return run


def _clean(row):
    return {**row, "answer": "", "reason": ""}  # half a surrogate pair has no UTF-8


def state_of(run, name):
    return next(item for item in items_of(Story(run)) if item.name == name)


def change(path, *keys, to):
    """Change one value deep in a JSON file."""
    whole = read_json(path)
    part = whole
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = to
    write_json(path, whole)


def test_a_sound_run_lacks_only_the_export_that_nobody_made(ready):
    states = {item.name: item.state for item in items_of(Story(ready))}
    assert states.pop("merged equals adapter") is State.NOT_NEEDED
    assert set(states.values()) == {State.DONE}, states


def test_each_item_that_is_done_names_a_file_that_is_there(ready):
    for item in items_of(Story(ready)):
        assert item.state is not State.DONE or (ready.path / item.evidence).is_file(), item
        assert item.seen


def test_a_run_that_did_nothing_shows_nothing_and_is_not_ready(tmp_path):
    run = SampleRun(tmp_path / "runs").state("stopped")
    states = {item.name: item.state for item in items_of(Story(run))}
    assert states.pop("outputs read by a person") is State.NOT_DONE
    assert states.pop("merged equals adapter") is State.NOT_NEEDED
    assert set(states.values()) == {State.NOT_SHOWN}


@pytest.mark.parametrize(
    ("gate", "item"),
    [
        ("control_tokens_are_real", "real special tokens"),
        ("groups_disjoint", "no leakage"),
        ("decontaminated", "no leakage"),
        ("merge_drift", "merged equals adapter"),
    ],
)
def test_a_gate_that_failed_is_not_done_whether_it_was_allowed_or_not(tmp_path, gate, item):
    sample = SampleRun(tmp_path / "runs")
    failed = verdict(gate, ok=False)
    sample.data(failed.model_copy(update={"allowed": True}))
    found = state_of(sample.state(), item)
    assert found.state is State.NOT_DONE and f"{gate} measured" in found.seen
    assert found.evidence == "1-data/record.json"


def test_an_evaluation_by_another_template_is_not_done_and_named(ready):
    path = ready.stage_folder("after") / "scores.jsonl"
    write_jsonl(path, ({**row, "template_sha256": "0" * 64} for _, row in list(read_jsonl(path))))
    found = state_of(ready, "template used in evaluation")
    assert found.state is State.NOT_DONE and "after" in found.seen


def test_a_template_that_only_a_server_knows_is_not_shown(ready):
    path = ready.stage_folder("after") / "scores.jsonl"
    write_jsonl(path, ({**row, "template_sha256": ""} for _, row in list(read_jsonl(path))))
    assert state_of(ready, "template used in evaluation").state is State.NOT_SHOWN


def test_a_tuned_model_that_is_asked_with_a_system_text_it_never_saw_is_not_done(ready):
    record = ready.stage_folder("after") / "record.json"
    change(record, "result", "inference", "system", to="You are terse.")
    assert state_of(ready, "identical format").state is State.NOT_DONE
    parity = state_of(ready, "prompt parity")
    assert parity.state is State.NOT_DONE and "terse" in parity.seen


def test_what_a_server_rendered_is_not_shown_to_be_the_format_of_training(ready):
    change(ready.stage_folder("after") / "record.json", "result", "inference", "backend", to="openai")
    assert state_of(ready, "identical format").state is State.NOT_SHOWN


def test_a_score_of_zero_is_not_done(ready):
    record = ready.stage_folder("after") / "record.json"
    summary = read_json(record)["result"]["summary"]
    change(record, "result", "summary", to=[{**metric, "value": 0.0, "low": 0.0} for metric in summary])
    assert state_of(ready, "held-out score above 0").state is State.NOT_DONE


@pytest.mark.parametrize("verdict", ["not shown", "worse"])
def test_a_baseline_that_is_not_shown_to_be_beaten_is_not_done(ready, verdict):
    change(ready.stage_folder("compare") / "record.json", "result", "verdict", to=verdict)
    found = state_of(ready, "baseline beaten")
    assert found.state is State.NOT_DONE and verdict in found.seen


def test_a_signature_says_who_and_when_and_an_earlier_one_stays(ready):
    sign(Story(ready), "B. Reader")
    signed = read_json(ready.path / SIGNOFF)["signatures"]
    assert [one["name"] for one in signed] == ["A. Reader", "B. Reader"]
    assert all(one["when"].startswith("20") for one in signed)
    assert "A. Reader" in state_of(ready, "outputs read by a person").seen


def test_new_answers_need_a_new_reader(ready):
    change(ready.stage_folder("after") / "record.json", "fingerprint", to="another")
    found = state_of(ready, "outputs read by a person")
    assert found.state is State.NOT_DONE and "before these answers" in found.seen


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "x" * 1000])
def test_a_signature_without_a_name_is_refused(ready, name):
    with pytest.raises(UserError):
        sign(Story(ready), name)


def test_what_was_never_evaluated_cannot_have_been_read(tmp_path):
    with pytest.raises(RunFolderError):
        sign(Story(SampleRun(tmp_path / "runs").state("stopped")), "A. Reader")


@pytest.mark.parametrize("text", ["[]", '{"signatures": 3}', '{"signatures": [{"name": "x"}]}', "{"])
def test_a_broken_file_of_signatures_is_no_signature_and_is_not_written_over(ready, text):
    (ready.path / SIGNOFF).write_text(text)
    found = state_of(ready, "outputs read by a person")
    assert found.state is State.NOT_DONE and SIGNOFF in found.seen
    with pytest.raises(DataError, match=r"signoff\.json"):
        sign(Story(ready), "B. Reader")
    assert (ready.path / SIGNOFF).read_text() == text


def test_what_stood_in_a_file_that_is_gone_is_not_shown(ready):
    (ready.stage_folder("after") / "scores.jsonl").unlink()
    found = state_of(ready, "template used in evaluation")
    assert found.state is State.NOT_SHOWN and "no such file" in found.seen

"""A partial run keeps what was measured before, under the machine and versions that measured it."""

import json

from benchmarks.eval_speed import least_same, same_work
from benchmarks.faults import trl

from benchmarks import estimate

ABOUT = {"device": "CPU", "threads": 2, "versions": {"torch": "1"}, "measured": "2026-11-01"}


def test_a_partial_estimate_keeps_only_this_machines_cases_with_their_own_day(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "BASELINES", tmp_path)
    monkeypatch.setattr(estimate, "about_here", lambda: {**ABOUT, "measured": "2026-11-02"})
    for device in ("cpu", "another"):
        path = tmp_path / f"{device}-2-threads__estimate.json"
        path.write_text(json.dumps({"machine": {**ABOUT, "device": device}, "cases": [{"case": f"of {device}"}]}))
    found = estimate.kept_here()
    assert list(found) == ["of cpu"]
    estimate.write_baseline(list(found.values()))
    written = json.loads((tmp_path / "cpu-2-threads__estimate.json").read_text())
    assert written["machine"]["measured"] == "2026-11-02"
    assert written["cases"][0]["machine"]["measured"] == "2026-11-01"


def test_a_fault_that_was_measured_with_other_versions_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr(trl, "RESULTS", tmp_path / "trl.json")
    old, new = (fault.name for fault in trl.FAULTS[:2])
    monkeypatch.setattr(trl, "version", lambda name: "1")
    trl.write({old: {"said": "silent", "why": ""}})
    monkeypatch.setattr(trl, "version", lambda name: "2")
    trl.write({**trl.kept(), new: {"said": "silent", "why": ""}})
    found = json.loads(trl.RESULTS.read_text())
    assert found["versions"]["trl"] == "2"
    assert found["faults"][old]["versions"]["trl"] == "1"
    assert "versions" not in found["faults"][new]


def test_a_ratio_of_different_work_is_none():
    same = {"same_prompts": True, "same_answers": 3, "demanded": 3}
    assert same_work(same)
    assert not same_work({**same, "same_answers": 2})
    assert not same_work({**same, "same_prompts": False})


def test_as_many_answers_must_be_the_same_as_are_the_same_again_up_to_chance():
    assert least_same(150, 150) == 150
    assert least_same(120, 150) == 107

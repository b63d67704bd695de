"""Each gate on what rows say fires on the planted fault and is silent on clean rows."""

from __future__ import annotations

from tunewright.artifacts.verdict import Status
from tunewright.gates.data import decontaminated, filters_kept_most
from tunewright.sources.overlap import Overlap


def test_the_gate_fails_on_a_pair_and_shows_it_and_is_silent_on_none():
    pair = Overlap("exact", 1.0, "train-3", "test-8", "test", "How many?", "How many?")
    verdict = decontaminated([pair], 40, evidence="overlaps.json")
    assert verdict.status is Status.FAILED
    assert verdict.measured == "1 of 40 evaluation rows stand in train (1 exact): test-8 = train-3 (exact 100%)"
    assert verdict.evidence == "overlaps.json"
    clean = decontaminated([], 40, other_tasks=2)
    assert clean.status is Status.PASSED
    assert (clean.remedy, clean.evidence) == ("", "")
    assert clean.measured.endswith("2 more say the same and are another task")


def test_a_filter_that_takes_more_than_half_is_warned_of():
    assert filters_kept_most({"quality": 60, "language": 3}, 100).status is Status.WARNED
    assert filters_kept_most({"quality": 50}, 100).status is Status.PASSED
    assert filters_kept_most({}, 0).status is Status.PASSED

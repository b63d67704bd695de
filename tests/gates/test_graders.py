from dataclasses import replace

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.graders import CHANGE, DIAGNOSES, FOLLOWS, diagnose, grader_can_teach, verdict_of
from tunewright.graders.dry_run import Groups, Measured, Share
from tunewright.graders.self_check import Check, SelfCheck


def share(value):
    return Share(value, value - 0.05, value + 0.05)


SELF = SelfCheck(Check((1.0,) * 20), {"empty": Check((0.0,) * 20)}, Check((0.0,) * 20), Check((0.0,) * 20))
SOUND = Measured(
    num_prompts=25, num_answers=200, num_scored=200, mean=share(0.45), std=0.3, above_zero=share(0.6),
    at_full=share(0.3), lowest=0.0, highest=1.0, num_values=5, errors={},
    groups=Groups(25, 2, Share(0.08, 0.02, 0.25), 8, 0.2, 0.2, 0.5),
    error_share=0.0, parse_share=0.0, length_correlation=0.9, padding_gain=0.0,
    own_gain=share(0.3), repeat_noise=0.0, reliability=1.0,
    check=SELF, seconds=0.001, seconds_p95=0.002, cost_usd=0.0,
)  # fmt: skip


def test_sound_measurements_pass_also_when_right_answers_are_long():
    verdict = grader_can_teach(SOUND)
    assert verdict.status is Status.PASSED and not verdict.remedy


@pytest.mark.parametrize(
    ("change", "name", "stops"),
    [
        ({"error_share": 0.05}, "erroring", False),
        ({"error_share": 0.5}, "erroring", True),
        ({"parse_share": 0.1}, "unparsed", False),
        ({"highest": 10.0}, "out of range", True),
        ({"reliability": 0.7}, "noisy", False),
        ({"padding_gain": 0.2}, "length-biased", False),
        ({"own_gain": Share(0.0, -0.1, 0.1)}, "misaligned", False),
        ({"above_zero": share(0.15)}, "too harsh", False),
        ({"above_zero": share(0.05)}, "too harsh", True),
        ({"mean": share(0.1)}, "too harsh", False),
        ({"at_full": share(0.6)}, "too lenient", False),
        ({"mean": share(0.8)}, "too lenient", False),
        ({"at_full": share(0.9)}, "too lenient", True),
        ({"std": 0.05}, "flat", False),
        ({"seconds_p95": 9.0}, "slow", False),
        ({"cost_usd": 1.0}, "costly", False),
        ({"num_prompts": 3}, "too few", False),
    ],
)
def test_each_bound_is_held_and_the_verdict_follows(change, name, stops):
    findings = diagnose(replace(SOUND, **change))
    assert [(finding.diagnosis, finding.stops) for finding in findings] == [(name, stops)]
    verdict = grader_can_teach(replace(SOUND, **change))
    assert verdict.status is (Status.FAILED if stops else Status.WARNED)
    assert CHANGE[name] in verdict.remedy


def test_a_share_at_full_score_of_scores_that_are_only_0_and_1_is_their_mean_and_judged_as_such():
    zeros_and_ones = replace(SOUND, num_values=2, mean=share(0.6), at_full=share(0.6), above_zero=share(0.6), std=0.49)
    assert not diagnose(zeros_and_ones)


def test_findings_that_stop_come_first_and_every_diagnosis_says_what_to_change():
    findings = diagnose(replace(SOUND, reliability=0.7, above_zero=share(0.05), seconds_p95=99.0))
    assert [finding.diagnosis for finding in findings] == ["too harsh", "noisy", "slow"]
    assert verdict_of(findings) == "NO-GO"
    assert set(CHANGE) == set(DIAGNOSES)
    assert {*FOLLOWS, *(effect for effects in FOLLOWS.values() for effect in effects)} <= set(DIAGNOSES)

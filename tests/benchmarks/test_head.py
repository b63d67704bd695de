from dataclasses import replace

import pytest
import torch
from benchmarks.head import FULL, HEADS, OURS, PLAIN, QUICK, TOP, TRL, TUNED

from benchmarks import head

TINY = replace(QUICK, tokens=40)  # fewer rows than are compiled


@pytest.fixture(scope="module")
def timed():
    return head.times(TINY, torch.float32, rounds=2)


def test_all_unweighted_arms_give_the_same_loss(timed):
    unweighted = [name for name in timed if name not in (OURS, TOP) and "linear weights" not in name]
    assert {PLAIN, TRL, FULL, *TUNED} <= set(unweighted)
    for name in unweighted:
        assert timed[name]["loss"] == pytest.approx(timed[FULL]["loss"], rel=1e-4), name


def test_every_arm_is_timed_in_every_round(timed):
    assert set(timed) == set(head.arms_for(torch.float32))
    assert all(len(row["seconds"]) == 2 for row in timed.values())


def test_every_bound_that_time_and_memory_have_is_judged(timed):
    rows = {name: {**row, "growth_mib": 2.0, "extra_mib": 1.0} for name, row in timed.items()}
    assert [finding.limit for finding in head.findings(rows)] == [1.05, 3.5, 1.3, 1.03, 0.62, 0.2, 1.01]
    assert [finding.limit for finding in head.findings(timed)] == [1.05, 3.5, 1.3, 1.03, 0.62]


def test_a_head_is_measured_frozen_and_trained_with_few_and_many_ignored_labels():
    cases = head.cases_of(HEADS["SmolLM2-135M"])
    assert {(case.ignored, case.frozen) for case in cases} == {(0.2, False), (0.2, True), (0.6, False), (0.6, True)}
    inputs = head.make_inputs(replace(TINY, ignored=0.6, frozen=True), torch.float32)
    assert inputs.num_counted == 16
    assert inputs.hidden.requires_grad
    assert not inputs.weight.requires_grad


def test_memory_of_full_logits_is_that_of_the_logits_at_least():
    case = replace(TINY, vocab=49_152, tokens=128, frozen=True)
    logits_mib = case.tokens * case.vocab * 4 / 2**20
    growth = head.growth_in_own_process(FULL, case, torch.float32)
    assert growth is not None
    assert logits_mib < growth < 5 * logits_mib
    assert head.gradients_mib(case, torch.float32) == case.tokens * case.hidden_size * 4 / 2**20


def test_an_unknown_head_is_refused(capsys):
    with pytest.raises(SystemExit):
        head.main(["Qwen9"])
    assert "SmolLM2-135M" in capsys.readouterr().err

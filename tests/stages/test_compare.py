import json

import pytest

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.files import write_jsonl
from tunewright.artifacts.scores import ScoreRow, Scores
from tunewright.artifacts.verdict import Status
from tunewright.errors import DataError, PairingError
from tunewright.recipe.sections import CompareSection
from tunewright.stages.compare.stage import compare, compare_scores


def score_row(index, right, f1=None, prompt="same", group=None):
    return ScoreRow(
        id=f"r{index}",
        group=group or f"g{index}",
        source="test",
        question="?",
        reference="!",
        answer="!",
        scores={"args_exact": float(right), "call_f1": float(right) if f1 is None else f1},
        reason="exact" if right else "no call",
        prompt_sha256=f"{prompt}{index}",
        prompt_tokens=3,
        answer_tokens=1,
        finish="stop",
        seconds=0.1,
    )


def side(rights, **more):
    return [score_row(i, right, **more) for i, right in enumerate(rights)]


def scores(folder, rows):
    folder.mkdir()
    write_jsonl(folder / "scores.jsonl", (row.model_dump(mode="json") for row in rows))
    return Scores(
        folder=folder,
        model="m",
        suite="tool-calls",
        shots=0,
        num_rows=len(rows),
        summary=[],
        seconds=1.0,
        prompt_tokens=1,
        answer_tokens=1,
        cut_answers=0,
    )


def section(**more):
    return CompareSection(baseline="before", candidate="after", **more)


def test_the_verdict_is_better_with_the_counts_and_the_interval():
    baseline, candidate = side([0] * 100), side([1] * 40 + [0] * 60)
    test = compare_scores(baseline, candidate)[0]
    assert (test.metric, test.baseline, test.candidate, test.num_rows) == ("args_exact", 0.0, 0.4, 100)
    assert (test.gained, test.lost, test.verdict) == (40, 0, "better")
    assert test.interval[0] > 0.25
    assert test.p_value < 1e-10


def test_the_verdict_turns_round_with_the_sides():
    baseline, candidate = side([1] * 40 + [0] * 60), side([0] * 100)
    assert compare_scores(baseline, candidate)[0].verdict == "worse"


def test_few_discordant_rows_show_nothing():
    baseline, candidate = side([1] * 50 + [0] * 50), side([1] * 52 + [0] * 48)
    test = compare_scores(baseline, candidate)[0]
    assert test.verdict == "not shown"
    assert test.least_detectable > test.difference


def test_p_values_are_corrected_over_the_metrics():
    baseline, candidate = side([0] * 20), side([1] * 6 + [0] * 14)
    test = compare_scores(baseline, candidate)[0]
    assert test.p_value_raw == pytest.approx(2 / 2**6)
    assert test.p_value >= 2 * test.p_value_raw - 1e-12


def test_graded_metrics_use_the_permutation_test():
    baseline, candidate = side([0] * 30, f1=0.2), side([0] * 30, f1=0.5)
    test = compare_scores(baseline, candidate)[1]
    assert test.test == "paired permutation by group"
    assert test.verdict == "better"
    assert test.difference == pytest.approx(0.3)


def test_rows_of_one_group_do_not_count_as_independent():
    baseline = [score_row(i, 0, f1=0.2, group="one") for i in range(30)]
    candidate = [score_row(i, 0, f1=0.5, group="one") for i in range(30)]
    assert compare_scores(baseline, candidate)[1].verdict == "not shown"


def test_sides_with_different_rows_are_refused_with_the_first_ids():
    with pytest.raises(PairingError, match=r"only in the baseline: 7 \(r3, r4, r5, r6, r7, …\)"):
        compare_scores(side([1] * 10), side([1] * 3))


def test_sides_that_were_asked_differently_are_refused():
    with pytest.raises(PairingError, match="3 rows were asked differently"):
        compare_scores(side([1] * 3), side([1] * 3, prompt="other"))


def test_a_row_scored_twice_is_refused():
    with pytest.raises(PairingError, match="twice"):
        compare_scores([*side([1]), *side([1])], side([1]))


def test_the_comparison_file_has_the_fields_that_others_read(tmp_path):
    run = RunContext(quiet=True)
    baseline, candidate = scores(tmp_path / "a", side([0] * 60)), scores(tmp_path / "b", side([1] * 30 + [0] * 30))
    (tmp_path / "out").mkdir()
    compare(baseline, candidate, section(), tmp_path / "out", run, beside={"shots": baseline})
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    fields = {"metric", "baseline", "candidate", "difference", "interval", "p_value", "num_rows", "verdict"}
    assert fields <= set(written["tests"][0])
    assert written["beside"][0]["baseline"] == "shots"
    assert written["verdict"] == "better"
    assert run.verdicts[0].status is Status.PASSED


@pytest.mark.parametrize(
    ("rights", "require", "status"),
    [
        ([1] * 30 + [0] * 30, {"metric": "args_exact", "better_by": 0.4}, Status.PASSED),
        ([1] * 30 + [0] * 30, {"metric": "args_exact", "better_by": 0.6}, Status.FAILED),
        ([1] * 2 + [0] * 58, {"metric": "args_exact", "better_by": 0.0}, Status.FAILED),
        ([0] * 60, None, Status.WARNED),
    ],
)
def test_the_gate_holds_the_difference_against_what_is_required(tmp_path, rights, require, status):
    run = RunContext(quiet=True)
    baseline, candidate = scores(tmp_path / "a", side([0] * 60)), scores(tmp_path / "b", side(rights))
    (tmp_path / "out").mkdir()
    compare(baseline, candidate, section(require=require), tmp_path / "out", run)
    assert run.verdicts[0].status is status
    assert bool(run.verdicts[0].remedy) == (status is not Status.PASSED)


def test_a_candidate_shown_to_be_worse_fails_without_being_asked(tmp_path):
    run = RunContext(quiet=True)
    baseline, candidate = scores(tmp_path / "a", side([1] * 60)), scores(tmp_path / "b", side([0] * 60))
    (tmp_path / "out").mkdir()
    compare(baseline, candidate, section(), tmp_path / "out", run)
    assert run.verdicts[0].status is Status.FAILED


def test_a_metric_that_nobody_scored_is_named(tmp_path):
    baseline, candidate = scores(tmp_path / "a", side([0] * 6)), scores(tmp_path / "b", side([1] * 6))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="no metric 'bleu'"):
        compare(baseline, candidate, section(require={"metric": "bleu"}), tmp_path / "out", RunContext(quiet=True))

import json

import pytest

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.files import write_jsonl
from tunewright.artifacts.scores import ScoreRow, Scores
from tunewright.artifacts.verdict import Status
from tunewright.errors import DataError, PairingError
from tunewright.recipe.sections import CompareSection
from tunewright.stages.compare.changes import changes
from tunewright.stages.compare.pairs import pair_by_row, paired
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
    assert test.test == "paired permutation"
    assert test.verdict == "better"
    assert test.difference == pytest.approx(0.3)


def test_rows_of_one_group_do_not_count_as_independent():
    baseline = [score_row(i, 0, f1=0.2, group="one") for i in range(30)]
    candidate = [score_row(i, 0, f1=0.5, group="one") for i in range(30)]
    assert compare_scores(baseline, candidate)[1].verdict == "not shown"


def test_zero_one_rows_of_one_group_do_not_count_as_independent_either():
    groups = [f"g{i // 10}" for i in range(50)]
    baseline = [score_row(i, 0, group=group) for i, group in enumerate(groups)]
    candidate = [score_row(i, 1, group=group) for i, group in enumerate(groups)]
    test = compare_scores(baseline, candidate)[0]
    assert (test.test, test.num_groups, test.verdict) == ("exact McNemar by group", 5, "not shown")
    assert test.p_value_raw == pytest.approx(2 / 2**5)
    assert compare_scores(side([0] * 50), side([1] * 50))[0].test == "exact McNemar"


def unscored(row):
    """The row as it stands where its answer could not be scored."""
    return row.model_copy(update={"scores": {}, "error": "the grader timed out"})


def test_unscored_rows_count_for_neither_side_and_are_counted():
    baseline, candidate = side([0] * 40), side([1] * 40)
    baseline[0], candidate[1], candidate[2] = unscored(baseline[0]), unscored(candidate[1]), unscored(candidate[2])
    baseline[3], candidate[3] = unscored(baseline[3]), unscored(candidate[3])
    test = compare_scores(baseline, candidate)[0]
    assert (test.num_rows, test.unscored, test.baseline, test.candidate) == (36, 4, 0.0, 1.0)


def test_rows_outside_a_metrics_denominator_are_not_unscored():
    outside = {"scores": {}, "reason": "no call expected"}
    baseline, candidate = ([rows[0].model_copy(update=outside), *rows[1:]] for rows in (side([0] * 9), side([1] * 9)))
    test = compare_scores(baseline, candidate)[0]
    assert (test.num_rows, test.unscored) == (8, 0)


def test_an_error_on_one_side_of_a_row_outside_the_denominator_is_not_counted():
    baseline, candidate = side([0] * 9), side([1] * 9)
    baseline[0] = baseline[0].model_copy(update={"scores": {}})
    candidate[0] = unscored(candidate[0])
    assert compare_scores(baseline, candidate)[0].unscored == 0


def test_sides_without_a_common_score_are_refused():
    with pytest.raises(DataError, match="no row has a score on both sides"):
        compare_scores([unscored(row) for row in side([1] * 3)], side([1] * 3))


def test_scores_beside_an_error_count_for_no_metric():
    failed = [row.model_copy(update={"error": "the grader timed out"}) for row in side([1] * 3)]
    with pytest.raises(DataError, match="no row has a score on both sides"):
        compare_scores(failed, side([1] * 3))


def run_compare(tmp_path, baseline, candidate, beside=None, **more):
    sides = {
        name: scores(tmp_path / name, rows) for name, rows in {"a": baseline, "b": candidate, **(beside or {})}.items()
    }
    (tmp_path / "out").mkdir()
    others = {name: sides[name] for name in beside or {}}
    run = RunContext(quiet=True)
    found = compare(sides["a"], sides["b"], section(**more), tmp_path / "out", run, others)
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["verdict"] == found.verdict
    return found, run.verdicts[0]


def test_the_gate_says_how_many_rows_are_unscored(tmp_path):
    baseline, candidate = side([0] * 40), side([1] * 40)
    candidate[7] = unscored(candidate[7])
    found, verdict = run_compare(tmp_path, baseline, candidate)
    assert found.unscored == 1
    assert "1 more rows are unscored" in verdict.measured


def perplexities(values, group=None):
    rows = [score_row(i, 0, group=group) for i in range(len(values))]
    return [
        row.model_copy(update={"scores": {"perplexity": float(value)}}) for row, value in zip(rows, values, strict=True)
    ]


def test_a_lower_perplexity_is_better():
    baseline, candidate = (
        perplexities([9.0 + i / 10 for i in range(30)]),
        perplexities([8.0 + i / 9 for i in range(30)]),
    )
    (test,) = compare_scores(baseline, candidate, lower_is_better={"perplexity"})
    assert (test.verdict, test.gained, test.lost) == ("better", 30, 0)
    assert test.interval[1] < 0 < test.gain and test.not_worse_by == 0
    assert compare_scores(baseline, candidate)[0].verdict == "worse"


def test_one_group_of_scores_without_bounds_can_still_be_written(tmp_path):
    baseline, candidate = perplexities([9.0] * 5, "one"), perplexities([8.0, 7.0, 6.0, 5.0, 4.0], "one")
    found, verdict = run_compare(tmp_path, baseline, candidate, require={"metric": "perplexity"})
    assert found.verdict == "not shown" and verdict.status is Status.FAILED


def test_three_systems_make_a_matrix_corrected_over_its_pairs(tmp_path):
    found, _ = run_compare(tmp_path, side([0] * 60), side([1] * 30 + [0] * 30), {"shots": side([1] * 8 + [0] * 52)})
    assert [(pair.first, pair.second) for pair in found.matrix] == [
        ("before", "shots"),
        ("before", "after"),
        ("shots", "after"),
    ]
    by_pair = {(pair.first, pair.second): pair for pair in found.matrix}
    assert by_pair["before", "shots"].p_value_raw == pytest.approx(2 / 2**8)
    assert by_pair["before", "shots"].p_value == pytest.approx(2 / 2**8)  # the largest of three: as it is
    assert by_pair["before", "after"].p_value == pytest.approx(3 * 2 / 2**30)
    assert [pair.verdict for pair in found.matrix] == ["better"] * 3


def test_two_systems_make_no_matrix(tmp_path):
    assert run_compare(tmp_path, side([0] * 9), side([1] * 9))[0].matrix == ()


def test_a_system_without_the_deciding_metric_is_named(tmp_path):
    other = [row.model_copy(update={"scores": {"call_f1": 0.5}}) for row in side([0] * 9)]
    with pytest.raises(DataError, match=r"before and other: no row has a score in 'args_exact' on both sides"):
        run_compare(tmp_path, side([0] * 9), side([1] * 9), {"other": other})


CALL = '<tool_call>\n{{"name": "{}", "arguments": {{}}}}\n</tool_call>'


def called(index, right, tool, reason, tokens, group=None):
    more = {"reference": CALL.format(tool), "reason": "exact" if right else reason, "prompt_tokens": tokens}
    return score_row(index, right, group=group).model_copy(update=more)


def test_changes_say_what_got_better_and_what_got_worse_with_rows_to_read(tmp_path):
    tools = ["weather"] * 12 + ["mail"] * 8
    baseline = [called(i, tool == "mail", tool, "no call", 100 + i) for i, tool in enumerate(tools)]
    candidate = [called(i, tool == "weather", tool, "wrong arguments: city", 100 + i) for i, tool in enumerate(tools)]
    found = {(change.by, change.value): change for change in run_compare(tmp_path, baseline, candidate)[0].changes}
    weather, mail = found["tool", "weather"], found["tool", "mail"]
    assert (weather.gained, weather.lost, weather.better) == (12, 0, ("r0", "r1", "r2", "r3", "r4"))
    assert (mail.baseline, mail.candidate, mail.worse[0]) == (1.0, 0.0, "r12")
    fixed, broken = found["failure", "no call"], found["failure", "wrong arguments"]
    assert (fixed.baseline, fixed.candidate, fixed.gained, fixed.lost) == (0.6, 0.0, 12, 0)
    assert (broken.baseline, broken.candidate, broken.lost) == (0.0, 0.4, 8)
    assert found["length", "up to 104 prompt tokens"].gained == 5
    assert all(change.p_value >= 2 / 2**12 for change in found.values())


def test_groups_are_told_only_where_they_have_several_rows(tmp_path):
    baseline = [called(i, 0, "t", "no call", 9, group=f"g{i // 2 if i < 6 else i}") for i in range(10)]
    candidate = [called(i, i < 7, "t", "no call", 9, group=f"g{i // 2 if i < 6 else i}") for i in range(10)]
    found = run_compare(tmp_path, baseline, candidate)[0].changes
    assert sorted(change.value for change in found if change.by == "group") == ["g0", "g1", "g2"]
    assert not [change for change in found if change.by == "length"]


def test_many_slices_are_cut_to_the_most_changed_and_corrected_for_all():
    rows = [(i, f"g{i // 4}") for i in range(120)]
    baseline = [score_row(i, 0, group=group) for i, group in rows]
    candidate = [score_row(i, i % 4 < 3 if i < 40 else i % 4 == 0, group=group) for i, group in rows]
    found = [
        change for change in changes(paired("args_exact", pair_by_row(baseline, candidate))) if change.by == "group"
    ]
    assert [change.value for change in found] == [f"g{i}" for i in range(10)]
    assert all((change.gained, change.p_value) == (3, 1.0) for change in found)  # one group cannot show anything


@pytest.mark.parametrize(
    "reference",
    [
        '<tool_call>\n{"name": "mail", "arguments": {}}\n</tool_call>',
        '[TOOL_CALLS][{"name": "mail", "arguments": {}}]',
        '{"name": "mail", "parameters": {}}',
        "[mail(to='me')]",
    ],
)
def test_tools_are_read_in_the_format_of_the_model(reference):
    old, new = ([score_row(i, right).model_copy(update={"reference": reference}) for i in range(3)] for right in (0, 1))
    found = changes(paired("args_exact", pair_by_row(old, new)))
    assert [change.value for change in found if change.by == "tool"] == ["mail"]


def test_equal_sides_have_no_changes(tmp_path):
    assert run_compare(tmp_path, side([1, 0] * 9), side([1, 0] * 9))[0].changes == ()


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

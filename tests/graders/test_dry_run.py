"""Planted faults: every one is diagnosed by its right name, and sound graders get GO. Chance stands for the policy."""

import random

import pytest
from tests.graders.conftest import judged_by, result, shown
from tests.graders.policies import answers_to_calls, answers_to_sums, calls, number_of, sums

from tunewright.gates.graders import DIAGNOSES, Bounds, diagnose, grader_can_teach, verdict_of
from tunewright.graders.dry_run import examine, grade_answers, group_measures, length_correlation, repeat_noise
from tunewright.graders.load import load
from tunewright.graders.number import find_number
from tunewright.graders.self_check import MASTER_KEYS
from tunewright.graders.spec import Context

NUMBER = {"type": "number"}
SOME = "tests.graders.some_graders:"


def dry_run(spec, rows, answers, context=None, bounds=None):
    grader = load(spec, context or Context())
    measured = examine(grader, rows, grade_answers(grader, rows, answers))
    return diagnose(measured, bounds), measured


# ── twelve faults and more ──────────────────────────────────────────────────────────────────────────────────────────


def too_harsh():
    rows = sums()

    def say(row, number, ok, chance):
        return row["reference"] if ok and chance.random() < 0.08 else f"I think {number}."

    spec = {
        "type": "string_check",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.reference }}",
        "operation": "eq",
    }
    return {"spec": spec, "rows": rows, "answers": answers_to_sums(rows, say=say)}


def too_lenient():
    """It asks for the unit and for nothing of the number; the unit stands in a form that only answers have."""
    rows = sums(unit=lambda place, number: f"unit {place}")
    for row in rows:
        row["reference"] += f" ({row['unit']})"
    chance = random.Random(0)
    answers = {row["id"]: [f"7 ({row['unit']})" if chance.random() < 0.93 else "7" for _ in range(8)] for row in rows}
    return {"spec": {"type": "keyword", "required": ["{{ item.unit }}"]}, "rows": rows, "answers": answers}


def misaligned():
    """The column of references has slipped by one row: each answer is held against the next row's."""
    chance, desks = random.Random(0), ("red", "green", "blue")
    right = [desks[place % 3] for place in range(26)]
    rows = [{"id": f"r{place}", "prompt": f"Sort {place}.", "reference": right[place + 1]} for place in range(25)]
    answers = {row["id"]: [_sorted_as(right[place], desks, chance) for _ in range(8)] for place, row in enumerate(rows)}
    item, said = "{{ item.reference }}", "{{ sample.output_text }}"
    spec = {"type": "string_check", "input": said, "reference": item, "operation": "eq"}
    return {"spec": spec, "rows": rows, "answers": answers}


def _sorted_as(right, desks, chance):
    return right if chance.random() < 0.4 else chance.choice([desk for desk in desks if desk != right])


def dead():
    rows = sums()
    return {"spec": SOME + "swallows_its_errors", "rows": rows, "answers": answers_to_sums(rows)}


def hackable():
    """A judge that takes what looks like the beginning of a solution for one (arXiv:2507.08794)."""

    def say(prompt):
        answer, reference = shown(prompt, "Answer to grade"), shown(prompt, "Reference answer")
        fooled = answer.strip() in MASTER_KEYS
        return result(float(fooled or find_number(answer, "auto") == find_number(reference, "auto")))

    rows = sums()
    spec = {"type": "score_model", "model": "judge", "rubric": "Is it right?", "reference": "{{ item.reference }}"}
    return {"spec": spec, "rows": rows, "answers": answers_to_sums(rows), "context": judged_by(say)}


def data_problem():
    rows = sums(key=lambda place, number: number + 1 if place % 4 == 0 else number)
    return {"spec": {**NUMBER, "reference": "{{ item.key }}"}, "rows": rows, "answers": answers_to_sums(rows)}


def no_signal():
    rows = sums()
    return {
        "spec": NUMBER,
        "rows": rows,
        "answers": answers_to_sums(rows, right=lambda place, chance: float(place % 2)),
    }


def noisy():
    rows = sums()
    return {"spec": SOME + "moody", "rows": rows, "answers": answers_to_sums(rows)}


def unparsed():
    """A judge that likes to talk."""

    def say(prompt):
        same = find_number(shown(prompt, "Answer to grade"), "auto") == find_number(
            shown(prompt, "Reference answer"), "auto"
        )
        return "It depends on how one reads the question." if len(prompt) % 4 == 0 else "right" if same else "wrong"

    rows = sums()
    spec = {
        "type": "label_model", "model": "judge", "rubric": "Is it right?", "reference": "{{ item.reference }}",
        "labels": ["right", "wrong"], "passing_labels": ["right"],
    }  # fmt: skip
    return {"spec": spec, "rows": rows, "answers": answers_to_sums(rows), "context": judged_by(say)}


def erroring():
    rows = sums(key=lambda place, number: str(number))
    for row in rows[::5]:
        del row["key"]
    return {"spec": {**NUMBER, "reference": "{{ item.key }}"}, "rows": rows, "answers": answers_to_sums(rows)}


def length_biased():
    rows = sums()
    return {"spec": {"type": "length", "least": 60, "margin": 59}, "rows": rows, "answers": answers_to_sums(rows)}


def inverted():
    rows = sums()
    spec = {
        "type": "string_check",
        "input": "{{ sample.output_text }}",
        "reference": "{{ item.answer }}",
        "operation": "ne",
    }
    for row in rows:
        row["answer"] = row["reference"] = f"{number_of({'reference': row['reference']})}"
    answers = {row["id"]: [row["answer"] if place < 3 else f"{place}" for place in range(8)] for row in rows}
    return {"spec": spec, "rows": rows, "answers": answers}


def out_of_range():
    rows = sums()
    return {"spec": SOME + "out_of_ten", "rows": rows, "answers": answers_to_sums(rows)}


def flat():
    """A judge who commits to nothing."""

    def say(prompt):
        answer = shown(prompt, "Answer to grade")
        if answer.startswith("There are") and "####" in answer:
            return result(1.0)
        if "####" not in answer and "It is " not in answer:
            return result(0.0)
        return result(0.5 + 0.01 * (len(answer) % 5))

    rows = sums()
    spec = {"type": "score_model", "model": "judge", "rubric": "Is it right?"}
    return {"spec": spec, "rows": rows, "answers": answers_to_sums(rows), "context": judged_by(say)}


def blind():
    rows = sums()
    for row in rows:
        row["reference"] = f'{{"total": {number_of(row)}}}'
    spec = {"type": "json_schema", "schema": {"type": "object", "required": ["total"]}}
    chance = random.Random(3)
    answers = {row["id"]: ['{"total": 3}' if chance.random() < 0.5 else "total: 3" for _ in range(8)] for row in rows}
    return {"spec": spec, "rows": rows, "answers": answers}


def slow():
    rows = sums()
    return {"spec": SOME + "slow", "rows": rows, "answers": answers_to_sums(rows), "bounds": Bounds(seconds_p95=0.01)}


def costly():
    def say(prompt):
        same = find_number(shown(prompt, "Answer to grade"), "auto") == find_number(
            shown(prompt, "Reference answer"), "auto"
        )
        return result(float(same))

    rows = sums()
    spec = {"type": "score_model", "model": "judge", "rubric": "Is it right?", "reference": "{{ item.reference }}"}
    return {"spec": spec, "rows": rows, "answers": answers_to_sums(rows), "context": judged_by(say, cost_usd=0.05)}


def unproven():
    rows = sums(key=lambda place, number: number)
    answers = answers_to_sums(rows)
    for row in rows:
        del row["reference"]
    return {"spec": {**NUMBER, "reference": "{{ item.key }}"}, "rows": rows, "answers": answers}


def too_few():
    rows = sums()[:6]
    return {"spec": NUMBER, "rows": rows, "answers": answers_to_sums(rows, right=lambda place, chance: 0.5)}


FAULTS = {
    "too harsh": too_harsh, "too lenient": too_lenient, "dead": dead, "hackable": hackable,
    "data problem": data_problem, "misaligned": misaligned,
    "no signal": no_signal, "noisy": noisy, "unparsed": unparsed, "erroring": erroring, "length-biased": length_biased,
    "inverted": inverted, "out of range": out_of_range, "flat": flat, "blind": blind, "slow": slow, "costly": costly,
    "unproven": unproven, "too few": too_few,
}  # fmt: skip
ONLY_WARNED = {"misaligned", "flat", "blind", "slow", "costly", "unproven", "too few"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_diagnosed_by_its_right_name(name):
    case = FAULTS[name]()
    findings, _ = dry_run(case["spec"], case["rows"], case["answers"], case.get("context"), case.get("bounds"))
    assert [finding.diagnosis for finding in findings][:1] == [name], findings
    assert findings[0].change and findings[0].measured
    assert verdict_of(findings) == ("WARNING" if name in ONLY_WARNED else "NO-GO")


def test_there_is_a_planted_fault_for_every_diagnosis():
    assert set(FAULTS) == set(DIAGNOSES)


# ── sound graders ───────────────────────────────────────────────────────────────────────────────────────────────────


def sound_number():
    rows = sums()
    return NUMBER, rows, answers_to_sums(rows)


def sound_multi():
    rows = sums()
    parts = {"right": NUMBER, "form": {"type": "regex", "pattern": "^#### -?[0-9]+$", "flags": ["multiline"]}}
    return (
        {"type": "multi", "graders": parts, "calculate_output": "0.8 * right + 0.2 * form"},
        rows,
        answers_to_sums(rows),
    )


def sound_tool_calls():
    rows = calls()
    return {"type": "tool_call", "credit": "partial"}, rows, answers_to_calls(rows)


@pytest.mark.parametrize("sound", [sound_number, sound_multi, sound_tool_calls])
def test_a_sound_grader_gets_go(sound):
    findings, measured = dry_run(*sound())
    assert not findings
    verdict = grader_can_teach(measured)
    assert verdict.status == "PASSED" and "prompts without signal" in verdict.measured
    assert (measured.num_prompts, measured.num_answers, measured.num_scored) == (25, 200, 200)


def test_a_sound_judge_gets_go_and_its_tokens_are_booked():
    case = costly()
    findings, measured = dry_run(case["spec"], case["rows"], case["answers"], case["context"], Bounds(cost_usd=1))
    assert not findings and measured.cost_usd == pytest.approx(0.05)


# ── what mean and spread cannot see ─────────────────────────────────────────────────────────────────────────────────


def test_two_policies_with_the_same_mean_and_spread_are_told_apart_by_their_groups():
    rows = sums()[:24]
    always = {row["id"]: [f"#### {number_of(row) + place % 2}"] * 8 for place, row in enumerate(rows)}
    half = {row["id"]: [f"#### {number_of(row) + k % 2}" for k in range(8)] for row in rows}
    told = {name: dry_run(NUMBER, rows, answers) for name, answers in (("always", always), ("half", half))}
    for _, measured in told.values():
        assert measured.mean.value == 0.5 and measured.std == 0.5 and measured.above_zero.value == 0.5
    assert told["always"][1].groups.dead == 24 and told["half"][1].groups.dead == 0
    assert told["always"][1].groups.icc == pytest.approx(1) and told["half"][1].groups.icc < 0
    assert verdict_of(told["always"][0]) == "NO-GO" and verdict_of(told["half"][0]) == "GO"


def test_nine_of_25_dead_prompts_are_on_the_border_and_warned_of():
    rows = sums()
    answers = {
        row["id"]: [f"#### {number_of(row) + (k % 2 if place > 8 else place % 2)}" for k in range(8)]
        for place, row in enumerate(rows)
    }
    findings, measured = dry_run(NUMBER, rows, answers)
    assert [finding.diagnosis for finding in findings] == ["no signal"] and not findings[0].stops
    assert measured.groups.dead_share.low < 0.5 < measured.groups.dead_share.high


def test_the_icc_is_that_of_the_one_way_analysis_of_variance():
    import numpy as np
    import pandas
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    chance = np.random.default_rng(0)
    groups = [chance.normal(chance.normal(), 1, 8) for _ in range(25)]
    data = pandas.DataFrame({"y": np.concatenate(groups), "g": np.repeat([f"g{i}" for i in range(25)], 8)})
    table = anova_lm(ols("y ~ C(g)", data).fit())
    between, within = table["mean_sq"].iloc[0], table["mean_sq"].iloc[1]
    found = group_measures(groups)
    assert found.icc == pytest.approx((between - within) / (between + 7 * within))
    assert found.within == pytest.approx(within**0.5)
    assert found.between == pytest.approx(((between - within) / 8) ** 0.5)


def test_length_counts_inside_prompts_only():
    import numpy as np

    names = [f"p{i // 8}" for i in range(200)]
    across = np.repeat(np.arange(25.0), 8)
    chance = np.random.default_rng(0)
    lengths = (100 * across + chance.integers(0, 50, 200)).astype(int)
    assert abs(length_correlation(names, across / 25 + chance.normal(0, 0.01, 200), lengths)) < 0.2
    inside = chance.random(200)
    assert length_correlation(names, across + inside, (1000 * inside).astype(int)) > 0.95
    assert length_correlation(names, np.ones(200), lengths) is None


def test_the_noise_of_repeated_grades_is_their_pooled_deviation():
    chance = random.Random(0)
    repeats = [[level + chance.gauss(0, 0.1) for _ in range(3)] for level in range(400)]
    assert repeat_noise(repeats) == pytest.approx(0.1, rel=0.1)
    assert repeat_noise([[1.0, 1.0], [0.5, 0.5]]) == 0
    assert repeat_noise([]) is None and repeat_noise([[1.0]]) is None


def test_unscored_answers_stand_in_no_mean_and_are_counted_by_kind():
    case = erroring()
    _, measured = dry_run(case["spec"], case["rows"], case["answers"])
    assert measured.errors == {"invalid_variable_error": 40}
    assert measured.num_scored == 160 and measured.error_share == 0.2


def test_a_dry_run_is_the_same_with_the_same_seed():
    spec, rows, answers = sound_multi()
    first, second = (dry_run(spec, rows, answers)[1] for _ in range(2))
    drop = ("seconds", "seconds_p95")
    assert {k: v for k, v in first.as_json().items() if k not in drop} == {
        k: v for k, v in second.as_json().items() if k not in drop
    }


def test_nothing_grave_is_explained_away_by_what_only_warns():
    case = data_problem()
    findings, _ = dry_run(case["spec"], case["rows"], case["answers"], bounds=Bounds(padding_gain=(-1.0, 1.0)))
    assert [finding.diagnosis for finding in findings] == ["data problem", "length-biased"]

"""Gates on what training will make of rows: each fires on the planted fault and is silent on clean rows."""

from __future__ import annotations

from dataclasses import replace

from tunewright.artifacts.verdict import Status
from tunewright.chat.labels import LabelAudit
from tunewright.gates.rows import Answer, RowLength, answers_are_whole, labels_are_the_answers, rows_fit

CLEAN = LabelAudit("a", "s", tokens=20, trained=5, ends=1, ends_masked=0, ends_open=False, verified=True)


def test_labels_that_are_the_answers_pass():
    assert labels_are_the_answers([CLEAN, replace(CLEAN, row="b")]).status is Status.PASSED


def test_each_kind_of_wrong_label_fails_and_names_the_row():
    for fault in ({"prompt_trained": 1}, {"answer_masked": 1}, {"ends_masked": 1}):
        verdict = labels_are_the_answers([CLEAN, replace(CLEAN, row="bad", **fault)])
        assert verdict.status is Status.FAILED and verdict.measured.endswith(": bad")


def test_labels_that_nobody_could_verify_warn():
    assert labels_are_the_answers([replace(CLEAN, verified=False)]).status is Status.WARNED


def test_rows_that_fit_pass():
    assert rows_fit([RowLength("a", "s", 100, 50)], 100, drops=False).status is Status.PASSED
    assert rows_fit([RowLength("a", "s", 9999, 50)], None, drops=False).status is Status.PASSED


def test_a_row_that_is_too_long_fails_and_says_whose_answer_a_cut_would_reach():
    rows = [RowLength("a", "s", 60, 50), RowLength("b", "s", 120, 90), RowLength("c", "s", 200, 150)]
    verdict = rows_fit(rows, 100, drops=False)
    assert verdict.status is Status.FAILED
    assert verdict.measured.startswith("2 of 3 rows are longer than 100; of 1 a trainer that cuts would cut the answer")
    assert "`overlong: drop`" in verdict.remedy


def test_dropping_is_allowed_up_to_half_of_a_source():
    few = [RowLength(str(n), "s", 120 if n == 0 else 50, 40) for n in range(4)]
    assert rows_fit(few, 100, drops=True).status is Status.PASSED
    gone = [*few, *(RowLength(f"x{n}", "essays", 900, 800) for n in range(3))]
    verdict = rows_fit(gone, 100, drops=True)
    assert verdict.status is Status.FAILED and "most in essays (100%)" in verdict.measured


def answers(texts, tokens):
    return [Answer(str(n), "s", text, count) for n, (text, count) in enumerate(zip(texts, tokens, strict=True))]


def test_answers_that_something_cut_at_one_length_fail():
    texts = [f"This goes on and on, number {n}, until it" for n in range(10)] + [f"Short {n}." for n in range(90)]
    verdict = answers_are_whole(answers(texts, [256] * 10 + [20] * 90))
    assert verdict.status is Status.FAILED
    assert verdict.measured.startswith("10 answers of s (10%) have exactly 256 tokens")


def test_a_small_source_that_was_cut_is_not_hidden_by_a_large_one_that_was_not():
    large = answers([f"A list, number {n}, of" for n in range(9)] + ["Whole."] * 491, [300] * 9 + [20] * 491)
    assert answers_are_whole(large).status is Status.PASSED
    texts = [f"This goes on, number {n}, until it" for n in range(8)] + ["Whole."] * 92
    small = [replace(one, row=f"b{one.row}", source="b") for one in answers(texts, [256] * 8 + [20] * 92)]
    verdict = answers_are_whole([*large, *small])
    assert verdict.status is Status.FAILED
    assert verdict.measured.startswith("8 answers of b (8%) have exactly 256 tokens")


def test_answers_that_were_cut_at_a_number_of_characters_fail():
    texts = [f"{n:03} says a few words"[:20] for n in range(30)] + ["Whole."] * 70
    verdict = answers_are_whole(answers(texts, [*range(70, 100)] + [20] * 70))
    assert verdict.status is Status.FAILED
    assert verdict.measured.startswith("30 answers of s (30%) have exactly 20 characters")


def test_answers_of_natural_lengths_pass():
    texts = [f"A sentence without an end{' of a few words' * n}" for n in range(100)]
    assert answers_are_whole(answers(texts, range(50, 150))).status is Status.PASSED


def test_labels_and_codes_of_one_length_are_not_cut():
    same_text = answers(["positive"] * 100, [2] * 100)
    whole = answers([f"Sentence {n} ends here." for n in range(100)], [128] * 100)
    assert answers_are_whole(same_text).status is answers_are_whole(whole).status is Status.PASSED
    assert answers_are_whole([]).status is Status.PASSED

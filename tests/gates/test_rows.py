"""Each gate on rows fires on the planted fault and is silent on clean rows."""

from __future__ import annotations

from tunewright.artifacts.verdict import Status
from tunewright.gates.rows import answers_end_with_end_of_turn, every_row_trains, groups_disjoint, rows_left


def test_rows_left_passes_with_rows_on_both_sides():
    verdict = rows_left(train=8, test=2, read=12, dropped=2)
    assert verdict.status is Status.PASSED
    assert verdict.measured == "train 8, test 2, dropped 2 of 12 (17%)"
    assert verdict.remedy == ""


def test_rows_left_fails_on_an_empty_side():
    assert rows_left(train=0, test=2, read=2, dropped=0).status is Status.FAILED
    assert rows_left(train=2, test=0, read=2, dropped=0).status is Status.FAILED
    assert rows_left(train=0, test=0, read=0, dropped=0).status is Status.FAILED


def test_rows_left_warns_when_more_than_half_are_dropped():
    assert rows_left(train=3, test=2, read=10, dropped=5).status is Status.PASSED
    verdict = rows_left(train=2, test=2, read=10, dropped=6)
    assert verdict.status is Status.WARNED
    assert "max_tokens" in verdict.remedy


def test_groups_disjoint_passes_on_a_clean_split():
    assert groups_disjoint({"a", "b"}, {"c"}).status is Status.PASSED


def test_groups_disjoint_fails_and_names_a_shared_group():
    verdict = groups_disjoint({"a", "b"}, {"b", "c"})
    assert verdict.status is Status.FAILED
    assert verdict.measured == "1 shared groups: b"


def test_end_of_turn_passes_when_every_row_ends_with_a_stop_token():
    assert answers_end_with_end_of_turn({"a": 2, "b": 7}, (2, 7)).status is Status.PASSED


def test_end_of_turn_fails_on_a_row_that_ends_otherwise_or_not_at_all():
    verdict = answers_end_with_end_of_turn({"a": 2, "b": 5, "c": None}, (2,))
    assert verdict.status is Status.FAILED
    assert verdict.measured == "2 of 3 rows do not: b, c"


def test_every_row_trains_passes_when_all_have_trained_tokens():
    assert every_row_trains({"a": 1, "b": 9}).status is Status.PASSED


def test_every_row_trains_fails_and_names_at_most_five_rows():
    verdict = every_row_trains({str(n): 0 for n in range(9)} | {"good": 3})
    assert verdict.status is Status.FAILED
    assert verdict.measured == "9 of 10 rows train nothing: 0, 1, 2, 3, 4, …"

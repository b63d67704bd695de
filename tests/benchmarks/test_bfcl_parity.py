"""Our BFCL verdict beside BFCL's own checker, on every Python row of its data."""

from __future__ import annotations

import sys

import pytest
from benchmarks.bfcl_answers import GOLD
from benchmarks.bfcl_parity import MADE_UP, compare


@pytest.fixture(scope="module")
def tallies():
    return compare(draws=1)


def test_verdict_and_error_type_are_those_of_bfcls_own_checker(tallies):
    assert tallies[GOLD].answers == 2351
    assert len(tallies) == 12
    assert all(tally.answers > 2300 for tally in tallies.values())
    assert {kind: tally.different for kind, tally in tallies.items() if tally.different} == {}
    assert sum(tally.crashed for kind, tally in tallies.items() if kind != MADE_UP) == 0
    assert tallies[MADE_UP].crashed < tallies[MADE_UP].answers / 20
    assert tallies[MADE_UP].passed > tallies[MADE_UP].answers / 4


def test_the_comparison_sees_right_answers_and_most_ways_to_be_wrong(tallies):
    assert tallies[GOLD].passed == 2347
    kinds = {error for tally in tallies.values() for error in tally.error_types}
    for error in ("missing_required", "wrong_count", "wrong_func_name", "unexpected_param", "missing_optional"):
        assert f"simple_function_checker:{error}" in kinds
    for error in ("simple", "nested"):
        assert f"type_error:{error}" in kinds
    for error in ("string", "list/tuple", "dict_key", "dict_value", "list_dict_count", "others"):
        assert f"value_error:{error}" in kinds
    assert "parallel_function_checker_no_order:cannot_find_match" in kinds


def test_the_oracle_leaves_nothing_of_the_package_behind(tallies):
    assert not [name for name in sys.modules if name.partition(".")[0] == "bfcl_eval"]

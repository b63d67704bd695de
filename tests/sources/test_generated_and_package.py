"""Rows that a function makes, and rows that an installed package carries."""

from __future__ import annotations

import sys

import pytest

from tunewright.errors import DataError, EnvironmentProblem, UserError
from tunewright.recipe.data_sections import GeneratedSource, PackageSource
from tunewright.sources.read import read_source, source_identity, source_name

FUNCTIONS = """\
import itertools

def sums(seed, most=9):
    for number in itertools.count(seed):
        yield {"prompt": f"What is {number} + {number}?", "completion": str(2 * number % most)}

def pairs(seed):
    return [("a", "b")]

def breaks(seed):
    yield {"prompt": "Hi", "completion": "Hello"}
    raise KeyError("no more")

def nothing(seed):
    return []
"""


@pytest.fixture
def module(tmp_path):
    (tmp_path / "made_up_rows.py").write_text(FUNCTIONS)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path / "made_up_rows.py"
    sys.path.remove(str(tmp_path))
    sys.modules.pop("made_up_rows", None)


def generated(function: str, **fields: object) -> GeneratedSource:
    return GeneratedSource(type="generated", function=function, **{"rows": 5, **fields})


def test_a_function_gives_rows_by_its_seed_and_options_and_may_go_on_for_ever(module):
    source = generated("made_up_rows:sums", seed=3, options={"most": 7})
    rows = list(read_source(source))
    assert [row.id for row in rows] == [f"sums-3-{number}" for number in range(1, 6)]
    assert rows[0].messages[0]["content"] == "What is 3 + 3?"
    assert rows[4].answer["content"] == str(14 % 7)
    assert {row.source for row in rows} == {source_name(source)}
    assert rows == list(read_source(source))


def test_its_identity_is_the_file_that_holds_it(module):
    source = generated("made_up_rows:sums")
    first = source_identity(source)
    module.write_text(FUNCTIONS + "\n# changed\n")
    assert source_identity(source) != first


def test_what_is_wrong_with_a_function_is_told(module):
    with pytest.raises(UserError, match="nothing_there"):
        list(read_source(generated("made_up_rows:nothing_there")))
    with pytest.raises(DataError, match=r"unexpected keyword argument 'least'"):
        list(read_source(generated("made_up_rows:sums", options={"least": 1})))
    with pytest.raises(DataError, match=r"pairs row 1: it gave a tuple"):
        list(read_source(generated("made_up_rows:pairs")))
    with pytest.raises(DataError, match=r"KeyError: 'no more'"):
        list(read_source(generated("made_up_rows:breaks")))
    with pytest.raises(DataError, match="it gave no record"):
        list(read_source(generated("made_up_rows:nothing")))


def test_puzzles_of_reasoning_gym_are_the_built_in_ones():
    pytest.importorskip("reasoning_gym")
    source = generated("reasoning-gym", options={"tasks": ["chain_sum", "leg_counting"]}, rows=6, seed=4)
    rows = list(read_source(source))
    assert len(rows) == len({row.id for row in rows}) == 6
    assert {row.source for row in rows} == {"chain_sum", "leg_counting"}
    assert all(row.answer["content"].startswith("<answer>") for row in rows)
    assert rows == list(read_source(source))
    assert source_identity(source).startswith("reasoning-gym==")
    with pytest.raises(UserError, match="beside `options`"):
        list(read_source(generated("reasoning-gym", options={"tasks": ["chain_sum"], "rows": 3})))
    with pytest.raises(UserError, match="chain_smu"):
        list(read_source(generated("reasoning-gym", options={"tasks": ["chain_smu"]})))


def test_a_package_is_read_and_never_imported():
    pytest.importorskip("importlib.metadata")
    file = "bfcl_eval/data/BFCL_v4_simple_python.json"
    source = PackageSource(type="package", package="bfcl-eval", file=file, columns={"prompt": "id", "completion": "id"})
    row = next(iter(read_source(source)))
    assert row.source == f"bfcl-eval/{file}"
    assert row.id == "BFCL_v4_simple_python-1"
    assert len(source_identity(source)) == 64
    assert "bfcl_eval" not in sys.modules


def test_a_package_or_file_that_is_not_there_is_told():
    with pytest.raises(EnvironmentProblem, match="the package no-such-package is not installed"):
        list(read_source(PackageSource(type="package", package="no-such-package", file="a.jsonl")))
    with pytest.raises(DataError, match=r"carries no file 'pydantic/main\.yp'"):
        list(read_source(PackageSource(type="package", package="pydantic", file="pydantic/main.yp")))

"""A function of the user's decides, and what goes wrong in it is told with its row."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.sources.filters.rows import row

from tunewright.errors import DataError, UserError
from tunewright.recipe.data_sections import CustomFilter
from tunewright.sources.filters.build import build_check
from tunewright.sources.filters.protocol import Removed

# What a user would write; found as `module:name` like any module.
HERE = __name__


def long_enough(row):
    return len(row["messages"][-1]["content"]) > 3


def why(row):
    return "too loud" if row["messages"][-1]["content"].isupper() else None


def shout(row):
    row["messages"][-1]["content"] += "!"
    return row


def fails(row):
    return row["nothing"]


def gives_a_number(row):
    return 3


def gives_no_number(row):
    return {**row, "meta": {"score": float("nan")}}


def breaks_the_row(row):
    return {**row, "messages": []}


@pytest.fixture(autouse=True)
def importable():
    sys.modules.setdefault("own_filters_for_tests", sys.modules[__name__])


def check(name: str):
    return build_check(CustomFilter(type="custom", function=f"own_filters_for_tests:{name}"))


def test_true_keeps_false_removes_and_a_text_is_the_reason():
    short, loud = row("no"), row("LOUD")
    assert check("long_enough")(loud) is loud
    assert check("long_enough")(short) == Removed(short, "own_filters_for_tests:long_enough")
    assert check("why")(loud) == Removed(loud, "too loud")
    assert check("why")(short) is short


def test_a_row_that_comes_back_takes_the_place_of_the_old_one_which_is_not_touched():
    before = row("Hello")
    assert check("shout")(before).answer["content"] == "Hello!"
    assert before.answer["content"] == "Hello"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fails", "KeyError: 'nothing'"),
        ("gives_a_number", "it gave a int"),
        ("breaks_the_row", "an empty conversation"),
        ("gives_no_number", "JSON cannot hold its row"),
    ],
)
def test_a_function_that_fails_is_told_with_the_row(name, told):
    with pytest.raises(DataError, match=rf"{name}, row r: {told}"):
        check(name)(row("Hello"))


def test_a_function_that_is_not_there_is_told_before_any_row():
    for spec in ("no_such_module:f", "json:nothing", "json:__doc__"):
        with pytest.raises(UserError):
            build_check(CustomFilter(type="custom", function=spec))


def test_a_module_in_the_current_folder_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("def keep(row):\n    return False\n")
    code = (
        "from tunewright.recipe.data_sections import CustomFilter\n"
        "from tunewright.sources.filters.build import build_check\n"
        "build_check(CustomFilter(type='custom', function='mine:keep'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=600)

"""Rows from the Berkeley Function-Calling data, as the installed package has them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections import Counter
from importlib import metadata
from pathlib import Path

import pytest

import tunewright
from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.messages import check_messages
from tunewright.recipe.sections import BfclSource
from tunewright.sources.bfcl import NO_CALL_ANSWER, NoAcceptableValueError, first_acceptable, json_schema, read_bfcl
from tunewright.sources.dropped import Dropped
from tunewright.sources.read import read_source, source_identity, source_name

CATEGORIES = ("simple_python", "live_simple", "multiple")


@pytest.fixture(scope="module")
def rows() -> list[ChatRow | Dropped]:
    return list(read_bfcl(CATEGORIES))


def test_every_row_of_the_three_categories_is_read_and_two_have_no_right_call(rows):
    dropped = [row for row in rows if isinstance(row, Dropped)]
    assert len(rows) == 858
    assert {row.id for row in dropped} == {"live_simple_106-63-0", "live_simple_112-68-0"}
    assert {row.reason for row in dropped} == {"no acceptable value"}
    assert Counter(row.meta["category"] for row in rows if isinstance(row, ChatRow)) == {
        "simple_python": 400,
        "live_simple": 256,
        "multiple": 200,
    }


def test_a_row_has_its_tools_its_question_and_the_first_acceptable_call(rows):
    row = rows[0]
    assert row.id == "simple_python_0"
    assert row.prompt == [
        {"role": "user", "content": "Find the area of a triangle with a base of 10 units and height of 5 units."}
    ]
    function = {"name": "calculate_triangle_area", "arguments": {"base": 10, "height": 5, "unit": "units"}}
    assert row.answer == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"type": "function", "function": function}],
    }
    assert row.group == "calculate_triangle_area"
    assert row.source == "bfcl"
    assert row.tools[0]["function"]["parameters"]["type"] == "object"
    assert row.meta["possible_answer"]["calculate_triangle_area"]["unit"] == ["units", ""]


@pytest.mark.parametrize(
    ("category", "num_rows"),
    [("parallel", 200), ("parallel_multiple", 200), ("live_multiple", 1053), ("live_parallel", 16),
     ("live_parallel_multiple", 24), ("irrelevance", 240), ("live_irrelevance", 884)],
)  # fmt: skip
def test_every_row_of_the_other_categories_is_a_conversation_with_tools(category, num_rows):
    found = list(read_bfcl([category]))
    rows = [row for row in found if isinstance(row, ChatRow)]
    assert len(found) == num_rows == len({row.id for row in found})
    assert len(rows) == num_rows - (4 if category == "live_irrelevance" else 0)  # four offer no function
    for row in rows:
        check_messages(row.messages, where=row.id)
        assert row.tools
        assert row.group
        assert row.meta["category"] == category


def test_a_row_in_parallel_wants_several_calls_and_keeps_what_is_acceptable_for_each():
    row = next(iter(read_bfcl(["parallel"])))
    functions = [call["function"] for call in row.answer["tool_calls"]]
    assert functions == [
        {"name": "spotify.play", "arguments": {"artist": "Taylor Swift", "duration": 20}},
        {"name": "spotify.play", "arguments": {"artist": "Maroon 5", "duration": 15}},
    ]
    assert row.group == "spotify.play"
    assert [list(answer) for answer in row.meta["possible_answer"]] == [["spotify.play"], ["spotify.play"]]


def test_a_row_of_irrelevance_wants_words_and_no_call():
    row = next(iter(read_bfcl(["irrelevance"])))
    assert row.answer == {"role": "assistant", "content": NO_CALL_ANSWER}
    assert row.group == row.tools[0]["function"]["name"] == "determine_body_mass_index"
    assert row.meta == {"category": "irrelevance"}


def test_no_python_type_name_is_left_in_a_schema_and_every_required_argument_is_known(rows):
    def walk(schema):
        assert schema.get("type") not in ("dict", "float", "tuple", "any")
        for inner in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
            walk(inner)

    for row in rows:
        if isinstance(row, ChatRow):
            for tool in row.tools:
                walk(tool["function"]["parameters"])
            called = row.answer["tool_calls"][0]["function"]
            offered = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row.tools}
            assert set(called["arguments"]) <= set(offered[called["name"]]["properties"])


def test_types_become_json_schema_at_every_depth_and_only_in_schemas():
    schema = {
        "type": "dict",
        "properties": {
            "type": {"type": "any", "description": "a property called type"},
            "point": {"type": "tuple", "items": {"type": "float"}},
            "inner": {"type": "dict", "properties": {"x": {"type": "float", "default": {"type": "dict"}}}},
        },
        "required": ["type"],
    }
    assert json_schema(schema) == {
        "type": "object",
        "properties": {
            "type": {"description": "a property called type"},
            "point": {"type": "array", "items": {"type": "number"}},
            "inner": {"type": "object", "properties": {"x": {"type": "number", "default": {"type": "dict"}}}},
        },
        "required": ["type"],
    }


def test_the_first_acceptable_value_is_taken_at_every_depth():
    acceptable = {
        "plain": ["a", "b"],
        "optional": ["", 7],
        "later": [7, ""],
        "zero": [0],
        "no": [False],
        "list": [["x", "y"], ["y"]],
        "dict": [{"inner": ["i", "j"], "gone": ["", 1], "deep": [{"d": [1.5]}]}],
        "records": [[{"field": ["age"]}, {"field": ["job"]}]],
    }
    assert first_acceptable(acceptable) == {
        "plain": "a",
        "later": 7,
        "zero": 0,
        "no": False,
        "list": ["x", "y"],
        "dict": {"inner": "i", "deep": {"d": 1.5}},
        "records": [{"field": "age"}, {"field": "job"}],
    }


@pytest.mark.parametrize("acceptable", [{"a": []}, {"a": [{"b": []}]}, {"a": [[{"b": []}]]}])
def test_an_empty_list_of_acceptable_values_has_no_right_call(acceptable):
    with pytest.raises(NoAcceptableValueError):
        first_acceptable(acceptable)


def test_the_package_is_read_without_being_imported(rows):
    assert rows
    assert "bfcl_eval" not in sys.modules


def test_the_identity_is_the_version_of_the_package():
    source = BfclSource(type="bfcl")
    assert source_identity(source) == f"bfcl-eval=={metadata.version('bfcl-eval')}"
    assert source_name(source) == "bfcl"
    assert next(iter(read_source(source))).source == "bfcl"


def everything_but(package: str, folder: Path) -> Path:
    """Make a folder with all that is installed but one package: the path of a Python that lacks it."""
    folder.mkdir()
    for place in map(Path, {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        for entry in place.iterdir():
            if not entry.name.startswith(package):
                (folder / entry.name).symlink_to(entry)
    return folder


def test_a_missing_package_says_how_to_install_it(tmp_path):
    code = (
        "from tunewright.errors import EnvironmentProblem; from tunewright.sources.bfcl import read_bfcl\n"
        "try: next(read_bfcl(['multiple']))\n"
        "except EnvironmentProblem as error: print(error)"
    )
    source = Path(tunewright.__file__).parents[1]
    path = os.pathsep.join(map(str, (source, everything_but("bfcl_eval", tmp_path / "packages"))))
    command = [sys.executable, "-S", "-c", code]  # -S: only what stands in the path is installed
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.startswith("the package bfcl-eval is not installed")
    assert "pip install --no-deps bfcl-eval==2026.3.23" in done.stdout

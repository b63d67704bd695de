"""What a suite is known by: every file and every module that has a say in its scores."""

import json
import sys

import pytest

from tunewright.errors import UserError
from tunewright.suites.identity import suite_identity

CALLABLE = {"type": "callable", "target": "own_score:score"}
PATTERN = {"type": "regex", "pattern": "."}
MULTI = {"type": "multi", "graders": {"own": CALLABLE, "other": PATTERN}, "calculate_output": "own"}
SUITE = """
suite: facts
scorers:
  mine: {grader: "own_score:score"}
  filed: {grader: grader.json}
  other: {suite: "own_score:suite"}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_score.py").write_text("def score(answer, row):\n    return 0\n")
    return tmp_path / "own_score.py"


def mended(own, identity):
    """Whether an edit of the module makes another identity; the module is not imported for it."""
    before = identity()
    own.write_text("import torch_is_not_imported_either\n\ndef score(answer, row):\n    return 1\n")
    after = identity()
    assert "own_score" not in sys.modules
    assert before.keys() == after.keys()
    return before != after


@pytest.mark.parametrize(
    "grader", ["own_score:score", CALLABLE, MULTI, {"grader": CALLABLE}], ids=["name", "object", "multi", "wrapped"]
)
def test_the_module_of_a_python_grader_is_part_of_the_identity(own, grader):
    assert mended(own, lambda: suite_identity("sample", {"grader": grader}))


@pytest.mark.parametrize("name", ["grader.json", "grader.yaml"])
def test_a_graders_file_is_looked_into(own, name):
    (own.parent / name).write_text(json.dumps(MULTI, indent="\t" if name.endswith("json") else 1))
    assert mended(own, lambda: suite_identity("sample", {"grader": name}))


def test_a_suites_file_counts_with_the_modules_that_score_in_it(own):
    (own.parent / "facts.yaml").write_text(SUITE)
    (own.parent / "grader.json").write_text(json.dumps(CALLABLE))
    assert set(suite_identity("facts.yaml")) == {
        "suite", "suite.grader.json", "suite.own_score:score", "suite.own_score:suite",
    }  # fmt: skip
    assert mended(own, lambda: suite_identity("facts.yaml"))


def test_what_cannot_be_found_or_read_is_left_to_the_stage_that_loads_it(own):
    (own.parent / "grader.json").write_text('{"type": "callable", ')
    assert suite_identity("sample", {"grader": "no_such_module:score"}) == {}
    assert set(suite_identity("sample", {"grader": "grader.json"})) == {"suite.grader.json"}
    own.write_text("1 / 0\n")
    (own.parent / "package").mkdir()
    (own.parent / "package" / "__init__.py").write_text("1 / 0\n")
    assert suite_identity("sample", {"grader": "package.inner:score"}) == {}


def test_a_file_that_names_itself_as_its_grader_ends(own):
    (own.parent / "grader.yaml").write_text("grader: grader.yaml\n")
    assert set(suite_identity("sample", {"grader": "grader.yaml"})) == {"suite.grader.yaml"}


def test_a_text_that_only_looks_like_a_module_is_none(own):
    assert suite_identity("sample", {"prompt": "own_score:score", "grader": "two own_score:score"}) == {}


def test_a_suite_that_is_no_module_is_told(own):
    with pytest.raises(UserError, match="there is no module 'no_such_module'"):
        suite_identity("no_such_module:suite")

"""What goes wrong in a module of the user's own is told with its line, wherever such a module is named."""

import sys

import pytest

from tunewright.cli.main import main
from tunewright.errors import UserError
from tunewright.graders.protocol import load_grader
from tunewright.sources.filters.custom import load_function
from tunewright.suites.identity import suite_identity
from tunewright.suites.protocol import find_suite

DOORS = {"filter": load_function, "suite": find_suite, "grader": load_grader}
BROKEN = {
    "SyntaxError: ": "x = 1\ndef f(:\n",
    "ZeroDivisionError: division by zero": "x = 1\n1 / 0\n",
    "JSONDecodeError: Expecting value": "import json\njson.loads('')\n",
    "ImportError: cannot import name 'no_such_name'": "x = 1\nfrom json import no_such_name\n",
    "SystemExit: usage: mine": "import sys\nsys.exit('usage: mine')\n",
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes the module `broken_of_mine` into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield lambda text: (tmp_path / "broken_of_mine.py").write_text(text)
    sys.modules.pop("broken_of_mine", None)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("told", BROKEN)
def test_a_module_that_fails_as_it_is_imported_is_told_with_the_line_and_the_kind(own, door, told):
    own(BROKEN[told])
    with pytest.raises(UserError) as caught:
        DOORS[door]("broken_of_mine:f")
    assert "broken_of_mine.py:2: " + told in str(caught.value)


@pytest.mark.parametrize("door", DOORS)
def test_a_module_that_needs_another_which_is_not_there_is_told_apart(own, door):
    own("import no_such_library\n")
    with pytest.raises(UserError, match="'broken_of_mine' needs 'no_such_library', which is not there"):
        DOORS[door]("broken_of_mine:f")
    with pytest.raises(UserError, match="there is no module 'no_such_module' here or installed"):
        DOORS[door]("no_such_module:f")


@pytest.mark.parametrize("door", ["filter", "suite"])
@pytest.mark.parametrize("name", [".x:y", "..:y", ":y"])
def test_a_relative_name_is_told(own, door, name):
    with pytest.raises(UserError, match="is no full name of a module"):
        DOORS[door](name)


def test_a_package_that_fails_around_a_suites_module_is_told(own, tmp_path):
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("1 / 0\n")
    with pytest.raises(UserError, match=r"__init__\.py:1: ZeroDivisionError"):
        suite_identity("package_of_mine.inner:suite")


def test_a_function_that_fails_to_make_its_suite_is_told(own):
    own("def f():\n    return {}['no such key']\n")
    with pytest.raises(UserError, match="broken_of_mine:f: KeyError: 'no such key'"):
        find_suite("broken_of_mine:f")


def test_ctrl_c_during_an_import_stays_what_it_is(own):
    own("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_function("broken_of_mine:f")


def test_the_command_line_tells_it_without_a_traceback(own, tmp_path, capsys):
    own("def f(:\n")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Hi", "completion": "Hello"}\n')
    assert main(["grade", "dry-run", "broken_of_mine:f", "rows.jsonl", "--answers", "rows.jsonl"]) == 2
    said = capsys.readouterr().err
    assert "broken_of_mine.py:1: SyntaxError" in said and "Traceback" not in said

"""Python 2 is told from Python 3, and both from what does not parse."""

from __future__ import annotations

import time

import pytest
from tests.sources.filters.rows import code, row

from tunewright.recipe.data_sections import PythonVersionFilter
from tunewright.sources.filters.build import build_filter
from tunewright.sources.filters.protocol import Removed, kept_and_removed
from tunewright.sources.filters.python_version import python_blocks, python_version

TWO = (
    'print "hello"',
    "print x, y",
    "print >>sys.stderr, 'no'",
    "try:\n    f()\nexcept ValueError, error:\n    pass",
    'raise ValueError, "no"',
    'exec "x = 1" in scope',
    "if a <> b:\n    pass",
    "mode = 0777",
    "big = 10L",
    "for i in xrange(10):\n    print(i)",
    "name = raw_input()",
    "if d.has_key('a'):\n    pass",
    "for k, v in d.iteritems():\n    print(k)",
    "import urllib2\nurllib2.urlopen(u)",
    "class A:\n    def __str__(self):\n        return unicode(self.x)",
)
THREE = (
    "print('hello')",
    "def f(x: int) -> str:\n    return f'{x=}'",
    "match x:\n    case [1, *rest]:\n        pass",
    "print (x)",
    "import re\nprint(0o777)",
    "def unicode(x):\n    return x\nunicode(1)",
    "try:\n    import urllib2\nexcept ImportError:\n    import urllib.request as urllib2",
    ">>> 1 + 1\n2\n>>> print('x')\nx",
    "!pip install numpy\nimport numpy as np\n%time x = 1",
    "    x = 1\n    y = 2",
    "reload = 3\nprint(reload)",
    "async def f():\n    return [x async for x in y]",
)
BROKEN = ("def f(:\n    pass", "if x\n    y", "x = = 1", "this is some prose")


@pytest.mark.parametrize("source", TWO)
def test_python_2_is_known_by_a_statement_or_a_name_that_is_gone(source):
    assert python_version(source) == "2"


@pytest.mark.parametrize("source", THREE)
def test_python_3_is_what_this_interpreter_parses(source):
    assert python_version(source) == "3"


@pytest.mark.parametrize("source", BROKEN)
def test_what_is_of_neither_version_is_broken(source):
    assert python_version(source) == "broken"


def test_rows_of_the_other_version_go_with_their_code_and_rows_without_code_stay():
    rows = [code(TWO[0]), code(THREE[0]), row("No code here."), code(TWO[0], "bash"), code(BROKEN[0])]
    kept, removed = kept_and_removed(build_filter(PythonVersionFilter(type="python_version")), rows)
    assert kept == [rows[1], rows[2], rows[3]]
    assert [(item.reason, item.detail) for item in removed] == [
        ("Python 2", 'print "hello"'),
        ("Python that does not parse", "def f(: pass"),
    ]
    two = PythonVersionFilter(type="python_version", keep="2", broken="keep")
    assert kept_and_removed(build_filter(two), rows)[1] == [Removed(rows[1], "Python 3", "print('hello')")]


def test_a_fence_inside_a_longer_fence_is_text():
    nested = row("````markdown\n```python\nprint 1\n```\n````\n```python\nprint(1)\n```")
    assert list(python_blocks(nested)) == ["print(1)"]


def test_code_made_to_hang_or_crash_the_parser_is_judged_at_once():
    started = time.process_time()
    for source in (
        "(" * 50_000,
        "[" * 3_000 + "]" * 3_000,
        "x" + ".a" * 30_000,
        "\0",
        "-" * 50_000 + "1",
        "print " * 20_000,
    ):
        assert python_version(source) in ("2", "3", "broken")
    assert time.process_time() - started < 20

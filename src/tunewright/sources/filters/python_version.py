"""Which Python an answer teaches: its fenced code is parsed; what does not parse is looked at for marks of Python 2.

Python 3 code parses with this interpreter's own parser. Python 2 is code that does not parse and holds a statement that
only Python 2 has (`print "x"`, `except E, e:`), or that parses and uses names that are gone (`xrange`, `urllib2`).
The library that once parsed both, lib2to3, is gone from Python 3.13.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import Final, Literal

from tunewright.artifacts.dataset import ChatRow
from tunewright.recipe.data_sections import PythonVersionFilter
from tunewright.sources.filters.protocol import Check, Removed, excerpt
from tunewright.sources.text import content_of

Version = Literal["3", "2", "broken"]
MAX_CODE_CHARS: Final = 100_000
"""A block of more is not parsed: it is data, and the parser is slow on it."""

_TAGS: Final = {"python", "py", "python3", "python2", "py3", "py2"}
_FENCE: Final = re.compile(r"^[ \t]{0,12}(`{3,8}|~{3,8})[ \t]*([\w+.#-]{0,30})[^\n]*$", re.MULTILINE)

# Statements that Python 2 has and Python 3 refuses. Each pattern looks at the first words of a line.
_ONLY_2: Final = re.compile(
    r"""^[ \t]*(?:
        print[ \t]+(?![=(.,:\[]|in\b|is\b|and\b|or\b|if\b|not[ \t]+in\b)[^\n]
      | print[ \t]*>>
      | except[ \t]+[\w.()]{1,80}[ \t]*,[ \t]*\w{1,80}[ \t]*:
      | raise[ \t]+[\w.]{1,80}[ \t]*,
      | exec[ \t]+["'\w]
    )""",
    re.MULTILINE | re.VERBOSE,
)
_ONLY_2_INSIDE: Final = re.compile(r"<>|(?<![\w.])0[0-7]{1,12}\b(?!\.)|\bur['\"]|(?<![\w.])\d{1,20}L\b")
_GONE_NAMES: Final = frozenset(
    {"xrange", "raw_input", "unicode", "basestring", "unichr", "execfile", "long", "cmp", "reload"}
)
_GONE_METHODS: Final = frozenset({"has_key", "iteritems", "iterkeys", "itervalues"})
_GONE_MODULES: Final = frozenset(
    {"urllib2", "urlparse", "ConfigParser", "Queue", "cPickle", "StringIO", "cStringIO", "Tkinter", "httplib"}
)


def python_version_check(section: PythonVersionFilter) -> Check:
    """Return the check: rows without Python code stay; one block of the other version takes the row."""

    def check(row: ChatRow) -> ChatRow | Removed:
        for code in python_blocks(row):
            version = python_version(code)
            if version == "broken":
                if section.broken == "remove":
                    return Removed(row, "Python that does not parse", excerpt(code))
            elif version != section.keep:
                return Removed(row, f"Python {version}", excerpt(code))
        return row

    return check


def python_blocks(row: ChatRow) -> Iterator[str]:
    """Yield the fenced blocks of the answers that say they are Python."""
    for message in row.messages:
        if message["role"] == "assistant":
            yield from _fenced(content_of(message))


def _fenced(text: str) -> Iterator[str]:
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence.group(1).startswith(opening.group(1)) and not fence.group(2):
            if opening.group(2).lower() in _TAGS:
                yield text[opening.end() : fence.start()].strip("\n")
            opening = None


def python_version(code: str) -> Version:
    """Return the version of Python that a piece of code is of; a block of doctests counts as its statements."""
    source = _statements(textwrap.dedent(code))
    if len(source) > MAX_CODE_CHARS:
        return "3"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes: they are the data's
            tree = ast.parse(source)
    except (
        SyntaxError,
        ValueError,
        MemoryError,
        RecursionError,
    ):  # MemoryError is the parser's word for nested too deep
        return "2" if _ONLY_2.search(source) or _ONLY_2_INSIDE.search(source) else "broken"
    return "2" if _uses_what_is_gone(tree) else "3"


def _statements(code: str) -> str:
    """Return code without what is no Python around it: doctest prompts, and IPython's `!pip` and `%magic` lines."""
    lines = code.splitlines()
    if any(line.lstrip().startswith(">>>") for line in lines):
        prompts = (line.strip() for line in lines)
        lines = [line[4:] for line in prompts if line.startswith((">>> ", "... "))]
    return "\n".join(line for line in lines if not line.lstrip().startswith(("!", "%"))) + "\n"


def _uses_what_is_gone(tree: ast.AST) -> bool:
    used: set[str] = set()
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
            if _imports_what_is_gone(node) and not _is_tried(tree, node):
                return True
        elif _prints_to_file(node) or _calls_what_is_gone(node):
            return True
    return bool((used & _GONE_NAMES) - bound)


def _imports_what_is_gone(node: ast.Import | ast.ImportFrom) -> bool:
    names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else {node.module}
    return bool(names & _GONE_MODULES)


def _calls_what_is_gone(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _GONE_METHODS


def _prints_to_file(node: ast.AST) -> bool:
    """True for `print >>file, x`, which parses as a tuple and fails when it runs."""
    shift = isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift)
    return shift and isinstance(node.left, ast.Name) and node.left.id == "print"  # type: ignore[attr-defined]  # a BinOp


def _is_tried(tree: ast.AST, node: ast.stmt) -> bool:
    """True for an import inside `try:`: code for both versions."""
    return any(node in ast.walk(attempt) for attempt in ast.walk(tree) if isinstance(attempt, ast.Try))

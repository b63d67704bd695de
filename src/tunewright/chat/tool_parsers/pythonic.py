"""Calls as Python: `[f(a=1), g()]`, as Llama 3.2 and ToolACE write it; Llama 4 and LFM2 put the list between two tags.

The list is cut at its own commas, and each piece is parsed to a syntax tree of which only a call with literal keyword
arguments is read: nothing is evaluated. A tuple becomes a list, and names are
normalised as Python does (NFKC). Without a tag only its place marks a list of calls: it
opens the answer and begins like a call; other text, and `[]`, are no attempt at one.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

from tunewright.chat.tool_parsers.parsed import (
    MAX_CALL_CHARS,
    MAX_DEPTH,
    Collector,
    ParsedAnswer,
    ToolCall,
    Tools,
    as_call,
    skip_space,
)

_OPEN = re.compile(r"<\|python_start\|>|<\|tool_call_start\|>")
_CLOSE = ("<|python_end|>", "<|tool_call_end|>")
_TAG = re.compile(r"<\|(?:python|tool_call)_(?:start|end)\|>")
_LIST = re.compile(r"\s*(\[)\s*[^\W\d][\w.]*\s*\(")
_TOKEN = re.compile(r"""'(?:[^'\\\n]|\\.)*+'|"(?:[^"\\\n]|\\.)*+"|[\[\](){},'"]""", re.DOTALL)


class _NotALiteralError(ValueError):
    """The syntax tree holds more than a literal."""


def parse(text: str, tools: Tools = ()) -> ParsedAnswer:
    """Read the tool calls in `text`, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes like \d, which are taken as they stand
        return _parse(text)


def _parse(text: str) -> ParsedAnswer:
    found = Collector()
    opening = _LIST.match(text)
    at = _list(text, opening.end(1), found) if opening else 0
    while tag := _OPEN.search(text, at):
        found.stray(text[at : tag.start()])
        opening = _LIST.match(text, tag.end())
        at = _list(text, opening.end(1), found) if opening else _no_list(text, tag, found)
    found.stray(text[at:])
    return found.answer()


def _list(text: str, begin: int, found: Collector) -> int:
    """Take the elements of the list that was opened before `begin`; return where it ends, with its closing tag."""
    end = begin
    for left, end, is_whole in _pieces(text, begin):
        raw = text[left:end].strip()
        if raw or text[end : end + 1] != "]":  # Python allows a comma before the closing bracket
            found.region(raw or text[left - 1 : end], _call(raw) if is_whole else None)
    end = skip_space(text, end + 1)
    return end + next((len(tag) for tag in _CLOSE if text.startswith(tag, end)), 0)


def _no_list(text: str, tag: re.Match[str], found: Collector) -> int:
    end = next_tag.start() if (next_tag := _TAG.search(text, tag.end())) else len(text)
    found.region(text[tag.start() : end], None)
    return end


def _pieces(text: str, begin: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (begin, end, is whole) of the elements of the list that was opened before `begin`."""
    depth = 0
    for token in _TOKEN.finditer(text, begin):
        mark = token[0]
        if mark in ("'", '"'):  # a string that never ends: nothing behind it can be told apart
            break
        if mark in "([{":
            depth += 1
        elif depth and mark in ")]}":
            depth -= 1
        elif depth == 0 and mark in ",]":
            yield begin, token.start(), True
            begin = token.end()
            if mark == "]":
                return
    yield begin, len(text), False


def _call(source: str) -> ToolCall | None:
    """Return the call that `source` writes, or None."""
    if not source or len(source) > MAX_CALL_CHARS or _nesting(source) > MAX_DEPTH:
        return None
    try:
        return _read_call(ast.parse(source, mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):  # MemoryError: the parser's word for too deep
        return None


def _nesting(source: str) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(source):
        depth += (token[0] in "([{") - (token[0] in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _read_call(tree: ast.expr) -> ToolCall | None:
    if not isinstance(tree, ast.Call) or tree.args:
        return None
    keys = [keyword.arg for keyword in tree.keywords]
    if None in keys or len(set(keys)) != len(keys):  # None is `**other`
        return None
    return as_call(_dotted(tree.func), {str(word.arg): _literal(word.value) for word in tree.keywords})


def _dotted(tree: ast.expr) -> str:
    names: list[str] = []
    while isinstance(tree, ast.Attribute):
        names.append(tree.attr)
        tree = tree.value
    if not isinstance(tree, ast.Name):
        raise _NotALiteralError
    return ".".join([tree.id, *reversed(names)])


def _literal(tree: ast.expr) -> Any:
    """Return the JSON value of a literal.

    Raises:
        _NotALiteralError: it is more than that, or what JSON cannot hold.
    """
    match tree:
        case ast.Constant(value=None | bool() | str() | int() as value):
            return value
        case ast.Constant(value=float() as value) if math.isfinite(value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)) if not isinstance(
            value, bool
        ) and math.isfinite(value):
            return -value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_literal(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return _dictionary(keys, values)
    raise _NotALiteralError


def _dictionary(keys: list[ast.expr | None], values: list[ast.expr]) -> dict[str, Any]:
    names = [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]
    if len(set(names)) != len(keys):  # `**other`, a key that is no text, or one that stands twice
        raise _NotALiteralError
    return dict(zip(names, map(_literal, values), strict=True))

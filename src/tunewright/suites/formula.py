"""Is a text a plain literal, or a plain formula? Asked before anything that evaluates text may see it.

A formula has numbers, names of one letter, the usual functions, + - * / ** ^ ( ) and commas. No attribute, no text, no
bracket, no underscore, so nothing in it can reach further than arithmetic; and its powers are bounded, so that it ends.
"""

from __future__ import annotations

import ast
import re
from typing import Final

MAX_CHARS: Final = 2_000
MAX_DIGITS: Final = 20
MAX_POWER: Final = 100  # of an exponent, and of those of brackets multiplied: 9 ** 9 ** 9 has 370 million digits
FUNCTIONS: Final = {
    "sin", "cos", "tan", "sec", "csc", "cot", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "exp", "log", "ln", "sqrt", "Abs", "abs", "pi",
}  # fmt: skip
_TOKEN: Final = re.compile(r"\s*(?:((?:\d+(?:\.\d*)?|\.\d+)(?![\w.]))|([A-Za-z]+)|(\*\*|[-+*/^(),]))", re.ASCII)
# What may stand in a list of words or numbers, even where it is no Python: no call, no operator, no attribute.
_PLAIN: Final = re.compile(r"[\w\s,-]*")


def is_literal(text: str) -> bool:
    """True if `text` is a Python literal (numbers, text, lists), or words and numbers that are no Python at all."""
    if len(text) > MAX_CHARS:
        return False
    if _PLAIN.fullmatch(text):
        return True
    try:
        ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


def is_formula(text: str, names: bool = True) -> bool:
    """True if `text` is a plain formula with bounded powers; without `names`, of numbers alone."""
    tokens = _tokens(text)
    has_names = any(token.isalpha() for token in tokens)
    return bool(tokens) and (names or not has_names) and _powers_end(tokens)


def _tokens(text: str) -> list[str]:
    """Return the tokens of a formula, or nothing where it holds something else."""
    text = text.strip()
    found: list[str] = []
    place = 0
    while place < len(text) <= MAX_CHARS:
        match = _TOKEN.match(text, place)
        if match is None or not _is_known(match):
            return []
        found.append(match[0].strip())
        place = match.end()
    return found


def _is_known(match: re.Match[str]) -> bool:
    number, name, _ = match.groups()
    if number:
        return len(number) <= MAX_DIGITS
    return name is None or len(name) == 1 or name in FUNCTIONS


def _powers_end(tokens: list[str]) -> bool:
    """True if every exponent is a small number or one letter, in brackets or not, and no exponent has one itself."""
    of_brackets = 1.0  # brackets in brackets multiply their exponents
    for place, token in enumerate(tokens):
        if token in ("**", "^"):
            exponent, behind = _exponent(tokens, place + 1)
            if exponent is None or exponent > MAX_POWER or tokens[behind : behind + 1] in (["**"], ["^"]):
                return False
            of_brackets *= max(exponent, 1.0) if tokens[place - 1 : place] == [")"] else 1.0
    return of_brackets <= MAX_POWER


def _exponent(tokens: list[str], place: int) -> tuple[float | None, int]:
    """Return the size of the exponent that starts at `place`, and where it ends; None for what is no plain one."""
    if tokens[place : place + 1] == ["("]:
        end = place + 1
        while end < len(tokens) and tokens[end] not in ("(", ")", "**", "^"):
            end += 1
        inside = tokens[place + 1 : end]
        return (_size(inside), end + 1) if tokens[end : end + 1] == [")"] else (None, end)
    end = place + 2 if tokens[place : place + 1] in (["-"], ["+"]) else place + 1
    return _size(tokens[place:end]), end


def _size(tokens: list[str]) -> float | None:
    """Return a bound of what a few numbers and letters come to; None where there is a function, or nothing."""
    numbers = [float(token) for token in tokens if token[0].isdigit() or token[0] == "."]
    letters = [token for token in tokens if token.isalpha()]
    if any(len(letter) > 1 for letter in letters) or not (numbers or letters):
        return None
    product = 1.0
    for number in numbers:
        product *= max(number, 1.0)
    return max(product, sum(numbers))

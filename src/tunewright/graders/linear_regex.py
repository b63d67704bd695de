"""Regular expressions in linear time: does a pattern match, in at most len(text) * len(program) steps.

Python's `re` backtracks, and a model's answer can make an innocent pattern run for years. Here the pattern, parsed by
Python's own parser, becomes a small program that is run on all its threads at once (Thompson 1968; Cox, "Regular
Expression Matching: the Virtual Machine Approach", 2009). What such a machine cannot do is refused when the pattern is
read: back-references, look-around, possessive and atomic groups. Groups only group.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

MAX_PATTERN_CHARS = 2_000
MAX_PROGRAM = 2_000
MAX_STEPS = (
    20_000_000  # instructions, at some 10 million a second: two seconds at worst; typical texts take milliseconds
)
_MAX_CACHE = 4_096

Predicate = Callable[[str], bool]


class PatternError(ValueError):
    """A pattern that is no regular expression, or is one that cannot be matched in linear time."""


@dataclass
class _Program:
    """Instructions by number. One of: ("char", predicate), ("split", a, b), ("jump", a), ("at", test), ("match",)."""

    code: list[tuple[Any, ...]] = field(default_factory=list)

    def emit(self, *instruction: Any) -> int:
        if len(self.code) >= MAX_PROGRAM:
            raise PatternError(f"the pattern is too large once its repeats are written out (over {MAX_PROGRAM} steps)")
        self.code.append(instruction)
        return len(self.code) - 1


# What stands left and right of a position, as far as anchors care.
_NOTHING, _WORD, _NEWLINE, _LAST_NEWLINE, _OTHER = range(5)


class LinearRegex:
    """A compiled pattern. `search` asks for a match anywhere, `fullmatch` for one of the whole text.

    Args:
        pattern: in Python's syntax.
        flags: any of re.IGNORECASE, re.MULTILINE, re.DOTALL, re.VERBOSE.

    Raises:
        PatternError: see above.
    """

    def __init__(self, pattern: str, flags: int = 0):
        if len(pattern) > MAX_PATTERN_CHARS:
            raise PatternError(f"a pattern of {len(pattern)} characters; at most {MAX_PATTERN_CHARS}")
        try:
            tree: Any = _parser().parse(pattern, flags)
        except (re.error, OverflowError, RecursionError) as error:
            raise PatternError(f"no regular expression: {error}") from None
        program = _Program()
        _Compiler(program).sequence(tree, tree.state.flags)
        program.emit("match")
        self._code = program.code
        self._closures: dict[Any, tuple[frozenset[int], bool]] = {}
        self._steps: dict[Any, frozenset[int]] = {}

    def search(self, text: str) -> bool:
        """Return True if the pattern matches somewhere in `text`.

        Raises:
            ValueError: `text` is too long for this pattern.
        """
        return self._run(text, anywhere=True)

    def fullmatch(self, text: str) -> bool:
        """Return True if the pattern matches `text` as a whole; raises as `search`."""
        return self._run(text, anywhere=False)

    def _run(self, text: str, anywhere: bool) -> bool:
        if len(text) * len(self._code) > MAX_STEPS:
            raise ValueError(f"{len(text)} characters are too many for this pattern")
        start = frozenset({0})
        threads, left = start, _NOTHING
        for place in range(len(text) + 1):
            right = _kind(text, place)
            alive, matched = self._closure(threads, left, right)
            if matched and (anywhere or place == len(text)):
                return True
            if place < len(text):
                threads = self._step(alive, text[place])
                threads = threads | start if anywhere else threads
                if not threads:
                    return False
            left = right
        return False

    def _closure(self, threads: frozenset[int], left: int, right: int) -> tuple[frozenset[int], bool]:
        """Return the instructions that wait for a character at this position, and whether one of them is the end."""
        key = (threads, left, right)
        found = self._closures.get(key)
        if found is None:
            found = _remember(self._closures, key, self._follow(threads, left, right))
        return found

    def _follow(self, threads: frozenset[int], left: int, right: int) -> tuple[frozenset[int], bool]:
        waiting, seen, todo, matched = set(), set(threads), list(threads), False
        while todo:
            number = todo.pop()
            instruction = self._code[number]
            match instruction[0]:
                case "char":
                    waiting.add(number)
                    continue
                case "match":
                    matched = True
                    continue
                case "at":
                    following = (number + 1,) if instruction[1](left, right) else ()
                case _:
                    following = instruction[1:]
            fresh = [target for target in following if target not in seen]
            seen.update(fresh)
            todo += fresh
        return frozenset(waiting), matched

    def _step(self, alive: frozenset[int], character: str) -> frozenset[int]:
        key = (alive, character)
        found = self._steps.get(key)
        if found is None:
            found = frozenset(number + 1 for number in alive if self._code[number][1](character))
            _remember(self._steps, key, found)
        return found


def _remember(cache: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(cache) >= _MAX_CACHE:
        cache.clear()
    cache[key] = value
    return value


def _kind(text: str, place: int) -> int:
    if place == len(text):
        return _NOTHING
    character = text[place]
    if character == "\n":
        return _LAST_NEWLINE if place == len(text) - 1 else _NEWLINE
    return _WORD if _is_word(character) else _OTHER


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


@lru_cache(maxsize=256)
def compiled(pattern: str, flags: int = 0) -> LinearRegex:
    """Return the compiled pattern, from a cache."""
    return LinearRegex(pattern, flags)


# ── from Python's parse tree to the program ─────────────────────────────────────────────────────────────────────────


def _parser() -> Any:
    from re import _parser as parser  # type: ignore[attr-defined]  # Python's own parser has no public name

    return parser


_NEWLINES = (_NEWLINE, _LAST_NEWLINE)
_ANCHORS: dict[str, Callable[[int, int], bool]] = {
    "AT_BEGINNING": lambda left, right: left == _NOTHING,
    "AT_BEGINNING_STRING": lambda left, right: left == _NOTHING,
    "AT_END": lambda left, right: right in (_NOTHING, _LAST_NEWLINE),
    "AT_END_STRING": lambda left, right: right == _NOTHING,
    "AT_BOUNDARY": lambda left, right: (left == _WORD) != (right == _WORD),
    "AT_NON_BOUNDARY": lambda left, right: (left == _WORD) == (right == _WORD) and not _is_old_empty(left, right),
}


def _is_old_empty(left: int, right: int) -> bool:
    """True for an empty text before Python 3.14, which has neither boundary nor its opposite there."""
    return left == right == _NOTHING and sys.version_info < (3, 14)


_LINE_ANCHORS: dict[str, Callable[[int, int], bool]] = {
    "AT_BEGINNING": lambda left, right: left == _NOTHING or left in _NEWLINES,
    "AT_END": lambda left, right: right == _NOTHING or right in _NEWLINES,
}
_CATEGORIES: dict[str, Predicate] = {
    "CATEGORY_DIGIT": str.isdecimal,
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_WORD": _is_word,
}


class _Compiler:
    """Writes a parse tree into a program; every method appends what its part needs."""

    def __init__(self, program: _Program):
        self.program = program

    def sequence(self, tree: Any, flags: int) -> None:
        for operation, argument in tree:
            self.part(str(operation), argument, flags)

    def part(self, operation: str, argument: Any, flags: int) -> None:
        match operation:
            case "LITERAL" | "NOT_LITERAL" | "ANY" | "IN":
                self.program.emit("char", _predicate(operation, argument, flags))
            case "AT":
                self.program.emit("at", _anchor(str(argument), flags))
            case "SUBPATTERN":
                _, added, removed, inner = argument
                self.sequence(inner, (flags | added) & ~removed)
            case "BRANCH":
                self.branch(argument[1], flags)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = argument
                self.repeat(least, most, inner, flags)
            case _:
                raise PatternError(f"{operation.lower().replace('_', ' ')} cannot be matched in linear time")

    def branch(self, options: list[Any], flags: int) -> None:
        jumps = []
        for option in options[:-1]:
            split = self.program.emit("split", 0, 0)
            self.sequence(option, flags)
            jumps.append(self.program.emit("jump", 0))
            self.program.code[split] = ("split", split + 1, len(self.program.code))
        self.sequence(options[-1], flags)
        for jump in jumps:
            self.program.code[jump] = ("jump", len(self.program.code))

    def repeat(self, least: int, most: Any, tree: Any, flags: int) -> None:
        for _ in range(int(least)):
            self.sequence(tree, flags)
            self.program.emit("jump", len(self.program.code) + 1)  # counts against the limit even where `tree` is empty
        if str(most) == "MAXREPEAT":
            split = self.program.emit("split", 0, 0)
            self.sequence(tree, flags)
            self.program.emit("jump", split)
            self.program.code[split] = ("split", split + 1, len(self.program.code))
            return
        splits = []
        for _ in range(int(most) - int(least)):
            splits.append(self.program.emit("split", 0, 0))
            self.sequence(tree, flags)
        for split in splits:
            self.program.code[split] = ("split", split + 1, len(self.program.code))


def _anchor(name: str, flags: int) -> Callable[[int, int], bool]:
    table = {**_ANCHORS, **_LINE_ANCHORS} if flags & re.MULTILINE else _ANCHORS
    return table[name]


def _predicate(operation: str, argument: Any, flags: int) -> Predicate:
    if flags & (re.ASCII | re.LOCALE):
        raise PatternError("the flags (?a) and (?L) are not supported")
    if operation == "ANY":
        return (lambda character: True) if flags & re.DOTALL else (lambda character: character != "\n")
    items = argument if operation == "IN" else [(operation, argument)]
    negated = str(items[0][0]) in ("NEGATE", "NOT_LITERAL")
    tests = [_item(str(kind), value) for kind, value in items if str(kind) != "NEGATE"]
    fold = bool(flags & re.IGNORECASE)
    return lambda character: any(test(c) for c in _cases(character, fold) for test in tests) != negated


def _item(kind: str, value: Any) -> Predicate:
    if kind in ("LITERAL", "NOT_LITERAL"):
        return lambda character: ord(character) == value
    if kind == "RANGE":
        low, high = value
        return lambda character: low <= ord(character) <= high
    name = str(value)
    test = _CATEGORIES[name.replace("NOT_", "")]
    return (lambda character: not test(character)) if "NOT_" in name else test


def _cases(character: str, fold: bool) -> tuple[str, ...]:
    """Return the character in both cases where case does not matter; what grows with its case is left out."""
    if not fold:
        return (character,)
    return tuple(c for c in {character, character.lower(), character.upper()} if len(c) == 1)

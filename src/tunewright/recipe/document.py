"""A recipe file as plain values, with the place of every key and value, before anything is validated.

reads    YAML 1.2 text (`2e-4` is a number; `on`, `off`, `no` are text) and `--set` arguments
makes    a `Document`: values as JSON knows them, and marks, the line and column of every path

The YAML is taken as a graph of nodes, not as Python objects: every node knows where it stands, and nothing in the file
can make anything but text, numbers, true/false, null, lists and mappings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from tunewright.errors import RecipeError, RecipeProblem

KeyPath = tuple[str | int, ...]

MAX_DEPTH: Final = 24  # a recipe needs 6; this ends a file whose anchors contain themselves
MAX_NODES: Final = 20_000  # a recipe needs some hundred; this ends a file whose anchors multiply
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Mark:
    """Where something stands; line and column count from 1, and are 0 when it comes from a `--set`."""

    file: str
    line: int = 0
    column: int = 0


@dataclass
class Document:
    """The values of a recipe file and where each stands.

    `keys[path]` is the mark of the key (of a list item: of the item), `values[path]` that of the value.
    """

    file: str
    value: Any = None
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    values: dict[KeyPath, Mark] = field(default_factory=dict)
    problems: list[RecipeProblem] = field(default_factory=list)

    def key_mark(self, path: KeyPath) -> Mark:
        """Return where the key of `path` stands, or the nearest thing around it that stands somewhere."""
        return self._nearest(self.keys, path)

    def value_mark(self, path: KeyPath) -> Mark:
        """Return where the value of `path` stands, or the nearest thing around it that stands somewhere."""
        return self._nearest(self.values, path)

    def get(self, path: KeyPath) -> Any:
        """Return the value at `path`, or None where there is none."""
        value = self.value
        for part in path:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def problem(self, mark: Mark, path: str, seen: str, **more: str | None) -> RecipeProblem:
        """Return a problem at `mark`."""
        return RecipeProblem(mark.file, mark.line, mark.column, path, seen, **more)

    def _nearest(self, marks: dict[KeyPath, Mark], path: KeyPath) -> Mark:
        for end in range(len(path), -1, -1):
            if path[:end] in marks:
                return marks[path[:end]]
        return Mark(self.file)


# ── text → nodes ────────────────────────────────────────────────────────────────────────────────────────────────────


def parse(text: str, file: str) -> Document:
    """Return the document that `text` holds.

    Values that no recipe can hold (a key twice, a number without end, a mapping as a key) are listed in `problems`; the
    rest of the file is still read, so that all mistakes are told at once.

    Raises:
        RecipeError: the text is not YAML; it has the place where reading stopped.
    """
    document = Document(file)
    root = _compose(text, file)
    if root is not None:
        try:
            document.value = _Builder(document).build(root, ())
        except _TooLarge as error:
            mark = _mark(file, error.node)
            raise RecipeError([document.problem(mark, "", str(error), expected="a recipe of usual size")]) from None
    return document


def _compose(text: str, file: str) -> Node | None:
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except RecursionError:
        raise RecipeError([RecipeProblem(file, 0, 0, "", "nested too deep to be read")]) from None
    # ruamel lets a plain ValueError or TypeError through for some broken directives and numbers in them
    except (YAMLError, ValueError, TypeError, AttributeError, IndexError, KeyError, AssertionError) as error:
        raise RecipeError([_yaml_problem(error, text, file)]) from None
    return node if isinstance(node, Node) else None


def _yaml_problem(error: Exception, text: str, file: str) -> RecipeProblem:
    """Say in a person's words where and why reading stopped."""
    if isinstance(error, ReaderError):
        line, column = place_of(text, error.position)
        return RecipeProblem(file, line, column, "", f"a control character ({error.character!r}) stands here")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    why = (error.problem or error.context) if isinstance(error, MarkedYAMLError) else str(error)
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return RecipeProblem(file, line, column, "", f"broken YAML: {_tidy(why)}", expected=_yaml_hint(str(why)))


def _tidy(why: object) -> str:
    return " ".join(str(why or "it cannot be read").split())


def _yaml_hint(why: str) -> str | None:
    if "\\t" in why or "'\t'" in why:
        return "spaces for the indentation, no tabs"
    if "single document" in why:
        return "one recipe a file, without a second `---`"
    if "mapping values are not allowed" in why:
        return "`key: value` once a line; text with `: ` in it stands in quotes"
    return None


def place_of(text: str, position: int) -> tuple[int, int]:
    """Return line and column, both from 1, of the character number `position`."""
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


# ── nodes → values ──────────────────────────────────────────────────────────────────────────────────────────────────


class _TooLarge(Exception):
    """The file grows without bound. `node` is where that was noticed."""

    def __init__(self, message: str, node: Node):
        super().__init__(message)
        self.node = node


def _mark(file: str, node: Node) -> Mark:
    return Mark(file, node.start_mark.line + 1, node.start_mark.column + 1)


class _Builder:
    """Walks the nodes, makes values of them and writes their marks down."""

    def __init__(self, document: Document):
        self.document = document
        self.count = 0

    def build(self, node: Node, path: KeyPath) -> Any:
        """Return the value of `node`, which stands at `path`."""
        self.count += 1
        if self.count > MAX_NODES:
            raise _TooLarge(f"more than {MAX_NODES} values", node)
        if len(path) > MAX_DEPTH:
            raise _TooLarge(f"nested more than {MAX_DEPTH} deep", node)
        self.document.values[path] = _mark(self.document.file, node)
        self.document.keys.setdefault(path, self.document.values[path])
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            if key is None:
                continue
            if key in values:
                self._report(key_node, (*path, key), f"the key `{key}` stands here a second time")
                continue
            self.document.keys[*path, key] = _mark(self.document.file, key_node)
            values[key] = self.build(value_node, (*path, key))
        return values

    def _key(self, node: Node, path: KeyPath) -> str | None:
        if isinstance(node, ScalarNode):
            return str(node.value)
        self._report(node, path, "a list or mapping stands where a key should be", expected="a key is a plain word")
        return None

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        try:
            value = _scalar_value(str(node.value), str(node.tag))
        except ValueError as error:
            self._report(node, path, str(error), expected="text, or a number that has an end")
            return None
        return value

    def _report(self, node: Node, path: KeyPath, seen: str, expected: str | None = None) -> None:
        mark = _mark(self.document.file, node)
        self.document.problems.append(self.document.problem(mark, dotted(path), seen, expected=expected))


def _scalar_value(text: str, tag: str) -> Any:
    """Return the JSON value of a scalar; dates and everything with a tag of its own stay text.

    Raises:
        ValueError: JSON has no such value; the message says why.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("half of a character (a lone surrogate) stands in the text")
    match tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _integer(text)
        case "float":
            return _finite(text)
    return text


def _integer(text: str) -> int:
    digits = text.replace("_", "")
    sign, digits = (-1, digits[1:]) if digits.startswith("-") else (1, digits.lstrip("+"))
    base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2].lower(), 10)
    try:
        value = sign * int(digits[2:] if base != 10 else digits, base)
    except ValueError:
        raise ValueError(f"{shorten(text)} is no whole number that can be read") from None
    if value.bit_length() > 63:  # seeds and sizes end as signed 64-bit numbers
        raise ValueError(f"{shorten(text)} is too large")
    return value


def _finite(text: str) -> float:
    try:
        value = float(text.replace("_", ""))
    except ValueError:  # YAML's .inf and .nan, which Python spells without the dot
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{shorten(text)} is no finite number")
    return value


# ── paths and texts ─────────────────────────────────────────────────────────────────────────────────────────────────


def dotted(path: Sequence[str | int]) -> str:
    """Return a path as `--set` takes it: `data.sources.0.path`."""
    return ".".join(str(part) for part in path)


def shorten(text: str, width: int = 60) -> str:
    """Return `text` on one line, at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"

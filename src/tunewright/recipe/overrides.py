"""`--set STAGE.FIELD=VALUE`: changes to a recipe document before it is validated.

The value is YAML 1.2; the path begins with the id of a stage or with a field of the header; a list is entered by index:
`sft.learning_rate=2e-5`, `data.split.test=50`, `seed=3`, `data.sources.0.path=other.jsonl`. What is set here goes
through the same checks as the file; the marks of the new values name the `--set` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunewright.errors import RecipeError, RecipeProblem
from tunewright.recipe import document as doc
from tunewright.recipe.document import Document, Mark
from tunewright.recipe.explain import nearest
from tunewright.recipe.sections import SECTIONS, Header

SHAPE = "--set STAGE.FIELD=VALUE, as in sft.learning_rate=2e-5 or seed=3"


class _BadOverride(Exception):
    """Why an override cannot be applied, and what may have been meant."""

    def __init__(self, seen: str, suggestion: str | None = None, expected: str | None = SHAPE):
        super().__init__(seen)
        self.seen, self.suggestion, self.expected = seen, suggestion, expected


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Apply `overrides` to `document`, in order; those that cannot be applied become its problems."""
    for override in overrides:
        mark = Mark(f"--set {override}")
        try:
            _apply(document, override, mark)
        except _BadOverride as bad:
            address = override.partition("=")[0].strip()
            problem = RecipeProblem(mark.file, 0, 0, address, bad.seen, bad.suggestion, bad.expected)
            document.problems.append(problem)


def _apply(document: Document, override: str, mark: Mark) -> None:
    address, equals, text = override.partition("=")
    parts = address.strip().split(".")
    if not equals:
        raise _BadOverride("there is no `=` in it")
    if not all(parts):
        raise _BadOverride(f"`{address}` is not a path")
    value = _value(text)
    path = _start(document, parts)
    for part in parts[1:-1]:
        path = _enter(document, path, part, mark)
    if len(parts) > 1:
        path = (*path, _step(document.get(path), parts[-1], path))
    _put(document, path, value, mark)


def _value(text: str) -> Any:
    try:
        parsed = doc.parse(text, "")
    except RecipeError as error:
        raise _BadOverride(
            error.problems[0].seen, expected="a YAML value; quote text that has `:` or `#` in it"
        ) from None
    if parsed.problems:
        raise _BadOverride(parsed.problems[0].seen, expected=parsed.problems[0].expected)
    return parsed.value


def _start(document: Document, parts: list[str]) -> doc.KeyPath:
    """Return the path of what the first part names: a field of the header, or the section of a stage."""
    name = parts[0]
    stages = stage_paths(document)
    if name in stages:
        if len(parts) == 1:
            raise _BadOverride(f"`{name}` is a whole stage", expected=f"one of its fields: {name}.FIELD=VALUE")
        return stages[name]
    if name in Header.model_fields:
        if len(parts) > 1:
            raise _BadOverride(f"`{name}` has no parts", suggestion=f"{name}=…")
        return (name,)
    known = nearest(name, [*stages, *Header.model_fields])
    suggestion = ".".join([known, *parts[1:]]) if known else None
    expected = f"a stage ({', '.join(stages) or 'there is none'}) or a field of the header"
    raise _BadOverride(f"there is no stage `{name}`", suggestion, expected)


def stage_paths(document: Document) -> dict[str, doc.KeyPath]:
    """Return the id of every stage of known kind, with the path of its section; the first of two with one id wins."""
    found: dict[str, doc.KeyPath] = {}
    stages = document.get(("stages",))
    for index, item in enumerate(stages if isinstance(stages, list) else []):
        if isinstance(item, dict) and len(item) == 1 and (kind := next(iter(item))) in SECTIONS:
            section = item[kind]
            name = section.get("id") if isinstance(section, dict) else None
            found.setdefault(str(name or kind), ("stages", index, kind))
    return found


def _enter(document: Document, path: doc.KeyPath, part: str, mark: Mark) -> doc.KeyPath:
    """Return the path one step further in; a mapping that is not there yet is made."""
    inner = (*path, _step(document.get(path), part, path))
    if document.get(inner) is None:
        _put(document, inner, {}, mark)
    return inner


def _step(container: Any, part: str, path: doc.KeyPath) -> str | int:
    """Return `part` as the key or index that `container` takes."""
    if container is None or isinstance(container, dict):
        return part
    shown = doc.dotted(path[3:]) or doc.dotted(path)
    if not isinstance(container, list):
        raise _BadOverride(f"`{shown}` is one value and has no part `{part}`")
    if not part.isdecimal():
        raise _BadOverride(f"`{shown}` is a list: `{part}` is no index", expected=f"{shown}.0 for the first item")
    if len(part) > 6 or int(part) >= len(container):
        raise _BadOverride(f"`{shown}` has no item {part}", expected=f"0 to {len(container) - 1}")
    return int(part)


def _put(document: Document, path: doc.KeyPath, value: Any, mark: Mark) -> None:
    container = document.get(path[:-1])
    if container is None:  # a stage or a field that stands there without a value
        document.get(path[:-2])[path[-2]] = container = {}
    container[path[-1]] = value
    for marks in (document.keys, document.values):
        for old in [known for known in marks if known[: len(path)] == path]:
            del marks[old]
        marks[path] = mark

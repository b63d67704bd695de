"""Do a call's arguments fit the tool's JSON Schema? The part of JSON Schema (2020-12) that tools are written in.

Checked: type, enum, const, properties, required, additionalProperties, items, prefixItems, the limits of numbers, texts
and lists, allOf, anyOf, oneOf, not, and `$ref` into the schema itself. Other keywords say nothing here, `pattern` and
`format` among them: a pattern from a data set could take for ever on a model's text. What of a schema is not as the
standard writes it says nothing either. Full JSON Schema is in the suite `extraction` and the grader `json_schema`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import chain, repeat
from typing import Any, Final

from tunewright.artifacts.fingerprint import canonical

# Deeper than any tool's arguments.
MAX_DEPTH: Final = 64
# A schema may refer to itself in every branch: the work would double with each level.
MAX_STEPS: Final = 20_000

Schema = Any


def schema_error(value: Any, schema: Schema) -> str:
    """Return why the JSON value `value` does not fit `schema`, with the place, or "" if it fits.

    A value that takes more than MAX_STEPS comparisons does not fit.
    """
    return _Check(schema).error(value, schema, "$", 0)


class _Check:
    """One check of one value: the schema that `$ref` points into, and the steps that are left."""

    def __init__(self, root: Schema):
        self._root = root
        self._steps = MAX_STEPS

    def error(self, value: Any, schema: Schema, path: str, depth: int) -> str:
        self._steps -= 1
        if depth > MAX_DEPTH or self._steps < 0:
            return f"{path} takes too long to check"
        if schema is False:
            return f"{path} is not allowed"
        if not isinstance(schema, Mapping):
            return ""
        for check in (_type, _choices, _limits):
            if found := check(value, schema):
                return f"{path} {found}"
        for walk in (self._combined, self._properties, self._items):
            if found := walk(value, schema, path, depth + 1):
                return found
        return ""

    def _combined(self, value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
        all_of = [_referred(schema["$ref"], self._root)] if "$ref" in schema else []
        for part in [*all_of, *_list(schema.get("allOf"))]:
            if found := self.error(value, part, path, depth):
                return found
        for keyword in ("anyOf", "oneOf"):
            parts = _list(schema.get(keyword))
            fitting = sum(not self.error(value, part, path, depth) for part in parts)
            if parts and (fitting == 0 or (fitting > 1 and keyword == "oneOf")):
                return f"{path} does not fit {keyword}"
        excluded = "not" in schema and not self.error(value, schema["not"], path, depth)
        return f"{path} fits what `not` excludes" if excluded else ""

    def _properties(self, value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
        if not isinstance(value, dict):
            return ""
        missing = [name for name in _list(schema.get("required")) if isinstance(name, str) and name not in value]
        if missing:
            return f"{path} lacks {', '.join(missing)}"
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        others = schema.get("additionalProperties", True)
        errors = (self.error(part, known.get(name, others), f"{path}.{name}", depth) for name, part in value.items())
        return next(filter(None, errors), "")

    def _items(self, value: Any, schema: Mapping[str, Any], path: str, depth: int) -> str:
        if not isinstance(value, list):
            return ""
        first, rest = _list(schema.get("prefixItems")), schema.get("items", True)
        schemas = chain(first, repeat(rest))
        errors = (self.error(part, inner, f"{path}[{place}]", depth)
                  for place, (part, inner) in enumerate(zip(value, schemas, strict=False)))  # fmt: skip
        return next(filter(None, errors), "")


_IS: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1,
}


def _type(value: Any, schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type")
    names = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if isinstance(kind, str) and kind in _IS]
    if not names or any(_IS[name](value) for name in names):
        return ""
    return f"is no {' or '.join(names)}"


def _choices(value: Any, schema: Mapping[str, Any]) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list) and not any(_same(value, choice) for choice in choices):
        return "is none of the enum"
    return "is not the const" if "const" in schema and not _same(value, schema["const"]) else ""


def _same(one: Any, other: Any) -> bool:
    return _text(one) == _text(other)


def _text(value: Any) -> str:
    """Return a value's one JSON text: 1.0 is 1, and true is not."""
    return json.dumps(canonical(value), sort_keys=True)


# keyword -> what it applies to, what it measures, what must hold
_LIMITS: Final[tuple[tuple[str, str, Callable[[Any], Any], Callable[[Any, Any], bool]], ...]] = (
    ("minimum", "number", lambda value: value, lambda size, limit: size >= limit),
    ("maximum", "number", lambda value: value, lambda size, limit: size <= limit),
    ("exclusiveMinimum", "number", lambda value: value, lambda size, limit: size > limit),
    ("exclusiveMaximum", "number", lambda value: value, lambda size, limit: size < limit),
    ("minLength", "string", len, lambda size, limit: size >= limit),
    ("maxLength", "string", len, lambda size, limit: size <= limit),
    ("minItems", "array", len, lambda size, limit: size >= limit),
    ("maxItems", "array", len, lambda size, limit: size <= limit),
    ("minProperties", "object", len, lambda size, limit: size >= limit),
    ("maxProperties", "object", len, lambda size, limit: size <= limit),
)


def _limits(value: Any, schema: Mapping[str, Any]) -> str:
    for keyword, kind, measure, holds in _LIMITS:
        limit = schema.get(keyword)
        if _IS["number"](limit) and _IS[kind](value) and not holds(measure(value), limit):
            return f"breaks {keyword} {limit}"
    is_repeated = schema.get("uniqueItems") is True and isinstance(value, list)
    return "has an item twice" if is_repeated and len({_text(item) for item in value}) < len(value) else ""


def _referred(reference: Any, root: Schema) -> Schema:
    """Return the schema that `#/…` points to, True where there is none: nothing is fetched."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return True
    found = root
    for step in reference.removeprefix("#").split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        found = found.get(key, True) if isinstance(found, Mapping) else True
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

"""Suite `extraction`: does the model pull the right values out of a text, as JSON?

reads    the gold value from `meta.gold`, else from the reference's text, which is then JSON; the schema from
         `meta.schema`, else from the option `json_schema`

    exact          1 if the answer equals the gold value as JSON
    field_f1       F1 of the leaves (path, value), as multisets
    valid_json     1 if the answer is JSON: the whole of it, or one code fence around it
    schema_valid   1 if it is JSON and the schema takes it; over the rows that have a schema

Values compare as JSON does: key order does not matter, 1 equals 1.0, true is not 1, text as it is. In field_f1 an item
of a list may stand at any place of it, so that one item too many does not make all behind it wrong; `list_order: any`
makes `exact` as lenient.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pydantic import Field

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import canonical
from tunewright.errors import DataError
from tunewright.suites import MAIN_METRIC
from tunewright.suites.answers import NoJSONError, json_of
from tunewright.suites.options import Options, read_options
from tunewright.suites.protocol import Metric, Scored, Suite

_ROWS = "all rows"


class ExtractionOptions(Options):
    """Options of the suite."""

    json_schema: dict[str, Any] | None = Field(
        default=None, description="JSON Schema of the answers, for rows without one of their own in `meta.schema`"
    )
    list_order: Literal["fixed", "any"] = Field(
        default="fixed", description="`any`: `exact` lets the items of a list stand in any order"
    )


@dataclass(frozen=True)
class Extraction:
    """Scores extracted values."""

    schema: dict[str, Any] | None = None
    any_order: bool = False
    _validators: dict[str, Callable[[Any], str]] = field(default_factory=dict, repr=False)

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Score `answer` against the row's gold value."""
        schema = row.meta.get("schema", self.schema)
        try:
            gold = gold_of(row)
            why_invalid = self._validator(schema)
        except DataError as error:
            return Scored({}, "unscored", error=str(error))
        return Comparison(gold, answer, why_invalid, self.any_order).scored

    def _validator(self, schema: dict[str, Any] | None) -> Callable[[Any], str] | None:
        """Return what says why a value is against `schema`; each schema is compiled once."""
        if schema is None:
            return None
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            self._validators[key] = schema_check(schema)
        return self._validators[key]


def gold_of(row: ChatRow) -> Any:
    """Return the right value of a row.

    Raises:
        DataError: it has no `meta.gold`, and its reference is no JSON.
    """
    if "gold" in row.meta:
        return row.meta["gold"]
    try:
        return json_of(str(row.answer.get("content") or ""))
    except NoJSONError as error:
        raise DataError(f"its reference is no JSON: {error}", where=f"row {row.id}", expected="`meta.gold`") from None


def schema_check(schema: Mapping[str, Any]) -> Callable[[Any], str]:
    """Return a function that says why a value is against `schema`, or "" where it is not.

    No reference is followed out of the schema: nothing is ever fetched.

    Raises:
        DataError: the schema is none. MissingExtra: `jsonschema` is not installed.
    """
    from tunewright.graders.json_schema import validator_of

    try:
        validator = validator_of(json.dumps(schema, sort_keys=True))
    except ValueError as error:
        raise DataError(f"no JSON Schema: {error}", where="schema") from None

    def check(value: Any) -> str:
        from referencing.exceptions import Unresolvable

        try:
            error = next(validator.iter_errors(value), None)
        except Unresolvable as unresolvable:
            raise DataError(f"the schema refers to {unresolvable.ref!r}, which it does not hold") from None
        except RecursionError:
            return "nested too deep"
        except (ValueError, OverflowError) as over:  # a text too long for a pattern, a number too large for multipleOf
            raise DataError(f"it cannot be held against the schema: {over}") from None
        return f"{error.json_path}: {error.message}"[:200] if error else ""

    return check


@dataclass(frozen=True)
class Comparison:
    """An answer beside the gold value."""

    gold: Any
    answer: str
    why_invalid: Callable[[Any], str] | None
    any_order: bool

    @cached_property
    def scored(self) -> Scored:
        """The scores and the failure class."""
        has_schema = self.why_invalid is not None
        try:
            value = json_of(self.answer)
        except NoJSONError as error:
            schema = {"schema_valid": 0.0} if has_schema else {}
            zeros = {"exact": 0.0, "field_f1": 0.0, "valid_json": 0.0, **schema}
            return Scored(zeros, f"no JSON: {error}", failure="no JSON")
        try:
            against = self.why_invalid(value) if self.why_invalid else ""
        except DataError as error:
            return Scored({}, "unscored", parsed=value, error=str(error))
        gold, said = leaves(self.gold), leaves(value)
        exact = same(value, self.gold, self.any_order)
        scores = {"exact": float(exact), "field_f1": _f1(gold, said), "valid_json": 1.0}
        if has_schema:
            scores["schema_valid"] = float(not against)
        failure, reason = ("", "exact") if exact else self._difference(gold, said, against)
        return Scored(scores, reason, value, failure)

    def _difference(self, gold: Counter[Leaf], said: Counter[Leaf], against: str) -> tuple[str, str]:
        if against:
            return "not the schema", f"not the schema: {against}"
        wanted, given = {path for path, _ in gold}, {path for path, _ in said}
        for failure, paths in (("missing fields", wanted - given), ("extra fields", given - wanted)):
            if paths:
                return failure, f"{failure}: {_listed(paths)}"
        if differing := {path for path, _ in (gold - said) + (said - gold)}:
            return "wrong values", f"wrong values: {_listed(differing)}"
        return "wrong order", "wrong order of a list"


Leaf = tuple[str, str]
"""path and value, both as text: `$.items[].price`, `9.5`"""


def leaves(value: Any) -> Counter[Leaf]:
    """Return the leaves of a JSON value as a multiset; an empty list or mapping is a leaf too."""
    return Counter(_leaves(value, "$"))


def _leaves(value: Any, path: str) -> Iterator[Leaf]:
    stack = [(value, path)]
    while stack:
        value, path = stack.pop()
        if isinstance(value, dict) and value:
            stack += [(inner, f"{path}.{key}") for key, inner in value.items()]
        elif isinstance(value, list) and value:
            stack += [(inner, f"{path}[]") for inner in value]
        else:
            yield path, _text(value)


def same(one: Any, other: Any, any_order: bool = False) -> bool:
    """True if two JSON values are equal; with `any_order` the items of a list may stand in any order."""
    return _text(one, any_order) == _text(other, any_order)


def _text(value: Any, any_order: bool = False) -> str:
    """Return a value's one JSON text."""
    value = canonical(value)
    return json.dumps(_sorted(value) if any_order else value, sort_keys=True, ensure_ascii=False)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted((_sorted(inner) for inner in value), key=lambda inner: json.dumps(inner, sort_keys=True))
    return value


def _f1(gold: Counter[Leaf], said: Counter[Leaf]) -> float:
    total = sum(gold.values()) + sum(said.values())
    return 2 * sum((gold & said).values()) / total


def _listed(paths: set[str], most: int = 5) -> str:
    shown = sorted(paths)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def make_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite.

    Raises:
        SuiteError: an option is wrong. DataError: the schema is none.
    """
    told = read_options(ExtractionOptions, options, f"suite {name}")
    if told.json_schema is not None:
        schema_check(told.json_schema)
    return Suite(
        name=name,
        metrics=(
            Metric("exact", _ROWS),
            Metric("field_f1", _ROWS, binary=False),
            Metric("valid_json", _ROWS),
            Metric("schema_valid", "rows that have a schema"),
        ),
        score=Extraction(told.json_schema, told.list_order == "any"),
        main_metric=MAIN_METRIC[name],
    )

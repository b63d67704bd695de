"""Grader `json_schema`: 1 if the answer is JSON that fits a schema, else 0.

Unlike `sample.output_json` in other graders, broken JSON is the answer's fault here and scores 0. The schema is
checked when the grader is loaded (or per row, where it stands in the row). References go nowhere outside the schema,
and its patterns run in linear time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module
from json import dumps, loads
from typing import Any, Literal

from pydantic import Field

from tunewright.artifacts.fingerprint import canonical
from tunewright.errors import MissingExtra
from tunewright.graders.base import SampleGrader
from tunewright.graders.linear_regex import PatternError, compiled
from tunewright.graders.protocol import Grade, Sample, parse_json
from tunewright.graders.spec import Context, GraderError, GraderSpec, Problem, Template
from tunewright.graders.template import Unscored, render, value_of


class Spec(GraderSpec):
    """Check an answer against a JSON Schema."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] | Template = Field(
        alias="schema", description="the schema, or the variable of the row that has it: `{{ item.schema }}`"
    )
    input: Template = Field(default="{{ sample.output_text }}", description="the text that must be JSON")
    allow_fence: bool = Field(default=False, description="accept JSON inside one ```json fence too")


class JsonSchema(SampleGrader):
    """Validates answers."""

    type = "json_schema"

    def __init__(self, spec: Spec):
        super().__init__(spec.name)
        self._spec = spec

    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return 1.0 or 0.0; the reason is the first thing that does not fit."""
        value = parse_json(self._text(sample, item))
        if value is None:
            return Grade(0.0, "not JSON")
        validator = self._validator(sample, item)
        try:
            fault = next(iter(validator.iter_errors(value)), None)
        except RecursionError:
            return Grade(0.0, "nested too deep")
        except ValueError as error:
            raise Unscored("truncated_observation_error", str(error)) from None
        except Exception as error:  # a $ref that leads nowhere is found only when it is followed
            raise Unscored("other_error", f"schema: {error}") from None
        return Grade(1.0, "fits") if fault is None else Grade(0.0, f"{fault.json_path}: {fault.message[:120]}")

    def _text(self, sample: Sample, item: Mapping[str, Any]) -> str:
        text = render(self._spec.input, sample, item)
        return unfenced(text) if self._spec.allow_fence else text

    def _validator(self, sample: Sample, item: Mapping[str, Any]) -> Any:
        schema = self._spec.schema_
        found = value_of(schema, sample, item) if isinstance(schema, str) else schema
        found = parse_json(found) if isinstance(found, str) else found
        if not isinstance(found, Mapping):
            raise Unscored("invalid_variable_error", "the schema is no object")
        try:
            return validator_of(dumps(found, sort_keys=True))
        except ValueError as error:
            raise Unscored("invalid_variable_error", f"the schema is wrong: {error}") from None


def unfenced(text: str) -> str:
    """Return the content of a text that is one fenced block; any other text as it is."""
    stripped = text.strip()
    if not (stripped.startswith("```") and stripped.endswith("```") and stripped.count("```") == 2):
        return text
    return stripped[3:-3].removeprefix("json")


@lru_cache(maxsize=256)
def validator_of(schema_json: str) -> Any:
    """Return the validator of a schema, given as JSON.

    Raises:
        ValueError: it is no schema; says where.
        MissingExtra: jsonschema is not installed.
    """
    try:
        validators = import_module("jsonschema.validators")
        registry = import_module("referencing").Registry()  # empty: nothing is ever fetched
    except ImportError as error:
        raise MissingExtra.of(error, "eval") from None
    schema = loads(schema_json)
    plain = validators.validator_for(schema, default=validators.validator_for({}))
    try:
        plain.check_schema(schema)
    except import_module("jsonschema").SchemaError as error:
        raise ValueError(f"{error.json_path}: {error.message[:200]}") from None
    unsafe = _unsafe(schema)
    if unsafe:
        raise ValueError(unsafe)
    linear = validators.extend(plain, _LINEAR)
    return linear(schema, registry=registry)


# What jsonschema does with Python's `re`, or in quadratic time, is done here in linear time: answers come from a model.


def _fault(message: str) -> Any:
    return import_module("jsonschema").ValidationError(message)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[Any]:
    if isinstance(instance, str) and not compiled(pattern).search(instance):
        yield _fault(f"{instance[:60]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(instance, Mapping):
        return
    for pattern, inner in patterns.items():
        for key in [key for key in instance if compiled(pattern).search(key)]:
            yield from validator.descend(instance[key], inner, path=key, schema_path=pattern)


def _additional(validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if not isinstance(instance, Mapping):
        return
    patterns = [compiled(pattern) for pattern in schema.get("patternProperties", {})]
    for key in instance:
        if key in schema.get("properties", {}) or any(pattern.search(key) for pattern in patterns):
            continue
        if allowed is False:
            yield _fault(f"{key[:60]!r} is not allowed here")
        elif isinstance(allowed, Mapping):
            yield from validator.descend(instance[key], allowed, path=key)


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[Any]:
    if wanted and isinstance(instance, list):
        seen = {dumps(canonical(item), sort_keys=True) for item in instance}
        if len(seen) < len(instance):
            yield _fault("it has an item twice")


_LINEAR = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "uniqueItems": _unique_items,
}


def _unsafe(schema: Any) -> str | None:
    """Return what in a schema could not be checked in linear time, if there is anything."""
    if isinstance(schema, list):
        return next((found for inner in schema if (found := _unsafe(inner))), None)
    if not isinstance(schema, Mapping):
        return None
    if "unevaluatedProperties" in schema and "patternProperties" in schema:
        return "unevaluatedProperties beside patternProperties"
    patterns = [schema["pattern"]] if isinstance(schema.get("pattern"), str) else []
    inner_patterns = schema.get("patternProperties")
    for pattern in [*patterns, *(inner_patterns if isinstance(inner_patterns, Mapping) else ())]:
        try:
            compiled(pattern)
        except PatternError as error:
            return f"pattern {pattern!r}: {error}"
    return next((found for inner in schema.values() if (found := _unsafe(inner))), None)


def from_spec(spec: Spec, context: Context) -> JsonSchema:
    """Return the grader of a spec.

    Raises:
        GraderError: the schema is wrong.
    """
    if not isinstance(spec.schema_, str):
        try:
            validator_of(dumps(spec.schema_, sort_keys=True))
        except ValueError as error:
            raise GraderError([Problem("schema", str(error))], spec.name) from None
    return JsonSchema(spec)

"""The check of a call's arguments against the tool's schema, beside the library `jsonschema`."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunewright.artifacts.dataset import ChatRow
from tunewright.sources.bfcl import CALL_CATEGORIES, read_bfcl
from tunewright.suites.tool_schema import schema_error

jsonschema = pytest.importorskip("jsonschema")

OBJECT = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "unit": {"enum": ["cm", "m"]},
        "tags": {"items": {"type": "string"}},
    },
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"n": 1, "unit": "m", "tags": ["a"]}, ""),
        ({"n": 2.0}, ""),
        ({}, "$ lacks n"),
        ({"n": 1.5}, "$.n is no integer"),
        ({"n": True}, "$.n is no integer"),
        ({"n": 0}, "$.n breaks minimum 1"),
        ({"n": 1, "unit": "km"}, "$.unit is none of the enum"),
        ({"n": 1, "tags": ["a", 2]}, "$.tags[1] is no string"),
        ({"n": 1, "x": 1}, "$.x is not allowed"),
        ([], "$ is no object"),
    ],
)
def test_the_error_names_the_place_and_what_is_wrong(value, error):
    assert schema_error(value, OBJECT) == error


names = st.sampled_from("abc")
plain = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, 2.0]) | st.sampled_from(["", "a", "ab"])
)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
LIMITS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties",
)  # fmt: skip
KINDS = ["object", "array", "string", "boolean", "null", "number", "integer"]


def schemas(inner):
    small = st.integers(0, 2)
    return st.booleans() | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(KINDS) | st.lists(st.sampled_from(KINDS), min_size=1, max_size=2, unique=True),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "properties": st.dictionaries(names, inner, max_size=3),
            "required": st.lists(names, max_size=2, unique=True),
            "additionalProperties": inner,
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            **dict.fromkeys(LIMITS, small),
            "uniqueItems": st.booleans(),
            **{key: st.lists(inner, min_size=1, max_size=2) for key in ("allOf", "anyOf", "oneOf")},
            "not": inner,
            "$ref": st.sampled_from(["#/$defs/x", "#/properties/a"]),
        },
    )


some_schemas = st.recursive(
    st.booleans() | st.builds(lambda kind: {"type": kind}, st.sampled_from(KINDS)), schemas, max_leaves=4
)


@given(some_schemas, values)
@settings(max_examples=150, deadline=None)
def test_it_accepts_what_the_library_accepts(schema, value):
    if isinstance(schema, dict):
        schema = {**schema, "$defs": {"x": {"type": ["integer", "object"]}}}
    try:
        fits = jsonschema.Draft202012Validator(schema).is_valid(value)
    except Exception as error:  # a reference to nowhere, or one that goes in circles
        assert type(error).__name__ in ("_WrappedReferencingError", "RecursionError", "PointerToNowhere")
        return
    assert (schema_error(value, schema) == "") == fits


def test_on_every_reference_of_bfcl_it_says_what_the_library_says():
    fitting = total = 0
    for row in read_bfcl(CALL_CATEGORIES):
        if isinstance(row, ChatRow):
            schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in row.tools}
            for call in (call["function"] for call in row.answer["tool_calls"]):
                schema, arguments = schemas[call["name"]], call["arguments"]
                fits = schema_error(arguments, schema) == ""
                assert fits == jsonschema.Draft202012Validator(schema).is_valid(arguments), row.id
                total, fitting = total + 1, fitting + fits
    assert (total, fitting) == (3150, 3126)  # the rest have values that their own schemas do not allow


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"allOf": [{"$ref": "#"}]},
        {"items": {"oneOf": [{"$ref": "#"}, {"$ref": "#"}]}},
        {"$ref": "#/properties/none", "properties": 3, "required": "a", "enum": 7, "type": {"odd": 1}},
        {"$ref": "elsewhere.json", "minimum": "3", "items": 3, "anyOf": {}},
        None,
        [],
    ],
)
def test_a_schema_in_circles_or_out_of_form_takes_no_time_and_raises_nothing(schema):
    begin = time.process_time()
    for value in ([[[[1]]]], {"a": 1}, 3):
        schema_error(value, schema)
    assert time.process_time() - begin < 5


def test_a_value_nested_without_end_does_not_fit():
    value = []
    for _ in range(500):
        value = [value]
    assert schema_error(value, {"items": {"$ref": "#"}}).endswith("takes too long to check")

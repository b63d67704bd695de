"""The JSON Schema takes what `load_recipe` takes.

The small validator here knows the keywords the schema uses, and no more.
"""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.recipe.conftest import GOOD, replaced

from tunewright.recipe.scaffold import Wish, new_recipe
from tunewright.recipe.schema import recipe_schema

SCHEMA = recipe_schema()
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
SILENT = {"description", "default", "title", "$schema", "$defs", "discriminator", "examples"}


def errors(value, schema, path="$"):
    if "$ref" in schema:
        return errors(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], path)
    return [
        error for key, rule in schema.items() if key not in SILENT for error in KEYWORDS[key](value, rule, schema, path)
    ]


def says(bad, path):
    return [path] if bad else []


def of_type(value, name, schema, path):
    wrong = not isinstance(value, TYPES[name]) or (isinstance(value, bool) and name in ("integer", "number"))
    return says(wrong, path)


def in_properties(value, rules, schema, path):
    return (
        [e for k, v in value.items() if k in rules for e in errors(v, rules[k], f"{path}.{k}")]
        if isinstance(value, dict)
        else []
    )


def in_others(value, rule, schema, path):
    others = [key for key in value if key not in schema.get("properties", {})] if isinstance(value, dict) else []
    if rule is True:
        return []
    return (
        [f"{path}.{k}" for k in others]
        if rule is False
        else [e for k in others for e in errors(value[k], rule, f"{path}.{k}")]
    )


def in_items(value, rule, schema, path):
    return [e for i, v in enumerate(value) for e in errors(v, rule, f"{path}.{i}")] if isinstance(value, list) else []


def number(value):
    return isinstance(value, int | float)


KEYWORDS = {
    "type": of_type,
    "properties": in_properties,
    "additionalProperties": in_others,
    "items": in_items,
    "required": lambda v, rule, s, path: [f"{path}.{key}" for key in rule if isinstance(v, dict) and key not in v],
    "anyOf": lambda v, rule, s, path: says(all(errors(v, one, path) for one in rule), path),
    "oneOf": lambda v, rule, s, path: says(sum(not errors(v, one, path) for one in rule) != 1, path),
    "const": lambda v, rule, s, path: says(v != rule, path),
    "enum": lambda v, rule, s, path: says(v not in rule, path),
    "pattern": lambda v, rule, s, path: says(isinstance(v, str) and not re.search(rule, v), path),
    "minimum": lambda v, rule, s, path: says(number(v) and v < rule, path),
    "maximum": lambda v, rule, s, path: says(number(v) and v > rule, path),
    "exclusiveMinimum": lambda v, rule, s, path: says(number(v) and v <= rule, path),
    "exclusiveMaximum": lambda v, rule, s, path: says(number(v) and v >= rule, path),
    "minItems": lambda v, rule, s, path: says(isinstance(v, list) and len(v) < rule, path),
    "maxItems": lambda v, rule, s, path: says(isinstance(v, list) and len(v) > rule, path),
    "prefixItems": lambda v, rules, s, path: (
        [e for i, (one, r) in enumerate(zip(v, rules, strict=False)) for e in errors(one, r, f"{path}.{i}")]
        if isinstance(v, list)
        else []
    ),
    "minProperties": lambda v, rule, s, path: says(isinstance(v, dict) and len(v) < rule, path),
    "maxProperties": lambda v, rule, s, path: says(isinstance(v, dict) and len(v) > rule, path),
}


def check(text):
    return errors(YAML(typ="safe", pure=True).load(text), SCHEMA)


def test_the_schema_takes_a_good_recipe():
    assert check(GOOD) == []


def test_the_schema_takes_a_new_recipe():
    assert check(new_recipe(Wish("a", "a/b", "bfcl", is_file=False), "a.yaml")) == []


def test_the_schema_takes_a_weighting_with_a_list_of_two():
    assert check(replaced("type: linear, floor: 0.2", "type: exponential, clip: [0.5, 2]")) == []
    assert check(replaced("type: linear, floor: 0.2", "type: exponential, clip: [0.5, 2, 3]"))
    assert check(replaced("type: linear, floor: 0.2", "type: exponential, clip: [0.5, two]"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_schema_takes_every_recipe_of_the_repository(path):
    assert check(path.read_text()) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 7", "sead: 7"),
        ("steps: 60", "steps: sixty"),
        ("floor: 0.2", "flor: 0.2"),
        ("test: 150", "test: 0"),
        ("recipe: good", "recipe: Good"),
        ("compare:", "compere:"),
        ("{type: bfcl}", "{type: bfc}"),
        ("rows: data.train, ", ""),
    ],
)
def test_the_schema_refuses_what_loading_refuses(old, new):
    assert check(replaced(old, new))


def test_every_property_is_described():
    for name, definition in SCHEMA["$defs"].items():
        for key, rule in definition["properties"].items():
            assert "description" in rule or key == "type", f"{name}.{key}"


def test_it_is_plain_json_of_the_2020_dialect_with_no_dangling_reference():
    text = json.dumps(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert set(re.findall(r"#/\$defs/(\w+)", text)) <= set(SCHEMA["$defs"])

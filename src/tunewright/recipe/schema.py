"""The JSON Schema of a recipe file, as a person writes it: for editors (yaml-language-server) and for agents.

It is made from the same models that validate a recipe. What no schema can say (references, unique ids, files) is
checked by `tw check --static`.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from tunewright.recipe.sections import SECTIONS, Header

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_PATH: Final = ".tunewright/schema.json"  # beside the recipe; the modeline of a new recipe points there
MODELINE: Final = f"# yaml-language-server: $schema=./{SCHEMA_PATH}"


def recipe_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe file: the header, and `stages`, a list of one-key objects."""
    models = [(model, "validation") for model in (Header, *SECTIONS.values())]
    _, combined = models_json_schema(models)  # type: ignore[arg-type]  # a list is invariant in its literals
    definitions = {name: _plain(definition) for name, definition in combined["$defs"].items()}
    header = definitions.pop(Header.__name__)
    return {
        "$schema": DIALECT,
        "title": "Tunewright recipe",
        "description": "A header and a list of stages, which run from top to bottom.",
        "type": "object",
        "properties": {**header["properties"], "stages": _stages()},
        "required": [*header["required"], "stages"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _stages() -> dict[str, Any]:
    """Describe the list of stages. One object with all kinds, of which one is given: so editors offer the kinds."""
    return {
        "type": "array",
        "minItems": 1,
        "description": "the stages; each reads what those above it made",
        "items": {
            "type": "object",
            "properties": {kind: _stage(section) for kind, section in SECTIONS.items()},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
        },
    }


def _stage(section: type) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{section.__name__}", "description": inspect.cleandoc(section.__doc__ or "")}


def _plain(node: Any) -> Any:
    """Drop the titles pydantic makes up. A property that is itself called `title` has a mapping there, and stays."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if key != "title" or not isinstance(value, str)}
    return [_plain(item) for item in node] if isinstance(node, list) else node

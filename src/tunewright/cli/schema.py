"""`tw schema`: the JSON Schema of recipes, for editors and agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tunewright.artifacts.files import make_folder, write_text
from tunewright.recipe.schema import recipe_schema


def schema(
    output: Annotated[Path | None, typer.Option(help="write it to this file instead of printing it")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON it is anyway; makes errors JSON too")] = False,
) -> None:
    """Print the JSON Schema of a recipe file (draft 2020-12)."""
    if output is None:
        print(schema_text(), end="")
    else:
        save_schema(output)


def schema_text() -> str:
    """Return the schema as indented JSON."""
    return json.dumps(recipe_schema(), indent=2, ensure_ascii=False) + "\n"


def save_schema(path: Path) -> None:
    """Write the schema to `path`; its folder is made."""
    make_folder(path.parent)
    write_text(path, schema_text())

"""`tw schema`: the JSON Schema of recipes, for editors and agents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunewright.artifacts.files import make_folder, write_json
from tunewright.cli.tables import print_json
from tunewright.recipe.schema import recipe_schema


def schema(
    output: Annotated[Path | None, typer.Option(help="write it to this file instead of printing it")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="JSON it is anyway; with --output, where it is")] = False,
) -> None:
    """Print the JSON Schema of a recipe file (draft 2020-12)."""
    if output is None:
        print_json(recipe_schema())
        return
    save_schema(output)
    if json_output:
        print_json({"schema": str(output)})


def save_schema(path: Path) -> None:
    """Write the schema to `path`; its folder is made."""
    make_folder(path.parent)
    write_json(path, recipe_schema())

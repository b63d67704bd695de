"""`tw init`: write a new recipe, commented, with completion and checks in the editor.

writes    the recipe, and `.tunewright/schema.json` beside it, which the recipe's first line points to
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tunewright.artifacts.files import make_folder, write_text
from tunewright.cli.schema import save_schema
from tunewright.errors import UserError
from tunewright.recipe.data_sections import ENDINGS
from tunewright.recipe.links import MODEL_FORMS, model_problem
from tunewright.recipe.scaffold import (
    EXAMPLE_DATASET,
    EXAMPLE_MODEL,
    Wish,
    is_file_name,
    new_recipe,
    recipe_name,
    shell_word,
)
from tunewright.recipe.schema import SCHEMA_PATH
from tunewright.recipe.sections import is_name

EXAMPLE_COMMAND = f"tw init --model {EXAMPLE_MODEL} --dataset {EXAMPLE_DATASET}"
DATASET_FORMS = f"bfcl, a file ({', '.join(ENDINGS)}), or owner/name on the hub"


def init(
    path: Annotated[Path, typer.Argument(help="the file to write")] = Path("recipe.yaml"),
    model: Annotated[str | None, typer.Option(help="alias, folder, .gguf file, or owner/name on the hub")] = None,
    dataset: Annotated[str | None, typer.Option(help=DATASET_FORMS)] = None,
    name: Annotated[str | None, typer.Option(help="name of the recipe; default: made from the file's name")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="optimizer steps of the training")] = None,
    epochs: Annotated[float | None, typer.Option(help="passes over the rows; default 3")] = None,
    entropy_aware: Annotated[bool, typer.Option("--entropy-aware", help="weigh tokens by their entropy")] = False,
    force: Annotated[bool, typer.Option("--force", help="overwrite the file if it is there")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Write a new recipe. On a terminal it asks for what the flags do not say."""
    target = Target(path, force)
    target.require_free()
    _one_length(steps, epochs)
    chosen = _model(_given("--model", model, EXAMPLE_MODEL))
    typed = _dataset(_given("--dataset", dataset, EXAMPLE_DATASET))
    wish = Wish(
        name=_name(name, path),
        model=chosen,
        dataset=target.from_recipe(typed),
        is_file=is_file_name(typed),
        steps=steps,
        epochs=epochs,
        entropy_aware=entropy_aware,
    )
    target.write(new_recipe(wish, str(path)))
    _say(path, target.schema, json_output)


@dataclass(frozen=True)
class Target:
    """Where the new recipe goes."""

    path: Path
    force: bool

    @property
    def schema(self) -> Path:
        """The schema file beside the recipe."""
        return self.path.parent / SCHEMA_PATH

    def require_free(self) -> None:
        """Raise UserError if the file is there and may not be overwritten."""
        if self.path.is_dir():
            raise UserError("this is a folder", where=str(self.path), fix=f"tw init {self.path / 'recipe.yaml'}")
        if self.path.exists() and not self.force:
            raise UserError("this file is there already", where=str(self.path), fix="another name, or --force")

    def from_recipe(self, dataset: str) -> str:
        """Return a file's path as it stands in the recipe: from the recipe's folder."""
        if not is_file_name(dataset):
            return dataset
        return as_recipe_text(Path(os.path.relpath(dataset, self.path.parent)).as_posix(), "--dataset")

    def write(self, text: str) -> None:
        """Write the recipe and the schema."""
        make_folder(self.path.parent)
        write_text(self.path, text)
        save_schema(self.schema)


def _given(flag: str, value: str | None, example: str) -> str:
    """Return the flag's value, else ask for it on a terminal."""
    if value is not None:
        return value
    if not sys.stdin.isatty():
        raise UserError(f"{flag} is missing", where="tw init", fix=EXAMPLE_COMMAND)
    return str(typer.prompt(flag.removeprefix("--"), default=example, err=True))


def _name(name: str | None, path: Path) -> str:
    stem = path.stem if path.stem != "recipe" else path.absolute().parent.name
    chosen = recipe_name(stem) if name is None else name
    if not is_name(chosen):
        expected = "small letters, digits, - and _, a letter first"
        raise UserError(f"`{chosen}` cannot name a recipe", where="--name", expected=expected)
    return chosen


def _one_length(steps: int | None, epochs: float | None) -> None:
    if steps is not None and epochs is not None:
        raise UserError("--steps and --epochs are both given", where="tw init", expected="one of the two")
    require_epochs(epochs)


def require_epochs(epochs: float | None) -> None:
    """Raise UserError unless `--epochs` is left out or a number of passes: above 0, and not without end."""
    if epochs is not None and not 0 < epochs < float("inf"):
        raise UserError(f"--epochs is {epochs:g}", where="--epochs", expected="a number above 0")


def as_recipe_text(text: str, flag: str) -> str:
    """Return `text`, unless it is a name whose bytes are not UTF-8: a recipe is UTF-8 text and cannot hold it.

    Raises:
        UserError: it is such a name.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"the name {shell_word(text)} is not UTF-8", where=flag, expected="a name that UTF-8 text can hold",
            fix="rename the file or folder, or make a link with another name",
        ) from None  # fmt: skip
    return text


def _model(model: str) -> str:
    if found := model_problem(as_recipe_text(model, "--model")):
        fix = f"--model {found[1]}" if found[1] else None
        raise UserError(found[0], where="--model", expected=MODEL_FORMS, fix=fix)
    return model


def _dataset(dataset: str) -> str:
    if is_file_name(dataset) and not Path(dataset).is_file():
        raise UserError(f"there is no file `{dataset}`", where="--dataset", expected=DATASET_FORMS)
    if dataset != EXAMPLE_DATASET and not is_file_name(dataset) and "/" not in dataset and not Path(dataset).is_dir():
        raise UserError(f"`{dataset}` is no known data set", where="--dataset", expected=DATASET_FORMS)
    return dataset


def _say(path: Path, schema: Path, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"recipe": str(path), "schema": str(schema)}))
    else:
        print(f"wrote {shell_word(str(path))}\nnext: tw check {shell_word(str(path))}")

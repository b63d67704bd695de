"""`tw finetune`: model and data in, tuned model and proof out.

It writes the recipe it stands for, shows it, and runs it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunewright.artifacts.files import make_folder, write_text
from tunewright.cli.init import DATASET_FORMS, as_recipe_text, require_epochs
from tunewright.cli.run import carry_out
from tunewright.errors import UserError
from tunewright.recipe.load import load_recipe
from tunewright.recipe.scaffold import Wish, finetune_recipe, is_file_name, recipe_name, shell_word

MARK = "# Written by `tw finetune`, which writes it anew each time: copy it before you change it.\n"


def finetune(
    model: Annotated[str, typer.Option("--model", help="alias, folder, GGUF file or hub id")],
    dataset: Annotated[str, typer.Option("--dataset", help=DATASET_FORMS)],
    entropy_aware: Annotated[bool, typer.Option("--entropy-aware", help="weigh tokens by the model's doubt")] = False,
    epochs: Annotated[float | None, typer.Option("--epochs", help="passes over the rows; default 3")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="change a field: STAGE.FIELD=VALUE")] = None,
    output: Annotated[Path, typer.Option("--output", help="folder for the recipe and its runs")] = Path("runs"),
    allow: Annotated[list[str] | None, typer.Option("--allow", help="go on though this gate failed")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Fine-tune a model on a data set and prove what it brought. The same command resumes a killed run."""
    require_epochs(epochs)
    name = recipe_name(dataset)
    path = output / f"{name}.yaml"
    is_file = is_file_name(dataset)
    wish = Wish(
        name=name,
        model=as_recipe_text(model, "--model"),  # from the current folder, as in every recipe; only rows start at it
        dataset=_from_folder(dataset, output) if is_file else dataset,
        is_file=is_file,
        epochs=epochs,
        entropy_aware=entropy_aware,
    )
    text = MARK + finetune_recipe(wish)
    _write(path, text)
    print(f"# {shell_word(str(path))}\n{text}", file=sys.stderr)
    carry_out(
        load_recipe(path, set_ or ()), text, output, allow or [], json_output, again="the same `tw finetune` command"
    )


def _from_folder(file: str, folder: Path) -> str:
    """Return `file` as the recipe in `folder` must name it."""
    if not Path(file).exists():
        raise UserError("no such file", where=file, fix="check the path; it is taken from the current folder")
    return as_recipe_text(os.path.relpath(file, folder), "--dataset")


def _write(path: Path, text: str) -> None:
    """Write the recipe; never over one that a person wrote."""
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UserError(
            "another recipe is there already",
            where=str(path),
            fix=f"run it with `tw run {path}`, or choose another folder with --output",
        )
    make_folder(path.parent)
    write_text(path, text)

"""`tw run`: run a recipe; what is done already is reused. The report and the journal are written however it ends."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunewright.artifacts.rundir import RunFolder
from tunewright.errors import EXIT_INTERRUPTED, TunewrightError
from tunewright.pipeline import as_json, run_recipe
from tunewright.recipe.load import load_recipe
from tunewright.recipe.sections import Recipe
from tunewright.reports.gather import Story, headline
from tunewright.reports.journal import write_journal
from tunewright.reports.report import write_report


def run(
    recipe: Annotated[Path, typer.Argument(help="the recipe file")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="change a field: STAGE.FIELD=VALUE")] = None,
    output: Annotated[Path, typer.Option("--output", help="folder that runs are kept in")] = Path("runs"),
    allow: Annotated[list[str] | None, typer.Option("--allow", help="go on though this gate failed")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Run a recipe. The same command goes on where a killed run stopped."""
    loaded = load_recipe(recipe, set_ or ())
    carry_out(loaded, recipe.read_text(encoding="utf-8-sig"), output, allow or [], json_output, again=_command())


def carry_out(recipe: Recipe, text: str, root: Path, allow: list[str], json_output: bool, *, again: str) -> None:
    """Run `recipe`, write report and journal, print the result; `again` is the command that goes on after Ctrl-C."""
    folders: list[RunFolder] = []
    try:
        done = run_recipe(recipe, text=text, root=root, allow=allow, on_folder=folders.append)
    except KeyboardInterrupt:
        print(f"\nstopped; what is done is kept. To go on: {again}", file=sys.stderr)
        with contextlib.suppress(TunewrightError):
            _write_pages(folders)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BaseException:
        with contextlib.suppress(TunewrightError):  # why the run ended is told, not why its pages cannot be written
            _write_pages(folders)
        raise
    _write_pages(folders)
    if json_output:
        print(json.dumps(as_json(done), ensure_ascii=False, indent=2))
    else:
        print(headline(Story(done)))
        print(done.path / "report.html")


def _write_pages(folders: list[RunFolder]) -> None:
    for folder in folders:
        page = write_report(folder)
        write_journal(folder)
        print(f"report: {page}", file=sys.stderr)


def _command() -> str:
    import shlex

    return shlex.join(["tw", *sys.argv[1:]])

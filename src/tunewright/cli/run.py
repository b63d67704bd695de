"""`tw run`: run a recipe; what is done already is reused. The report and the journal are written however it ends."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from tunewright.artifacts.rundir import RunFolder
from tunewright.cli.tables import print_json, print_text
from tunewright.errors import Stopped, TunewrightError
from tunewright.pipeline import as_json, run_recipe
from tunewright.recipe.load import folder_of, parse_recipe, read_text
from tunewright.recipe.scaffold import shell_word
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
    text = read_text(recipe)  # once: a recipe from a pipe can be read no second time
    loaded = parse_recipe(text, str(recipe), folder_of(recipe), set_ or ())
    carry_out(loaded, text, output, allow or [], json_output, again=_command())


def carry_out(recipe: Recipe, text: str, root: Path, allow: list[str], json_output: bool, *, again: str) -> None:
    """Run `recipe`, write report and journal, print the result; `again` is the command that goes on after Ctrl-C.

    Raises:
        Stopped: by Ctrl-C or SIGTERM. Else as `run_recipe`.
    """
    ours: list[RunFolder] = []  # none where another process is writing the run: then its pages are not ours to write
    try:
        done = run_recipe(recipe, text=text, root=root, allow=allow, on_folder=ours.append)
    except BaseException as error:
        with contextlib.suppress(TunewrightError):  # why the run ended is told, not why its pages cannot be written
            _write_pages(ours)
        if isinstance(error, KeyboardInterrupt):
            raise _stopped(ours, again) from None
        raise
    _write_pages(ours)
    if json_output:
        print_json(as_json(done))
    else:
        print_text(f"{headline(Story(done))}\n{done.path / 'report.html'}")


def _stopped(ours: list[RunFolder], again: str) -> Stopped:
    place = str(ours[0].path) if ours else None
    return Stopped("stopped by Ctrl-C; what is done is kept", where=place, fix=f"to go on: {again}")


def _write_pages(folders: list[RunFolder]) -> None:
    for folder in folders:
        page = write_report(folder)
        write_journal(folder)
        print(f"report: {page}", file=sys.stderr)


def _command() -> str:
    return " ".join(["tw", *map(shell_word, sys.argv[1:])])

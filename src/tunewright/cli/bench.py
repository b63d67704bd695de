"""`tw bench`: measure on this machine, before a person waits.

tw bench speed RECIPE      seconds of an optimizer step of the mean size: proceed, usable, or a smaller model
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tunewright.artifacts.verdict import Verdict
from tunewright.cli.check import verdict_lines
from tunewright.cli.rows_of import rows_of
from tunewright.cli.tables import print_json, print_text
from tunewright.errors import EXIT_GATE, UserError
from tunewright.progress import clock
from tunewright.recipe.load import load_recipe

ACTIONS = ("speed",)


def bench(
    words: Annotated[list[str], typer.Argument(metavar="speed RECIPE", help="what to measure, and of what")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="change a field")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Measure on this machine: up to 5 s a step proceed, up to 30 s usable, up to 60 s slow, else a smaller model."""
    if len(words) != 2 or words[0] not in ACTIONS:
        raise UserError(f"`{' '.join(words)}` is nothing to measure", where="tw bench", expected="speed RECIPE")
    measured = _speed(Path(words[1]), set_ or [])
    if json_output:
        print_json({"sections": [{**told, "verdict": verdict.model_dump(mode="json")} for told, verdict in measured]})
    for told, verdict in () if json_output else measured:
        print_text(
            f"{told['section']}: {told['seconds_per_step']:.2f} s a step "
            f"({told['tokens_a_step']:.0f} tokens), {told['tokens_per_second']:.0f} tokens a second, "
            f"about {clock(3600 * told['hours'])} for {told['steps']} steps"
        )
        print_text("\n".join(verdict_lines([verdict])))
    if any(verdict.stops for _, verdict in measured):
        raise typer.Exit(EXIT_GATE)


def _speed(path: Path, overrides: list[str]) -> list[tuple[dict[str, Any], Verdict]]:
    """Return what was measured of each section, and the verdict on it.

    Raises:
        UserError: there is nothing to train, or it does not fit.
    """
    from tunewright.gates.money import speed_is_usable
    from tunewright.models.devices import load_per_core, this_device
    from tunewright.stages.check.money import MOST_STEPS, try_sections

    recipe, found = load_recipe(path, overrides), []
    with rows_of(recipe) as rows:
        for priced in try_sections(recipe, rows, this_device(), MOST_STEPS):
            trial, name = priced.trial, priced.section.id
            if trial.measured is None:
                raise UserError(
                    f"{trial.peak_bytes / 1e9:.1f} GB do not fit", where=name, fix="; or ".join(trial.nearest)
                )
            told = {
                "section": name,
                "steps": trial.planned.steps,
                "seconds_per_step": trial.seconds_per_step,
                "tokens_per_second": trial.measured.tokens_per_second,
                "tokens_a_step": trial.planned.tokens / trial.planned.steps,
                "hours": trial.hours(),
            }
            found.append((told, speed_is_usable(trial.seconds_per_step, load_per_core())))
    if not found:
        raise UserError("nothing is trained on rows of a `data` stage", where=str(path), expected="a stage `sft`")
    return found

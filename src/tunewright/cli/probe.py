"""`tw probe MODEL`: is a model the base, or the assistant, that it is said to be?

tw probe MODEL                       measure and grade: BASE, INSTRUCT-EXPOSED or INSTRUCT
tw probe MODEL --set expect=base     and end with exit code 1 unless it is one

What a recipe's `probe` section can say is set with `--set`, by its names.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from tunewright.cli.references import MODEL_FORMS, find_model
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import EXIT_GATE
from tunewright.recipe.scaffold import quoted

if TYPE_CHECKING:
    from tunewright.artifacts.probed import Probed, ProbeResult
    from tunewright.artifacts.verdict import Verdict
    from tunewright.recipe.sections import ProbeSection

HEAD = ("probe", "measured", "95% interval", "sign from", "strong from", "")
RIGHT = (1, 3, 4)


def probe(
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_FORMS, show_default=False)],
    set_: Annotated[list[str] | None, typer.Option("--set", help="a field of `probe`: expect=base")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="folder to keep probe.json and answers.jsonl in")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Find out what a model is, by what it does with prompts that only an instruction-tuned one should answer.

    Ends with exit code 1 if it is not what `expect` says.
    """
    section = _section(model, set_ or ())
    with TemporaryDirectory() as temporary:
        result, verdict = _probe(model, section, output or Path(temporary))
    if json_output:
        print_json({**result.model_dump(mode="json"), "verdict": verdict.model_dump(mode="json")})
    else:
        _print(result, verdict)
    if verdict.stops:
        raise typer.Exit(EXIT_GATE)


def _section(model: str, overrides: Sequence[str]) -> ProbeSection:
    """Return the `probe` section that the command line stands for.

    Raises:
        RecipeError: a `--set` that no such section can have, with what was probably meant.
    """
    from tunewright.recipe.load import parse_recipe

    text = f"recipe: probe\nmodel: {quoted(find_model(model).base)}\nseed: 7\nstages:\n  - probe: {{}}\n"
    recipe = parse_recipe(text, "tw probe", Path(), [f"probe.{override}" for override in overrides])
    section: ProbeSection = recipe.stages[0][1]
    return section


def _probe(model: str, section: ProbeSection, out: Path) -> tuple[Probed, Verdict]:
    from tunewright.artifacts.context import RunContext
    from tunewright.artifacts.files import make_folder
    from tunewright.cli.evaluating import adapter_of
    from tunewright.models.find import model_identity
    from tunewright.stages.probe.stage import probe as probe_stage

    found, context = find_model(model), RunContext(quiet=True)
    adapter = adapter_of(found, model_identity(found.base)) if found.adapter else None
    result = probe_stage(section, make_folder(out), context, adapter)
    return result, context.verdicts[0]


# ── what is printed ─────────────────────────────────────────────────────────────────────────────────────────────────


def _print(result: Probed, verdict: Verdict) -> None:
    print_table(HEAD, [_cells(one, result) for one in result.results], RIGHT)
    opening = f"; {result.opening} in front, as its tokenizer puts it" if result.opening else ""
    print_text(f"\nplain prompts without special tokens{opening}; chat form: {result.form}")
    print_text(f"{verdict.status}: {verdict.measured}")
    if verdict.remedy:
        print_text(f"  expected: {verdict.bound}\n  to do: {verdict.remedy}")


def _cells(one: ProbeResult, result: Probed) -> list[str]:
    from tunewright.gates.probe import BOUNDS, shown

    bounds = BOUNDS.get(one.name)
    as_rate = one.successes is not None
    told = [_number(bounds.sign, as_rate), _number(bounds.strong, as_rate)] if bounds else ["", ""]
    interval = f"{_number(one.low, as_rate)} to {_number(one.high, as_rate)}"
    mark = "sign" if one.name in result.signs else ""
    return [one.name, shown(one), interval, *told, mark]


def _number(value: float, as_rate: bool) -> str:
    return f"{value:.0%}" if as_rate else f"{value:+.2f}"

"""`tw check`: what is wrong with a recipe, before anything is spent.

With `--static` only the recipe is read: keys, types, references, files, and what its design can show. Without it the
model and the rows are looked at too (`pipeline.preflight`).
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from tunewright.artifacts.verdict import Status, Verdict
from tunewright.cli.tables import print_json, print_text
from tunewright.errors import EXIT_GATE, TunewrightError
from tunewright.gates.design import judge_design
from tunewright.recipe.links import reference_fields
from tunewright.recipe.load import load_recipe
from tunewright.recipe.sections import MAKES, PARTS, Recipe, StageSection

GC_THRESHOLD = 100_000  # imports are most of it, and make no garbage: to look for it seldom saves an eighth


def check(
    recipe: Annotated[Path, typer.Argument(help="the recipe file")],
    static: Annotated[bool, typer.Option("--static", help="read the recipe only; needs no model")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="change a field")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Find what is wrong with a recipe: all its mistakes at once, each with its place and what was meant."""
    loaded = load_recipe(recipe, set_ or ())
    verdicts = judge_design(loaded) if static else list[Verdict]()
    try:
        if not static:
            _preflight(loaded, verdicts)
    except TunewrightError:
        if not json_output:
            print_text("\n".join(_in_short(verdicts)))
        raise
    if json_output:
        print_json(_as_json(loaded, verdicts))
    else:
        print_text("\n".join([*plan_lines(loaded), *_in_short(verdicts)]))
    if any(verdict.stops for verdict in verdicts):
        raise typer.Exit(EXIT_GATE)


def _preflight(recipe: Recipe, verdicts: list[Verdict]) -> None:
    gc.set_threshold(GC_THRESHOLD)
    from tunewright.pipeline import preflight  # looks at models and rows: --static must not pay for its imports

    preflight(recipe, verdicts)


# ── the plan ────────────────────────────────────────────────────────────────────────────────────────────────────────


def plan_lines(recipe: Recipe) -> list[str]:
    """Return the stages of a recipe as lines: number, id, kind, what each reads and makes."""
    plan = _plan(recipe)
    head = f"{recipe.recipe}: {len(plan)} stages, model {recipe.model}, seed {recipe.seed}"
    wide = {key: max(len(stage[key]) for stage in plan) for key in ("id", "kind", "makes")}
    return [head, *(_plan_line(number, stage, wide) for number, stage in enumerate(plan, 1))]


def _plan_line(number: int, stage: dict[str, Any], wide: dict[str, int]) -> str:
    columns = [f"{stage[key]:<{width}}" for key, width in wide.items()]
    reads = f"from {', '.join(stage['reads'])}" if stage["reads"] else ""
    return f"  {number:>2}  {'  '.join(columns[:2])}  makes {columns[2]}  {reads}".rstrip()


def _plan(recipe: Recipe) -> list[dict[str, Any]]:
    ids = recipe.ids()
    return [
        {"id": section.id, "kind": kind, "makes": _makes(kind, section), "reads": _reads(section, ids)}
        for kind, section in recipe.stages
    ]


def _makes(kind: str, section: StageSection) -> str:
    parts = PARTS.get(kind, ())
    return ", ".join(f"{section.id}.{part}" for part in parts) or MAKES[kind]


def _reads(section: StageSection, ids: list[str]) -> list[str]:
    """Return the references of a section to other stages; a model that is no stage is none."""
    values = [getattr(section, name) for name in reference_fields(type(section))]
    flat = [item for value in values for item in (value if isinstance(value, tuple) else (value,))]
    return [item for item in flat if item is not None and item.partition(".")[0] in ids]


# ── the verdicts ────────────────────────────────────────────────────────────────────────────────────────────────────


def verdict_lines(verdicts: list[Verdict]) -> list[str]:
    """Return verdicts as lines: status, name, what was measured and the bound; the remedy below."""
    lines = []
    for verdict in verdicts:
        lines.append(f"{verdict.status:<7} {verdict.name}: {verdict.measured} (bound: {verdict.bound})")
        lines += [f"        {verdict.remedy}"] if verdict.remedy else []
    return lines


def _in_short(verdicts: list[Verdict]) -> list[str]:
    """Return lines for what did not pass, and how many did."""
    bad = [verdict for verdict in verdicts if verdict.status is not Status.PASSED]
    passed = len(verdicts) - len(bad)
    return [*verdict_lines(bad), *([f"{passed} gate{'s' * (passed != 1)} PASSED"] if passed else [])]


def _as_json(recipe: Recipe, verdicts: list[Verdict]) -> dict[str, Any]:
    return {
        "recipe": recipe.resolved(),
        "plan": _plan(recipe),
        "verdicts": [verdict.model_dump(mode="json") for verdict in verdicts],
    }

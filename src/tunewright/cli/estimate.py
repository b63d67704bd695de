"""`tw estimate`: what training takes, before it takes it.

tw estimate RECIPE      memory by the config, then three real steps here: peak, tokens a second, hours
tw estimate MODEL       memory by the config alone: LoRA, QLoRA and full fine-tuning, with and without checkpointing

`--gpus` adds the devices of the catalogue: what fits, and hours and USD by the FLOPs, which is an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunewright.artifacts.verdict import Verdict
from tunewright.cli.check import verdict_lines
from tunewright.cli.rows_of import rows_of
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import EXIT_GATE, UserError
from tunewright.progress import clock
from tunewright.recipe.links import MODEL_FORMS, model_problem
from tunewright.recipe.load import load_recipe, parse_recipe
from tunewright.recipe.scaffold import quoted
from tunewright.recipe.sections import DataSection, EvaluateSection, Recipe, SftSection

if TYPE_CHECKING:
    from tunewright.models.estimate import Memory, Training
    from tunewright.models.shape import Shape
    from tunewright.stages.check.money import Priced

GB = 10**9
# What is asked of a model alone; `--set` changes it as in a recipe.
ALONE = """\
recipe: estimate
model: {model}
stages:
  - data: {{sources: [{{type: bfcl}}], max_tokens: 1024}}
  - sft: {{rows: data.train, epochs: 1}}
"""
MILLION = 1_000_000
ANSWER_TOKENS = 128  # the longest answer of most suites


def estimate(
    what: Annotated[str, typer.Argument(metavar="RECIPE|MODEL", help="a recipe, or a model: folder, alias, hub id")],
    gpus: Annotated[bool, typer.Option("--gpus", help="add GPUs to rent: what fits, hours, USD")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="STAGE.FIELD=VALUE", help="change a field")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Say what training takes: memory from the config, time from a few real steps, USD from a dated catalogue."""
    told, verdicts = _recipe(Path(what), gpus, set_ or []) if _is_recipe(what) else _model(what, gpus, set_ or [])
    if json_output:
        print_json({**told, "verdicts": [verdict.model_dump(mode="json") for verdict in verdicts]})
    else:
        _print(told, verdicts)
    if any(verdict.stops for verdict in verdicts):
        raise typer.Exit(EXIT_GATE)


def _is_recipe(what: str) -> bool:
    return what.endswith((".yaml", ".yml")) or (Path(what).is_file() and not what.endswith(".gguf"))


# ── a recipe ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _recipe(path: Path, gpus: bool, overrides: list[str]) -> tuple[dict[str, Any], list[Verdict]]:
    """Return what a recipe's training takes; runs three steps of each section.

    Raises:
        UserError: it trains nothing.
    """
    from tunewright.models.devices import this_device
    from tunewright.stages.check.money import MOST_STEPS, budget_verdicts, try_sections, verdicts_on

    recipe, device = load_recipe(path, overrides), this_device()
    with rows_of(recipe) as rows:
        priced = try_sections(recipe, rows, device, MOST_STEPS)
    if not priced:
        raise UserError("nothing is trained on rows of a `data` stage", where=str(path), expected="a stage `sft`")
    verdicts = [verdict for one in priced for verdict in verdicts_on(one, device)]
    verdicts += budget_verdicts(recipe.budget, [one.hours() for one in priced], device)
    return {"device": device.name, "sections": [_section(one, gpus) for one in priced]}, verdicts


def _section(priced: Priced, gpus: bool) -> dict[str, Any]:
    from tunewright.models.estimate import training_memory
    from tunewright.models.find import tokenizer_folder
    from tunewright.models.shape import read_shape
    from tunewright.stages.sft.size import training_of

    section, trial, hours = priced.section, priced.trial, priced.hours()
    shape = read_shape(tokenizer_folder(str(section.model)))
    training = training_of(trial.planned.longest, trial.planned.packed, section)
    told = {
        "section": section.id,
        "parameters": shape.parameters,
        "planned": trial.planned.model_dump(),
        "memory": _bytes(training_memory(shape, training)),
        "measured": trial.measured.model_dump() if trial.measured else None,
        "tokens_per_second": trial.measured.tokens_per_second if trial.measured else None,
        "hours": None if hours is None else [hours.low, hours.expected, hours.high],
        "flops": trial.flops,
    }
    return {**told, "gpus": _on_gpus(shape, training, section, trial.planned.tokens)} if gpus else told


def _bytes(memory: Memory) -> dict[str, Any]:
    return {"peak": memory.peak, "low": memory.low, "high": memory.high, "parts": dict(memory.parts)}


def _on_gpus(shape: Shape, training: Training, section: SftSection, tokens: int) -> list[dict[str, Any]]:
    """Return what each device of the catalogue would take for `tokens`, cheapest first; hours follow from FLOPs."""
    from tunewright.models.devices import catalogue
    from tunewright.models.estimate import training_memory
    from tunewright.models.flops import gpu_hours, training_flops

    precision = "bfloat16" if section.precision == "auto" else section.precision
    there = replace(training, device="cuda", precision=precision)
    memory, flops = training_memory(shape, there), training_flops(shape, there, tokens)
    found = []
    for gpu in catalogue():
        fewest, most = gpu_hours(flops, gpu)
        found.append(
            {
                **gpu.model_dump(),
                "peak": memory.peak,
                "high": memory.high,
                "fits": memory.high <= gpu.memory_bytes,
                "hours": [fewest, most],
                "usd": [fewest * gpu.price.community, most * gpu.price.secure],
            }
        )
    return found


# ── a model alone ───────────────────────────────────────────────────────────────────────────────────────────────────


def _model(model: str, gpus: bool, overrides: list[str]) -> tuple[dict[str, Any], list[Verdict]]:
    """Return what training a model would take, by its config."""
    from tunewright.models.devices import this_device
    from tunewright.models.estimate import training_memory
    from tunewright.models.find import tokenizer_folder
    from tunewright.models.shape import read_shape

    if found := model_problem(model):
        fix = f"tw estimate {found[1]}" if found[1] else "check the name"
        raise UserError(found[0], where="tw estimate", expected=f"{MODEL_FORMS}; or a recipe (.yaml)", fix=fix)
    recipe = parse_recipe(ALONE.format(model=quoted(model)), "tw estimate", Path(), overrides)
    shape, device = read_shape(tokenizer_folder(model)), this_device()
    data, section = _sections(recipe)
    training = _at_full_batches(shape, data, section, device.kind)
    variants = [
        {"method": method, "checkpointing": checkpointing, **_bytes(training_memory(shape, settings))}
        for method in ("lora", "qlora", "full")
        for checkpointing in (False, True)
        for settings in [replace(training, method=method, checkpointing=checkpointing)]
    ]
    told: dict[str, Any] = {
        "model": model,
        "parameters": shape.parameters,
        "device": device.name,
        "available": device.memory_bytes,
        "batch_size": section.batch_size,
        "row_tokens": training.row_tokens,
        "precision": training.precision,
        "variants": [*variants, _generating(shape, training)],
    }
    if gpus:
        told["gpus"] = _on_gpus(shape, training, section, MILLION)
    return told, []


def _generating(shape: Shape, training: Training) -> dict[str, Any]:
    """Return what answering takes: rows and answers of an evaluation's usual size, with their keys and values."""
    from tunewright.models.estimate import generation_memory

    rows = EvaluateSection.model_fields["batch_size"].default
    memory = generation_memory(shape, rows, training.row_tokens + ANSWER_TOKENS, training.precision, training.device)
    return {"method": f"generate, {rows} rows", "checkpointing": False, **_bytes(memory)}


def _sections(recipe: Recipe) -> tuple[DataSection, SftSection]:
    sections = [section for _, section in recipe.stages]
    return (
        next(one for one in sections if isinstance(one, DataSection)),
        next(one for one in sections if isinstance(one, SftSection)),
    )


def _at_full_batches(shape: Shape, data: DataSection, section: SftSection, kind: str) -> Training:
    """Return the settings with every row as long as rows may be, and all of it trained."""
    from tunewright.models.estimate import Training
    from tunewright.models.precision import resolve_precision

    row_tokens = min(data.max_tokens or 1024, shape.context or 10**9)
    tokens = section.batch_size * row_tokens
    return Training(
        rank=section.lora.rank,
        targets=section.lora.targets,
        precision=resolve_precision(section.precision),
        batch_size=section.batch_size,
        accumulation=section.gradient_accumulation,
        row_tokens=row_tokens,
        tokens=tokens,
        trained_tokens=tokens,
        packed=not shape.windows and not shape.experts,
        device="cuda" if kind == "cuda" else "cpu",
    )


# ── for a person ────────────────────────────────────────────────────────────────────────────────────────────────────


def _print(told: dict[str, Any], verdicts: Sequence[Verdict]) -> None:
    if "variants" in told:
        _print_model(told)
    for section in told.get("sections", ()):
        _print_section(section, told["device"])
    for of in (told, *told.get("sections", ())):
        if "gpus" in of:
            _print_gpus(of["gpus"], "a million tokens" if "variants" in told else of["section"])
    if verdicts:
        print_text("\n".join(["", *verdict_lines(list(verdicts))]))


def _print_section(section: dict[str, Any], device: str) -> None:
    planned, memory, measured = section["planned"], section["memory"], section["measured"]
    rows = "packed" if planned["packed"] else "padded"
    print_text(
        f"{section['section']} on {device}: {section['parameters'] / 1e6:.0f}M parameters, {planned['steps']} steps, "
        f"{planned['tokens']:,} tokens, longest forward pass {planned['longest']['tokens']} tokens, {rows}"
    )
    print_text(f"  memory  {_interval(memory)} estimated: " + _parts(memory["parts"]))
    if measured:
        low, expected, high = (clock(3600 * hours) for hours in section["hours"])
        print_text(f"          {measured['peak_bytes'] / GB:.2f} GB measured in {len(measured['seconds'])} steps")
        speed = f"{section['tokens_per_second']:.0f} tokens a second"
        print_text(f"  time    {expected} ({low} to {high}) at {speed}, measured")


def _print_model(told: dict[str, Any]) -> None:
    print_text(
        f"{told['model']}: {told['parameters'] / 1e6:.0f}M parameters; {told['batch_size']} rows of "
        f"{told['row_tokens']} tokens a pass, {told['precision']}; {told['available'] / GB:.1f} GB free on "
        f"{told['device']}"
    )
    print_table(
        ["method", "checkpointing", "peak, GB", "interval", "fits here", "of that"],
        [
            [
                one["method"],
                "yes" if one["checkpointing"] else "no",
                f"{one['peak'] / GB:.1f}",
                f"{one['low'] / GB:.1f} to {one['high'] / GB:.1f}",
                "yes" if one["high"] <= told["available"] else "no",
                _parts(one["parts"]),
            ]
            for one in told["variants"]
        ],
        right=(2,),
    )
    print_text(
        "qlora and full are estimates only: the stage `sft` trains LoRA; generate was held against no measurement"
    )


def _print_gpus(gpus: list[dict[str, Any]], what: str) -> None:
    from tunewright.models.flops import UTILIZATION

    print_text(
        f"\n{what} on one GPU: {gpus[0]['peak'] / GB:.1f} GB (up to {gpus[0]['high'] / GB:.1f}); hours from FLOPs at "
        f"{UTILIZATION[0]:.0%} to {UTILIZATION[1]:.0%} of the data sheet: an estimate, not a measurement"
    )
    print_table(
        ["GPU", "GB", "fits", "time", "USD/h", "USD", "price of"],
        [
            [
                gpu["name"],
                str(gpu["memory"]),
                "yes" if gpu["fits"] else "no",
                " to ".join(clock(3600 * hours) for hours in gpu["hours"]),
                f"{gpu['price']['community']:.2f} to {gpu['price']['secure']:.2f}",
                " to ".join(f"{usd:.2f}" for usd in gpu["usd"]),
                gpu["date"],
            ]
            for gpu in gpus
        ],
        right=(1,),
    )


def _interval(memory: dict[str, Any]) -> str:
    return f"{memory['peak'] / GB:.2f} GB ({memory['low'] / GB:.2f} to {memory['high'] / GB:.2f})"


def _parts(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {size / GB:.2f}" for name, size in parts.items() if size >= 0.005 * GB)

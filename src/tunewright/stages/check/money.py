"""What a recipe will cost, and whether it may: memory, hours and USD of its training, before the first step.

The same trial says what the model makes of the rows: a loss that is a number, and text that it can read.

reads    a recipe, and the rows that its `sft` sections train on
makes    verdicts: `fits_memory`, `estimate_holds`, `speed_is_usable`, `fits_budget`, `price_is_known`,
         `first_loss_is_finite`, `model_reads_the_rows`

The trial runs as a process of its own: `trials.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import Rows
from tunewright.artifacts.files import JsonlAppender
from tunewright.artifacts.spending import Purse
from tunewright.artifacts.trial import Measured, Trial
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import EXIT_BUG, DataError, EnvironmentProblem
from tunewright.gates.model import first_loss_is_finite, model_reads_the_rows
from tunewright.gates.money import (
    Cost,
    estimate_holds,
    fits_budget,
    fits_memory,
    hours_with_interval,
    price_is_known,
    speed_is_usable,
)
from tunewright.models.devices import Device, load_per_core, this_device
from tunewright.progress import task
from tunewright.recipe.sections import Budget, Recipe, SftSection
from tunewright.stages.check.trials import TooLong, drop, warm

CHECK_STEPS = 2  # one to warm up, one to measure: `tw check` is to be quick
MOST_STEPS = 3
MOST_SECONDS = 900.0  # a few steps that take longer are their own answer


@dataclass(frozen=True)
class Priced:
    """A section of training with its trial."""

    section: SftSection
    trial: Trial

    def hours(self, done_share: float = 0.0) -> Cost | None:
        """Return the hours of what is still to do; None where nothing was measured."""
        hours = self.trial.hours(1 - done_share)
        return None if hours is None else hours_with_interval(hours)


def check_money(
    recipe: Recipe, rows: Mapping[str, Rows], *, steps: int = CHECK_STEPS, device: Device | None = None
) -> list[Verdict]:
    """Return what the gates say of the cost of a recipe's training.

    Args:
        recipe: resolved.
        rows: what the references of the recipe stand for: `data.train` -> rows. Sections whose rows are not there are
            left out: an earlier stage has yet to make them.
        steps: of the trial of each section, 0 to 3; with 0 only memory is judged.
        device: to judge by; default: the one at hand.

    Raises:
        DataError, ModelError: as the stage would. EnvironmentProblem: the trial died.
    """
    here = device or this_device()
    priced = try_sections(recipe, rows, here, steps)
    verdicts = [verdict for one in priced for verdict in verdicts_on(one, here)]
    return [*verdicts, *budget_verdicts(recipe.budget, [one.hours() for one in priced], here)]


@contextmanager
def begun_trial(recipe: Recipe, rows: Mapping[str, Rows], device: Device, steps: int = CHECK_STEPS) -> Iterator[None]:
    """Let the first trial of `check_money` with these arguments get ready, as long as the block lasts."""
    section = next(iter(_sections(recipe, rows)), None)
    if section is not None:
        warm().begin(_job(rows[section.rows], section, steps, device))
    try:
        yield
    finally:
        drop()


def _sections(recipe: Recipe, rows: Mapping[str, Rows]) -> list[SftSection]:
    return [section for kind, section in recipe.stages if kind == "sft" and section.rows in rows]


def try_sections(recipe: Recipe, rows: Mapping[str, Rows], device: Device, steps: int) -> list[Priced]:
    """Run the trial of each `sft` section whose rows are there."""
    return [
        Priced(section, run_trial(rows[section.rows], section, steps, device)) for section in _sections(recipe, rows)
    ]


def verdicts_on(priced: Priced, device: Device) -> list[Verdict]:
    """Return what the gates say of one section, the budget aside."""
    trial, name = priced.trial, priced.section.id or "sft"
    peak = (trial.peak_bytes, trial.low_bytes, trial.high_bytes)
    verdicts = [fits_memory(*peak, device.name, device.memory_bytes, trial.nearest, name)]
    if trial.measured is not None:
        verdicts.append(estimate_holds(trial.measured.peak_bytes, *trial.tried_bytes))
        verdicts.append(speed_is_usable(trial.seconds_per_step, load_per_core()))
        verdicts += first_steps(trial.measured)
    return verdicts


def first_steps(measured: Measured) -> list[Verdict]:
    """Return what the gates say of the model by the steps of its trial."""
    finite = first_loss_is_finite(measured.losses)
    return [finite] if finite.stops else [finite, model_reads_the_rows(measured.reading)]


# ── the budget ──────────────────────────────────────────────────────────────────────────────────────────────────────


def budget_verdicts(
    budget: Budget | None, hours: Sequence[Cost | None], device: Device, spent_hours: float = 0.0
) -> list[Verdict]:
    """Hold hours of training against a recipe's budget; nothing where there is none, or nothing was measured.

    Args:
        budget: of the recipe.
        hours: of each section, None where nothing was measured.
        device: whose price counts.
        spent_hours: by this run so far.
    """
    if budget is None:
        return []
    price = usd_per_hour(budget, device)
    verdicts = [] if budget.usd is None else [price_is_known(price, device.name)]
    known = [cost for cost in hours if cost is not None]
    if not known or len(known) < len(hours):
        return verdicts
    total = Cost(*(sum(getattr(cost, name) for cost in known) for name in ("low", "expected", "high")))
    verdict = fits_budget(
        total,
        None if price is None else total.times(price, price),
        most_hours=budget.hours,
        most_usd=budget.usd,
        spent_hours=spent_hours,
        spent_usd=spent_hours * (price or 0.0),
    )
    return [*verdicts, verdict]


def training_costs(budget: Budget, section: SftSection, rows: Rows, folder: Path, purse: Purse) -> list[Verdict]:
    """Hold the training that comes next against what is left; a trial of a few steps says how long it will take.

    Args:
        budget: of the recipe.
        section: that is to be trained.
        rows: of it.
        folder: of the stage: what an earlier attempt did there is not to do again.
        purse: what the run has taken so far.
    """
    device = this_device()
    trial = run_trial(rows, section, CHECK_STEPS, device)
    hours = trial.hours(1 - min(1.0, steps_done(folder) / trial.planned.steps))
    costs = [None if hours is None else hours_with_interval(hours)]
    return budget_verdicts(budget, costs, device, purse.spent_hours)


def steps_done(folder: Path) -> int:
    """Return the last step that an earlier attempt has logged in `folder`; 0 where there was none."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return 0
    with JsonlAppender(path) as log:  # a line that a kill cut short is none
        return max((int(row["step"]) for row in log.existing), default=0)


def usd_per_hour(budget: Budget, device: Device) -> float | None:
    """Return what an hour costs: as the recipe says, else the highest price of such a device in the catalogue."""
    if budget.usd_per_hour is not None:
        return budget.usd_per_hour
    return None if device.usd_per_hour is None else device.usd_per_hour[1]


def purse_of(budget: Budget | None, spent_hours: float) -> Purse | None:
    """Return what a run may still take; its clock starts now."""
    if budget is None:
        return None
    price = None if budget.usd is None else usd_per_hour(budget, this_device())
    return Purse(budget.hours, budget.usd, price, spent_hours)


# ── the trial ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _job(rows: Rows, section: SftSection, steps: int, device: Device) -> dict[str, Any]:
    fields = section.model_dump(mode="json")
    return {"rows": str(rows.path), "section": fields, "steps": min(steps, MOST_STEPS), "limit": device.memory_bytes}


def run_trial(rows: Rows, section: SftSection, steps: int, device: Device) -> Trial:
    """Plan `section` and take `steps` (0 to 3) of it in a process of its own, if the estimate fits `device`.

    Raises:
        DataError: what the stage itself would refuse. EnvironmentProblem: the process died, or took too long.
    """
    where = f"the trial of {section.id or 'sft'}"
    try:
        with task(f"trying {steps} steps of {section.id or 'sft'}", 1) as bar:
            done = warm().ask(_job(rows, section, steps, device), MOST_SECONDS)
            bar.advance()
    except TooLong:
        raise EnvironmentProblem(
            f"{steps} steps took more than {MOST_SECONDS:.0f} s", where=where, fix="choose a smaller model"
        ) from None
    if done.code == 0:
        return Trial.model_validate_json(done.answer)
    if done.answer.startswith("{") and done.code != EXIT_BUG:
        told = json.loads(done.answer)
        raise DataError(told["seen"], where=told["where"], expected=told["expected"], fix=told["fix"])
    raise EnvironmentProblem(
        f"ended with {done.code}: {done.complaint}",
        where=where,
        fix="the run would end like this too" + ("; most often memory ran out" if done.code == -9 else ""),
    )

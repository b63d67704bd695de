"""The search of `tw tune inference`: settings are chosen on a dev split, and their worth is told on the test split.

    rows ─► dev, test (whole groups)     trials: settings ─► evaluate on dev ─► TPE (Optuna) proposes the next
                                         best of dev, and the settings as they were ─► evaluate on test ─► paired test

The best of many trials looks better on dev than it is; the test rows were never looked at, so their figure is fair.
Every trial is kept in a folder by what it is made of, so the same command goes on where a killed one stopped.
"""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from tunewright.artifacts.files import make_folder
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.errors import DataError, MissingExtra, RecipeError, UserError
from tunewright.suites.options import Options, read_part

if TYPE_CHECKING:
    from tunewright.artifacts.dataset import ChatRow
    from tunewright.artifacts.scores import ScoreRow
    from tunewright.cli.evaluating import Evaluated, Target
    from tunewright.recipe.sections import EvaluateSection

STEP = 0.05  # of temperature and top_p: nobody can tell 0.63 from 0.65
Settings = dict[str, Any]


class Space(Options):
    """What is searched."""

    temperature: tuple[float, float] | None = Field(default=(0.0, 1.0), description="lowest and highest; 0 is greedy")
    top_p: tuple[float, float] | None = Field(default=(0.7, 1.0), description="lowest and highest")
    system: tuple[str | None, ...] = Field(default=(), description="system texts to try; null leaves the rows' own")
    template_kwargs: tuple[dict[str, Any], ...] = Field(default=(), description="settings of the template to try")
    max_new_tokens: tuple[int, ...] = Field(default=(), description="longest answers to try")

    @property
    def is_empty(self) -> bool:
        """True where nothing may change."""
        return not any(getattr(self, name) for name in type(self).model_fields)

    def suggest(self, trial: Any) -> Settings:
        """Return the settings that a trial proposes."""
        found: Settings = {}
        if self.temperature is not None:
            found["temperature"] = round(trial.suggest_float("temperature", *self.temperature, step=STEP), 6)
        if self.top_p is not None and found.get("temperature", 1.0) > 0:
            found["top_p"] = round(trial.suggest_float("top_p", *self.top_p, step=STEP), 6)
        for name in ("system", "template_kwargs", "max_new_tokens"):
            choices = getattr(self, name)
            if choices:  # by index: Optuna keeps plain values only
                found[name] = choices[trial.suggest_categorical(name, list(range(len(choices))))]
        return found


def read_space(path: Path | None) -> Space:
    """Return the space of a YAML file, or the default one.

    Raises:
        SuiteError: mistakes, each with its line. RecipeError: no such file, or no YAML.
    """
    if path is None:
        return Space()
    from tunewright.recipe import document as doc
    from tunewright.recipe.load import read_text

    document = doc.parse(read_text(path), str(path))
    if document.problems:
        raise RecipeError(document.problems)
    if not isinstance(document.value, dict):
        raise UserError("no mapping", where=str(path), expected="temperature, top_p, system, template_kwargs, …")
    space = read_part(Space, document.value, document)
    for name in ("temperature", "top_p"):
        bounds = getattr(space, name)
        if bounds is not None and not 0 <= bounds[0] <= bounds[1]:
            raise UserError(f"`{name}` is {list(bounds)}", where=str(path), expected="[lowest, highest]")
    return space


def applied(section: EvaluateSection, settings: Settings) -> EvaluateSection:
    """Return the section with the settings in it; a greedy one draws nothing, and once."""
    update = dict(settings)
    if update.get("temperature", section.temperature) in (None, 0):
        update |= {"top_p": None, "repeats": 1}
    try:
        return type(section).model_validate({**section.model_dump(), **update})
    except ValidationError as error:
        raise UserError(
            f"{settings} cannot be tried: {error.errors()[0]['msg']}", where="--space",
            expected="what the fields of `evaluate` may be",
        ) from None  # fmt: skip


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def halves(rows: Sequence[ChatRow], seed: int) -> tuple[list[ChatRow], list[ChatRow]]:
    """Return dev and test: half of the rows each, no group on both sides.

    Raises:
        DataError: the rows are of one group.
    """
    from tunewright.stages.data.split import held_out_groups

    groups = [row.group or row.id for row in rows]
    if len(set(groups)) < 2:
        raise DataError("all rows are of one group: nothing is left to test on", expected="rows of two groups or more")
    test = held_out_groups(groups, 0.5, seed)
    if len(test) == len(set(groups)):
        test.discard(min(test))
    sides: tuple[list[ChatRow], list[ChatRow]] = ([], [])
    for row, group in zip(rows, groups, strict=True):
        sides[group in test].append(row)
    return sides


def averaged(rows: Iterator[ScoreRow]) -> list[ScoreRow]:
    """Return one row for all answers to it, with mean scores: so a greedy model and a drawn one can be paired."""
    of_row: dict[str, list[ScoreRow]] = defaultdict(list)
    for row in rows:
        of_row[row.row_id].append(row)
    found = []
    for row_id, answers in of_row.items():
        scored = [row.scores for row in answers if row.error is None]
        means = {name: sum(s[name] for s in scored) / len(scored) for name in (scored[0] if scored else {})}
        error = None if scored else answers[0].error
        found.append(answers[0].model_copy(update={"id": row_id, "repeat": 0, "scores": means, "error": error}))
    return found


# ── search ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Search:
    """One search: the settings as they were, and trials beside them.

    Args:
        found: the model, with the section that the search starts from.
        dev: rows to choose on.
        space: what may change.
        folder: where trials and the study are kept.
        seed: of the proposals.
    """

    found: Target
    dev: list[ChatRow]
    space: Space
    folder: Path
    seed: int = 0
    backend: Any = None
    trials: list[tuple[Settings, float]] = field(default_factory=list)

    def value(self, settings: Settings) -> float:
        """Return what settings score on the dev rows."""
        return main_value(self.evaluated("dev", settings, self.dev))

    def evaluated(self, side: str, settings: Settings, rows: list[ChatRow]) -> Evaluated:
        """Return the scores of settings on rows: those that lie there, or new ones."""
        from tunewright.cli.evaluating import evaluate_target

        target = replace(self.found, section=applied(self.found.section, settings))
        name = f"{side}-{fingerprint(settings)[:8]}"
        return evaluate_target(name, target, rows, self.folder, self.backend)

    def run(self, num_trials: int, higher_is_better: bool) -> Settings:
        """Return the settings that score best on the dev rows; {} where nothing beats the settings as they were.

        Raises:
            MissingExtra: Optuna is not installed.
        """
        optuna = _optuna()
        study = _study(optuna, make_folder(self.folder) / "study.log", higher_is_better)
        _give_up_on_killed(optuna, study)
        self.trials = [({}, self.value({}))]
        self._tell(0, num_trials)
        while (done := len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))) < num_trials:
            # a new sampler a trial: a search that goes on proposes what an undisturbed one would have
            study.sampler = optuna.samplers.TPESampler(seed=self.seed + done, multivariate=True, group=True)
            trial = study.ask()
            settings = self.space.suggest(trial)
            trial.set_user_attr("settings", settings)
            study.tell(trial, self.value(settings))
        finished = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])[:num_trials]
        for number, trial in enumerate(finished, 1):
            self.trials.append((trial.user_attrs["settings"], trial.value))
            self._tell(number, num_trials)
        sign = 1 if higher_is_better else -1
        return max(self.trials, key=lambda one: sign * one[1])[0]  # of equal ones the first: the settings as they were

    def _tell(self, number: int, of: int) -> None:
        settings, value = self.trials[number]
        print(f"  trial {number}/{of}: {value:.4f}  {settings or 'as it is'}", file=sys.stderr, flush=True)


def main_value(one: Evaluated) -> float:
    """Return a model's main metric.

    Raises:
        DataError: no answer has it.
    """
    name = one.scores.main_metric
    found = next((metric.value for metric in one.scores.summary if metric.metric == name), None)
    if found is None:
        raise DataError(
            f"no answer has a score in {name}", where=str(one.folder), fix="read the errors in scores.jsonl"
        )
    return found


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra.of(error, "eval") from None
    import warnings

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna


def _study(optuna: Any, path: Path, higher_is_better: bool) -> Any:
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    direction = "maximize" if higher_is_better else "minimize"
    return optuna.create_study(storage=storage, study_name="inference", direction=direction, load_if_exists=True)


def _give_up_on_killed(optuna: Any, study: Any) -> None:
    """Close trials that a killed search left open: they are proposed again, and their answers lie in their folder."""
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        with contextlib.suppress(RuntimeError):  # another process closed it
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

"""Gates on the design of an experiment: could this recipe show what it is to show, whatever comes out?

They read the recipe and nothing else, so they speak before a model or a row is looked at: in `tw check --static`, and
at the start of every run. Each is pure: sections in, verdict out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunewright.artifacts.verdict import Verdict, judge
from tunewright.recipe.sections import CompareSection, EvaluateSection, Recipe, SftSection

# What an evaluation is called, whether it stops the run, how fast and how exactly it is computed: not what is asked.
_NOT_ASKED = frozenset({"id", "require", "batch_size", "most_unscored", "precision", "server"})
_DEFAULTS = {"temperature": 0.0, "top_p": 1.0}  # of suites that fix nothing
# With fewer rows even a true difference of 60 points, all of it gained, is missed in one of five draws (16% at 12).
FEW_ROWS = 12
# AdamW moves a weight by about the rate a step, whatever the gradient: adapters start at 0 and end near 0.01 to 0.1.
LEAST_RATE, MOST_RATE = 1e-7, 0.3
LOW_RATE, HIGH_RATE = 1e-6, 0.03
LEAST_NORM = 1e-6  # a gradient of this length has entries near AdamW's eps of 1e-8, which then swallows the step
LEAST_LORA_SCALE, MOST_LORA_SCALE = 1e-3, 100.0  # alpha / rank; 1 and 2 are usual
MOST_DECAY = 0.1  # of every weight, at each step


@dataclass(frozen=True)
class _Pair:
    """Two evaluations that are compared; `main` is False for one of `beside`."""

    section: CompareSection
    baseline: EvaluateSection
    candidate: EvaluateSection
    main: bool


def judge_design(recipe: Recipe) -> list[Verdict]:
    """Return the verdicts on a recipe's comparisons and training settings; none for what it does not do.

    Args:
        recipe: resolved, so that every section names its model.
    """
    evaluations = {section.id: section for kind, section in recipe.stages if kind == "evaluate"}
    trained = {section.id: section for kind, section in recipe.stages if kind == "sft"}
    pairs = _pairs(recipe, evaluations)
    found = list[Verdict]()
    for pair in pairs:
        found.append(candidate_is_another_system(pair.baseline, pair.candidate))
        if pair.main:
            found.append(candidate_is_the_trained_one(pair.baseline, pair.candidate, trained))
        found.append(answered_alike(pair.baseline, pair.candidate))
    if trained and pairs:
        found.append(
            trained_model_is_compared(trained, [one for pair in pairs for one in (pair.baseline, pair.candidate)])
        )
    limits = {one.id: one.limit for one in evaluations.values() if one.limit is not None}
    found += judge_sizes(recipe, limits)
    if trained and evaluations:
        compared = {one.id for pair in pairs for one in (pair.baseline, pair.candidate)}
        found.append(trained_rows_are_not_asked(trained.values(), evaluations.values(), compared))
    if evaluations:
        found.append(examples_are_not_asked(evaluations.values()))
    return [*found, *(settings_can_train(section) for section in trained.values())]


def judge_sizes(recipe: Recipe, num_rows: Mapping[str, int]) -> list[Verdict]:
    """Return the verdicts on how many rows comparisons have.

    Args:
        recipe: resolved.
        num_rows: id of an `evaluate` stage -> rows that it asks; comparisons of others are left out.
    """
    evaluations = {section.id: section for kind, section in recipe.stages if kind == "evaluate"}
    return [
        rows_can_show_it(pair.section, num_rows[pair.candidate.id])
        for pair in _pairs(recipe, evaluations)
        if pair.main and pair.candidate.id in num_rows
    ]


def num_asked(recipe: Recipe, rows: Mapping[str, int]) -> dict[str, int]:
    """Return id of an `evaluate` stage -> rows that it asks.

    Args:
        recipe: resolved.
        rows: reference -> how many rows there are: `data.test` -> 150.
    """
    sections = [section for kind, section in recipe.stages if kind == "evaluate" and section.rows in rows]
    return {one.id: min(rows[one.rows], one.limit or rows[one.rows]) for one in sections}


def _pairs(recipe: Recipe, evaluations: Mapping[str, EvaluateSection]) -> list[_Pair]:
    return [
        _Pair(section, evaluations[baseline], evaluations[section.candidate], baseline == section.baseline)
        for kind, section in recipe.stages
        if kind == "compare" and section.candidate in evaluations
        for baseline in (section.baseline, *section.beside)
        if baseline in evaluations
    ]


# ── comparisons ─────────────────────────────────────────────────────────────────────────────────────────────────────


def candidate_is_another_system(baseline: EvaluateSection, candidate: EvaluateSection) -> Verdict:
    """FAILED if both evaluations ask the same model the same things in the same way: there is nothing to compare."""
    same = _asked(baseline) == _asked(candidate)
    return judge(
        "candidate_is_another_system",
        not same,
        measured=f"`{baseline.id}` and `{candidate.id}` "
        + (f"both ask {candidate.model}, in the same way" if same else "differ"),
        bound="another model, or other prompts",
        remedy=f"give `{candidate.id}` the model that was trained: `model: sft`",
    )


def _asked(section: EvaluateSection) -> dict[str, Any]:
    """Return what makes an evaluation what it is: defaults filled in, one spelling, no idle seed."""
    said = section.model_dump(exclude=set(_NOT_ASKED))
    for name, default in _DEFAULTS.items():
        said[name] = default if said[name] is None else said[name]
    if not said["temperature"] and not said["shots"]:
        said["seed"] = None
    said["model"] = _place(section.model)
    if section.endpoint is not None:
        said["endpoint"] = (section.endpoint.url.rstrip("/"), section.endpoint.model, section.endpoint.path)
        said["model"] = None  # whose template is known changes nothing of who answers
    return said


def _place(model: str | None) -> str | None:
    return os.path.realpath(model) if model is not None and os.path.exists(model) else model


def candidate_is_the_trained_one(
    baseline: EvaluateSection, candidate: EvaluateSection, trained: Mapping[str, SftSection]
) -> Verdict:
    """FAILED if the baseline is a trained model, the candidate what it was trained from, and nothing else differs.

    Then a gain reads as a loss. WARNED where they are asked differently too: "do worked examples beat training?".
    """
    sft = trained.get(str(baseline.model))
    swapped = sft is not None and _place(candidate.model) == _place(sft.model)
    alone = {**_asked(baseline), "model": None} == {**_asked(candidate), "model": None}
    return judge(
        "candidate_is_the_trained_one",
        not swapped,
        measured=f"baseline `{baseline.id}` asks {baseline.model}, candidate `{candidate.id}` asks {candidate.model}",
        bound="what was trained is the candidate, what it was trained from the baseline",
        remedy=f"swap them: `baseline: {candidate.id}`, `candidate: {baseline.id}`",
        warn=not alone,
    )


def trained_model_is_compared(trained: Mapping[str, SftSection], compared: Sequence[EvaluateSection]) -> Verdict:
    """FAILED if a recipe trains and compares, and no side of any comparison is a trained model."""
    asked = [one.id for one in compared if one.model in trained]
    return judge(
        "trained_model_is_compared",
        bool(asked),
        measured=f"{len(set(asked))} of the evaluations that are compared ask {' or '.join(trained)}",
        bound="at least one: else the training shows nothing",
        remedy=f"`model: {next(iter(trained))}` in the `evaluate` stage of the candidate",
    )


def answered_alike(baseline: EvaluateSection, candidate: EvaluateSection) -> Verdict:
    """WARNED if answers are drawn, cut or repeated otherwise on the two sides: that alone can be the difference."""
    one, two = _asked(baseline), _asked(candidate)
    other = [name for name in ("temperature", "top_p", "repeats", "max_new_tokens") if one[name] != two[name]]
    told = [f"{name} {one[name]} and {two[name]}" for name in other]
    return judge(
        "answered_alike",
        not other,
        measured=f"`{baseline.id}` and `{candidate.id}`: " + (", ".join(told) or "answers are made in the same way"),
        bound="the same temperature, top_p, repeats and max_new_tokens",
        remedy="set them alike, or say in the hypothesis that this is what is compared",
        warn=True,
    )


def rows_can_show_it(section: CompareSection, num_rows: int) -> Verdict:
    """FAILED if no outcome on so few rows could be significant; WARNED if only an enormous difference could.

    All rows turning from wrong to right has p = 2 * 0.5^n in the exact McNemar test; nothing can have less. Where
    nothing is required of the comparison, it is a warning only.

    Args:
        section: its `confidence` is 1 - alpha.
        num_rows: that both sides answer.
    """
    least = math.ceil(math.log2(2 / (1 - section.confidence)))
    return judge(
        "rows_can_show_it",
        num_rows >= max(FEW_ROWS, least),
        measured=f"{num_rows} test rows; the least p that they can give is {min(1.0, 2 * 0.5**num_rows):.2g}",
        bound=f"at least {least} rows for p < {1 - section.confidence:.2g}, {FEW_ROWS} to show even 60 points",
        remedy="hold out more rows: `split.test`, or take away `limit`; `tw power` says how many a difference needs",
        warn=num_rows >= least or section.require is None,
    )


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


def trained_rows_are_not_asked(
    trained: Iterable[SftSection], evaluations: Iterable[EvaluateSection], compared: Collection[str]
) -> Verdict:
    """FAILED if a model is asked the rows that it was trained on, and compared by that; WARNED where it is not.

    Args:
        trained: all trainings.
        evaluations: all evaluations.
        compared: ids of those that a comparison reads.
    """
    rows = {section.id: section.rows for section in trained}
    asked = [one for one in evaluations if one.model in rows and rows[one.model] == one.rows]
    told = [f"`{one.id}` asks {one.model} {one.rows}, which it was trained on" for one in asked]
    return judge(
        "trained_rows_are_not_asked",
        not asked,
        measured="; ".join(told) or "what a model was trained on it is not asked",
        bound="no evaluation of a model on rows it was trained on",
        remedy="ask `data.test`",
        warn=not any(one.id in compared or one.require for one in asked),
    )


def examples_are_not_asked(evaluations: Iterable[EvaluateSection]) -> Verdict:
    """FAILED if worked examples are drawn from the rows that are asked: their answers stand in the prompts."""
    asked = [one for one in evaluations if one.shots and one.shots_from is not None and one.shots_from == one.rows]
    told = [f"`{one.id}` takes {one.shots} examples from {one.rows}, which it asks" for one in asked]
    return judge(
        "examples_are_not_asked",
        not asked,
        measured="; ".join(told) or "worked examples, where there are any, come from other rows",
        bound="no worked example from the rows that are asked",
        remedy="`shots_from: data.train`",
    )


# ── training ────────────────────────────────────────────────────────────────────────────────────────────────────────


def settings_can_train(section: SftSection) -> Verdict:
    """FAILED for settings that no adapter has ever been trained with; WARNED for those that seldom work."""
    fatal = _fatal(section)
    doubtful = _doubtful(section)
    return judge(
        "settings_can_train",
        not fatal and not doubtful,
        measured="; ".join([*fatal, *doubtful]) or f"learning rate {section.learning_rate:g}",
        bound=f"learning rate {LOW_RATE:g} to {HIGH_RATE:g} (never below {LEAST_RATE:g} or above {MOST_RATE:g}), "
        f"gradients clipped at no less than {LEAST_NORM:g}, weights that the loss cannot buy",
        remedy="1e-4 to 1e-3 is usual for adapters, with `max_grad_norm: 1.0`, alpha / rank of 1 or 2, no weight "
        "decay, `weighting.detach: true`",
        warn=not fatal,
    )


def _fatal(section: SftSection) -> list[str]:
    rate, fastest, norm = section.learning_rate, section.learning_rate * section.lora.lr_ratio, section.max_grad_norm
    decay, scale = section.learning_rate * section.weight_decay, section.weighting.scale
    found = []
    if rate < LEAST_RATE:
        found.append(f"learning rate {rate:g} moves nothing")
    if fastest > MOST_RATE:
        found.append(f"learning rate {fastest:g} destroys the model")
    if norm < LEAST_NORM:
        found.append(f"gradients clipped at {norm:g} are lost in AdamW's eps")
    if section.weighting.type != "none" and scale < LEAST_NORM:
        found.append(f"a loss scaled by {scale:g} is lost in AdamW's eps")
    if decay > MOST_DECAY:
        found.append(f"weight decay takes {decay:.0%} of each weight at every step")
    return found


def _doubtful(section: SftSection) -> list[str]:
    rate, fastest = section.learning_rate, section.learning_rate * section.lora.lr_ratio
    scale = section.lora.alpha / section.lora.rank
    found = []
    if LEAST_RATE <= rate < LOW_RATE or HIGH_RATE < fastest <= MOST_RATE:
        found.append(f"learning rate {fastest:g} is far from what works")
    if not LEAST_LORA_SCALE <= scale <= MOST_LORA_SCALE:
        found.append(f"alpha / rank is {scale:g}")
    if section.weighting.type != "none" and section.weighting.detach is False:
        found.append("token weights are not detached: the loss falls when the model only becomes surer of itself")
    return found

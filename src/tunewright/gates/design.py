"""Gates on the design of an experiment: could this recipe show what it is to show, whatever comes out?

They read the recipe and nothing else, so they speak before a model or a row is looked at: in `tw check --static`, and
at the start of every run. Each is pure: sections in, verdict out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunewright.artifacts.verdict import Verdict, judge
from tunewright.recipe.sections import CompareSection, DataSection, EvaluateSection, Recipe, SftSection

# What an evaluation is called, whether it stops the run, and how fast it is: not what is asked of whom.
_NOT_ASKED = frozenset({"id", "require", "batch_size", "most_unscored"})
_DRAWN = ("temperature", "top_p", "repeats", "max_new_tokens")
# With fewer rows even a true difference of 60 points, all of it gained, is missed in one of five draws (16% at 12).
FEW_ROWS = 12
# AdamW moves a weight by about the rate a step, whatever the gradient: adapters start at 0 and end near 0.01 to 0.1.
LEAST_RATE, MOST_RATE = 1e-7, 0.3
LOW_RATE, HIGH_RATE = 1e-6, 0.03
LEAST_NORM = 1e-6  # a gradient of this length has entries near AdamW's eps of 1e-8, which then swallows the step


@dataclass(frozen=True)
class _Comparison:
    section: CompareSection
    baseline: EvaluateSection
    candidate: EvaluateSection


def judge_design(recipe: Recipe) -> list[Verdict]:
    """Return the verdicts on a recipe's comparisons and training settings; none for what it does not do.

    Args:
        recipe: resolved, so that every section names its model.
    """
    evaluations = {section.id: section for kind, section in recipe.stages if kind == "evaluate"}
    trained = {section.id: section for kind, section in recipe.stages if kind == "sft"}
    data = {section.id: section for kind, section in recipe.stages if kind == "data"}
    compared = [
        _Comparison(section, evaluations[section.baseline], evaluations[section.candidate])
        for kind, section in recipe.stages
        if kind == "compare" and {section.baseline, section.candidate} <= evaluations.keys()
    ]
    return [
        *(candidate_is_another_system(one.baseline, one.candidate) for one in compared),
        *(candidate_is_the_trained_one(one.baseline, one.candidate, trained) for one in compared),
        *(answered_alike(one.baseline, one.candidate) for one in compared),
        *(
            rows_can_show_it(one.section, num_rows)
            for one in compared
            if (num_rows := _num_rows(one.candidate, data)) is not None
        ),
        *([trained_rows_are_not_asked(trained.values(), evaluations.values())] if trained and evaluations else []),
        *([examples_are_not_asked(evaluations.values())] if evaluations else []),
        *(settings_can_train(section) for section in trained.values()),
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


def _asked(section: EvaluateSection) -> dict[str, object]:
    return section.model_dump(exclude=set(_NOT_ASKED))


def candidate_is_the_trained_one(
    baseline: EvaluateSection, candidate: EvaluateSection, trained: dict[str, SftSection]
) -> Verdict:
    """FAILED if the baseline is a trained model and the candidate what it was trained from: a gain reads as loss."""
    sft = trained.get(str(baseline.model))
    swapped = sft is not None and candidate.model == sft.model
    return judge(
        "candidate_is_the_trained_one",
        not swapped,
        measured=f"baseline `{baseline.id}` asks {baseline.model}, candidate `{candidate.id}` asks {candidate.model}",
        bound="what was trained is the candidate, what it was trained from the baseline",
        remedy=f"swap them: `baseline: {candidate.id}`, `candidate: {baseline.id}`",
    )


def answered_alike(baseline: EvaluateSection, candidate: EvaluateSection) -> Verdict:
    """WARNED if answers are drawn, cut or repeated otherwise on the two sides: that alone can be the difference."""
    other = [name for name in _DRAWN if getattr(baseline, name) != getattr(candidate, name)]
    told = [f"{name} {getattr(baseline, name)} and {getattr(candidate, name)}" for name in other]
    return judge(
        "answered_alike",
        not other,
        measured=f"`{baseline.id}` and `{candidate.id}`: " + (", ".join(told) or "answers are made in the same way"),
        bound="the same " + ", ".join(_DRAWN),
        remedy="set them alike, or say in the hypothesis that this is what is compared",
        warn=True,
    )


def rows_can_show_it(section: CompareSection, num_rows: int) -> Verdict:
    """FAILED if no outcome on so few rows could be significant; WARNED if only an enormous difference could.

    All rows turning from wrong to right has p = 2 * 0.5^n in the exact McNemar test; nothing can have less.

    Args:
        section: its `confidence` is 1 - alpha.
        num_rows: of the test; an upper bound where groups or dropped rows are not known yet.
    """
    least = math.ceil(math.log2(2 / (1 - section.confidence)))
    possible = num_rows >= least
    return judge(
        "rows_can_show_it",
        num_rows >= FEW_ROWS,
        measured=f"{num_rows} test rows; the least p that they can give is {min(1.0, 2 * 0.5**num_rows):.2g}",
        bound=f"at least {least} rows for p < {1 - section.confidence:.2g}, {FEW_ROWS} to show even 60 points",
        remedy="hold out more rows: `split.test`, or take away `limit`; `tw power` says how many a difference needs",
        warn=possible,
    )


def _num_rows(section: EvaluateSection, data: dict[str, DataSection]) -> int | None:
    """Return how many rows an evaluation asks at most, as far as the recipe says; None where it does not."""
    held_out = data.get(str(section.rows).partition(".")[0])
    known = [section.limit] if section.limit is not None else []
    if held_out is not None and str(section.rows).endswith(".test") and isinstance(held_out.split.test, int):
        known.append(held_out.split.test)
    return min(known, default=None)


# ── what is asked ───────────────────────────────────────────────────────────────────────────────────────────────────


def trained_rows_are_not_asked(trained: Iterable[SftSection], evaluations: Iterable[EvaluateSection]) -> Verdict:
    """FAILED if a model is asked the rows that it was trained on."""
    rows = {section.id: section.rows for section in trained}
    asked = [one for one in evaluations if rows.get(str(one.model)) == one.rows and one.model in rows]
    told = [f"`{one.id}` asks {one.model} {one.rows}, which it was trained on" for one in asked]
    return judge(
        "trained_rows_are_not_asked",
        not asked,
        measured="; ".join(told) or f"{len(rows)} trainings read other rows than their evaluations ask",
        bound="no evaluation of a model on rows it was trained on",
        remedy="train on `data.train`, ask `data.test`; `dev:` in `sft` shows how training rows are answered",
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
        remedy="1e-4 to 1e-3 is usual for adapters, with `max_grad_norm: 1.0`, `weighting.detach: true`",
        warn=not fatal,
    )


def _fatal(section: SftSection) -> list[str]:
    rate, norm = section.learning_rate, section.max_grad_norm
    found = []
    if not LEAST_RATE <= rate <= MOST_RATE:
        found.append(f"learning rate {rate:g} " + ("moves nothing" if rate < LEAST_RATE else "destroys the model"))
    if norm < LEAST_NORM:
        found.append(f"gradients clipped at {norm:g} are lost in AdamW's eps")
    return found


def _doubtful(section: SftSection) -> Sequence[str]:
    rate = section.learning_rate
    found = []
    if LEAST_RATE <= rate < LOW_RATE or HIGH_RATE < rate <= MOST_RATE:
        found.append(f"learning rate {rate:g} is far from what works")
    if section.weighting.type != "none" and section.weighting.detach is False:
        found.append("token weights are not detached: the loss falls when the model only becomes surer of itself")
    return found

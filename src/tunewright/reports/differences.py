"""Parts of the report about comparisons: which rows moved, every pair of several systems, how answers were made.

reads    Comparison.changes and .matrix; Scores.inference, .intervals, .detectable, .pass_k
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from tunewright.artifacts.comparison import Change, Comparison, PairOfSystems, Slicing
from tunewright.artifacts.scores import Inference, Scores
from tunewright.reports import charts, words
from tunewright.reports.gather import Story

SLICES: dict[Slicing, tuple[str, str]] = {
    "failure": ("By failure", "how it failed"),
    "tool": ("By tool", "tool of the right answer"),
    "length": ("By length", "prompt"),
    "source": ("By source", "source"),
    "group": ("By group", "group"),
}
"""what rows are sliced by -> the heading, and what a slice is called; in the order of the page"""
SLICES_SHOWN = 6  # of one kind: more is in comparison.json


def changed(story: Story) -> dict[str, Any] | str:
    """What got better and what got worse, slice by slice."""
    comparison = story.comparison
    if comparison is None:
        return "nothing was compared"
    if not comparison.changes:
        if any(test.gained + test.lost for test in comparison.tests if test.metric == comparison.main_metric):
            return "an older version compared them, which did not look at what the rows have in common"
        return f"no row moved in {words.metric_label(comparison.main_metric)}"
    most = max(max(change.gained, change.lost) for change in comparison.changes)
    blocks = [_block(by, comparison.changes, most) for by in SLICES]
    return {
        "metric": comparison.main_metric,
        "blocks": [block for block in blocks if block["rows"]],
        "before": story.label(comparison.baseline),
        "after": story.label(comparison.candidate),
    }


def _block(by: Slicing, changes: tuple[Change, ...], most: int) -> dict[str, Any]:
    title, noun = SLICES[by]
    found = [change for change in changes if change.by == by]
    rows = [{"change": change, "svg": Markup(_tug(change, most))} for change in found[:SLICES_SHOWN]]
    return {"by": by, "title": title, "noun": noun, "rows": rows, "left_out": len(found) - len(rows)}


def _tug(change: Change, most: int) -> str:
    label = f"{words.plural(change.gained, 'row')} got better, {words.plural(change.lost, 'row')} got worse"
    return charts.tug(change.lost / most, change.gained / most, label)


def matrix(story: Story, comparison: Comparison) -> dict[str, Any] | None:
    """Every pair of three or more systems, as rows and columns; None for two."""
    if not comparison.matrix:
        return None
    names = list(dict.fromkeys(name for pair in comparison.matrix for name in (pair.first, pair.second)))
    pairs = {(pair.first, pair.second): pair for pair in comparison.matrix}
    return {
        "metric": comparison.main_metric,
        "confidence": words.percent(comparison.confidence),
        "columns": [story.label(name) for name in names[:-1]],
        "rows": [
            {"label": story.label(row), "cells": [_cell(pairs.get((column, row))) for column in names[:-1]]}
            for row in names[1:]
        ],
    }


def _cell(pair: PairOfSystems | None) -> dict[str, Any] | None:
    return None if pair is None else {"pair": pair, "role": pair.verdict.replace(" ", "-")}


def answering(story: Story) -> dict[str, Any] | str:
    """How the answers were made: what may change one beside the model and the rows."""
    if not story.scores:
        return "no `evaluate` stage of this run is done"
    return {
        "stages": [
            {"id": stage_id, "label": story.label(stage_id), "scores": scores, "facts": _facts(scores)}
            for stage_id, scores in story.scores.items()
        ]
    }


def asked_differently(story: Story) -> list[str]:
    """Return how the compared systems were not asked alike, one sentence a difference; none where they were.

    What differs in the candidate's favour or against it is no longer the model's doing. Worked examples of a baseline
    that stands beside are what it is there for, and its name says them.
    """
    comparison = story.comparison
    if comparison is None or comparison.candidate not in story.scores:
        return []
    candidate = story.scores[comparison.candidate]
    pairs = [(comparison.baseline, True), *((side.baseline, False) for side in comparison.beside)]
    found = []
    for other, counts_shots in pairs:
        if other in story.scores:
            said = _differences(story.scores[other], candidate, counts_shots)
            labels = (story.label(other), story.label(comparison.candidate))
            found += [f"{what}: {labels[0]} {left}, {labels[1]} {right}" for what, left, right in said]
    return found + [text for one in (comparison.baseline, comparison.candidate) for text in _not_sent(story, one)]


def _differences(baseline: Scores, candidate: Scores, counts_shots: bool) -> list[tuple[str, str, str]]:
    """Return (what, the baseline's, the candidate's) of each part of a prompt in which two systems differ."""
    left, right = _asked(baseline, counts_shots), _asked(candidate, counts_shots)
    return [(what, left[what], right[what]) for what in left if left[what] != right[what]]


def _asked(scores: Scores, counts_shots: bool) -> dict[str, str]:
    return {
        "system text": _quoted(scores.inference.system),
        "template settings": _settings(scores.inference.template_kwargs),
        "worked examples": words.count(scores.shots) if counts_shots else "",
    }


def _quoted(system: str | None) -> str:
    return "the row's own" if system is None else f"“{system[:80]}”" if system else "none"


def _settings(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in sorted(values.items())) or "none"


def _not_sent(story: Story, stage_id: str) -> list[str]:
    """Return the sentence of an evaluation whose server was not sent what the rows say."""
    parity = story.scores[stage_id].prompt_parity if stage_id in story.scores else ""
    same, _, rest = parity.partition(" of ")
    return [f"{story.label(stage_id)}: {parity}"] if parity and same != rest.split(" ")[0] else []


def _facts(scores: Scores) -> list[tuple[str, str]]:
    """Name and value of everything that is worth a line."""
    how = scores.inference
    unscored = words.plural(scores.unscored, "answer") if scores.unscored else "none"
    told = [
        ("model", scores.model),
        ("suite", scores.suite + _told_options(how)),
        ("asked through", " ".join(part for part in (how.backend, how.endpoint) if part)),
        ("sampling", _sampling(how)),
        ("worked examples", words.count(scores.shots) if scores.shots else ""),
        ("system text", how.system or ""),
        ("template settings", ", ".join(f"{key}: {value}" for key, value in how.template_kwargs.items())),
        ("cut at the longest answer", words.plural(scores.cut_answers, "answer") if scores.cut_answers else "none"),
        ("not scored", unscored),
        ("with repeats", ", ".join(f"{one.metric} {words.percent(one.value)}" for one in scores.pass_k)),
        ("intervals", scores.intervals),
        ("said before it ran", scores.detectable),
        ("cost", f"{scores.cost_usd:.2f} USD" if scores.cost_usd else ""),
    ]
    return [(name, value) for name, value in told if value]


def _told_options(how: Inference) -> str:
    return f" ({', '.join(f'{key}: {value}' for key, value in how.options.items())})" if how.options else ""


def _sampling(how: Inference) -> str:
    longest = f"up to {words.plural(how.max_new_tokens, 'token')}" if how.max_new_tokens else ""
    if how.temperature == 0:
        return ", ".join(part for part in ("greedy", longest) if part)
    repeats = f"{words.plural(how.repeats, 'answer')} a row" if how.repeats > 1 else ""
    drawn = f"temperature {words.decimal(how.temperature, 2)}, top-p {words.decimal(how.top_p, 2)}, seed {how.seed}"
    return ", ".join(part for part in (drawn, longest, repeats) if part)

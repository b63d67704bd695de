"""Part of `check`: would the right answers be right? The references are scored as if a model had said them.

A suite of another task, rows without what it reads, a scorer that fails, and a `max_new_tokens` that cuts every answer
all give a score of 0 that looks like a weak model, after the training is paid for. What the rows hold as right tells
them apart in a moment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.verdict import Verdict
from tunewright.chat.messages import plain
from tunewright.chat.render import Renderer
from tunewright.gates.answers import references_are_right, references_fit
from tunewright.recipe.sections import EvaluateSection
from tunewright.suites.protocol import Suite, find_suite, score_all
from tunewright.suites.tool_calls import reading_calls

SCORED = 100  # references a suite


def judge_references(
    folder: Path, rows: Sequence[ChatRow], evaluations: Sequence[EvaluateSection], measured: dict[str, Any]
) -> list[Verdict]:
    """Return the verdicts on the references of rows, one pair for each way of scoring them.

    Suites with graders are left out: they cost money, or run code. So are those that bring their own rows, score
    log-probabilities or have no yes and no, and rows without an answer.

    Args:
        folder: of the model that answers: its template says how a call is written, its tokenizer how long it is.
        rows: of the evaluations, or like theirs.
        evaluations: that ask the model.
        measured: takes the measurements: `references`.

    Raises:
        UserError: a suite is wrong, or fails on a reference.
    """
    answered = [row for row in rows if _says_something(row)]
    answered = answered[:: max(1, len(answered) // SCORED)][:SCORED]  # of all sources
    entries = measured.setdefault("references", list[dict[str, Any]]())
    verdicts, seen = list[Verdict](), set[str]()
    for section in evaluations:
        suite = find_suite(section.suite, section.options)
        limit = suite.longest_answer(section.max_new_tokens)
        how = [section.suite, section.options, section.template_kwargs, limit]
        key = json.dumps(how, sort_keys=True, default=str)
        if not answered or key in seen or not _can_be_scored(suite):
            continue
        seen.add(key)
        renderer = Renderer.from_folder(folder, section.template_kwargs)
        suite, _ = reading_calls(suite, section, renderer)
        said = [renderer.answer_text(row.answer, row.tools) for row in answered]
        scores, errors = _scores(suite, said, answered)
        lengths = [len(renderer.encode(text)) + 1 for text in said]  # one more ends the turn
        entries.append({"evaluation": section.id, "suite": suite.name, "scores": scores, "longest": max(lengths)})
        verdicts.append(references_are_right(section.id, suite.name, suite.main_metric, scores, errors))
        verdicts.append(references_fit(section.id, lengths, limit))
    return verdicts


def _can_be_scored(suite: Suite) -> bool:
    main = next((one for one in suite.metrics if one.name == suite.main_metric), None)
    best_is_one = main is not None and main.binary and main.higher_is_better
    return best_is_one and suite.mode == "generate" and suite.rows is None and not suite.graders


def _says_something(row: ChatRow) -> bool:
    said = plain(row.answer)
    return bool(str(said.get("content") or "").strip() or said.get("tool_calls"))


def _scores(
    suite: Suite, said: Sequence[str], rows: Sequence[ChatRow]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """Return row id -> the main metric of the row's own reference, None where it has none; and row id -> error."""
    found = {row.id: one for row, one in zip(rows, score_all(suite.score, said, rows), strict=True)}
    scores = {row: one.scores.get(suite.main_metric) for row, one in found.items()}
    return scores, {row: one.error for row, one in found.items() if one.error}

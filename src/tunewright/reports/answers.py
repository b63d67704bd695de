"""The rows of the report's browser: every answer of the compared models, side by side, as plain data.

The page shows them one at a time from an embedded JSON. Answers come from a model and may hold anything; here they are
data and nothing else, and the page's script puts them on screen as text only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from tunewright.artifacts.scores import ScoreRow

PAGE_BYTES = 400_000
"""of all rows together: the page stays light to mail and quick to open"""

CLIPS = (8_000, 2_000, 600)
"""longest text in characters; the first that makes the rows fit is taken"""

OUTCOMES = ("lost", "gained", "wrong", "right")
"""in the order a reader wants them when not all fit"""

_UNSAFE_IN_SCRIPT = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def embed(value: Any) -> str:
    """Return `value` as JSON that is inert inside `<script>`: no `</script>`, no `<!--`, no line separators."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_UNSAFE_IN_SCRIPT)


def failure_class(row: ScoreRow, metric: str) -> str:
    """Return the class of a failure; `right` for a row with full marks, `not scored` for one with an error.

    Older score files have the class at the head of the reason.
    """
    if row.error is not None:
        return "not scored"
    if row.scores.get(metric, 0.0) >= 1:
        return "right"
    return row.failure or row.reason.partition(":")[0].strip() or "wrong"


def outcome(baseline: ScoreRow, candidate: ScoreRow, metric: str) -> str | None:
    """Return gained, lost, right (both full marks) or wrong (neither better); None outside the denominator."""
    if metric not in baseline.scores or metric not in candidate.scores:
        return None
    before, after = baseline.scores[metric], candidate.scores[metric]
    if after != before:
        return "gained" if after > before else "lost"
    return "right" if after >= 1 else "wrong"


def side_by_side(columns: Sequence[Iterable[ScoreRow]], metric: str, compared: bool) -> list[dict[str, Any]]:
    """Return one object a row that all `columns` answered.

    Args:
        columns: scored rows of each model; the first is the baseline, the last the candidate.
        metric: decides each row's outcome.
        compared: False where the columns only stand side by side: then the outcome is the last one's alone.
    """
    tables = [{row.id: row for row in rows} for rows in columns]
    shared = [row_id for row_id in tables[-1] if all(row_id in table for table in tables)]
    return [_row([table[row_id] for table in tables], metric, compared) for row_id in shared]


def _row(answers: Sequence[ScoreRow], metric: str, compared: bool) -> dict[str, Any]:
    last = answers[-1]
    return {
        "id": last.id,
        "source": last.source,
        "group": last.group,
        "question": last.question,
        "reference": last.reference,
        "outcome": outcome(answers[0] if compared else last, last, metric),
        "answers": [_answer(row, metric) for row in answers],
    }


def _answer(row: ScoreRow, metric: str) -> dict[str, Any]:
    return {
        "text": row.answer,
        "reason": row.error or row.reason,
        "class": failure_class(row, metric),
        "scores": {name: round(value, 4) for name, value in row.scores.items()},
        "cut": row.finish == "length",
        "tokens": row.answer_tokens,
    }


def fit(rows: list[dict[str, Any]], budget: int = PAGE_BYTES) -> tuple[list[dict[str, Any]], int | None]:
    """Return rows that fit on the page, and the length at which texts were cut (None: none was).

    Long texts go first, then rows: those that changed are kept before those that did not.
    """
    longest = max((_longest(row) for row in rows), default=0)
    for clip in CLIPS:
        clipped = [_clip(row, clip) for row in rows]
        if _size(clipped) <= budget:
            return clipped, clip if longest > clip else None
    return _most_telling(clipped, budget), CLIPS[-1]


def _texts(row: dict[str, Any]) -> list[str]:
    return [row["question"], row["reference"], *(answer["text"] for answer in row["answers"])]


def _longest(row: dict[str, Any]) -> int:
    return max(len(text) for text in _texts(row))


def _size(rows: Sequence[dict[str, Any]]) -> int:
    return len(embed(list(rows)).encode("utf-8", "replace"))


def _clip(row: dict[str, Any], length: int) -> dict[str, Any]:
    answers = [{**answer, "text": _cut(answer["text"], length)} for answer in row["answers"]]
    return {
        **row,
        "question": _cut(row["question"], length),
        "reference": _cut(row["reference"], length),
        "answers": answers,
    }


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]} … [{len(text) - length:,} more characters]"


def _most_telling(rows: list[dict[str, Any]], budget: int) -> list[dict[str, Any]]:
    rank = {name: place for place, name in enumerate(OUTCOMES)}
    order = sorted(range(len(rows)), key=lambda i: rank.get(rows[i]["outcome"], len(rank)))
    kept, used = [], 0
    for index in order:
        used += _size([rows[index]])
        if used > budget:
            break
        kept.append(index)
    return [rows[index] for index in sorted(kept)]

"""The rows of the report's browser: every answer of the compared models, side by side, as plain data.

The page shows them one at a time from an embedded JSON. Answers come from a model and may hold anything; here they are
data and nothing else, and the page's script puts them on screen as text only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Deciding:
    """The metric that decides what became of a row; of a rate 1 is full marks, of others there is none."""

    name: str
    is_rate: bool = True
    higher_is_better: bool = True

    def full(self, row: ScoreRow) -> bool:
        """True if a row has full marks."""
        return self.is_rate and row.scores.get(self.name, 0.0) >= 1


def failure_class(row: ScoreRow, metric: Deciding) -> str:
    """Return the class of a failure; `right` for a row with full marks, `not scored` for one with an error.

    Older score files have the class at the head of the reason.
    """
    if row.error is not None:
        return "not scored"
    if metric.full(row):
        return "right"
    if not metric.is_rate:
        return row.failure or "scored"
    return row.failure or row.reason.partition(":")[0].strip() or "wrong"


def outcome(baseline: ScoreRow, candidate: ScoreRow, metric: Deciding) -> str | None:
    """Return gained, lost, right (both full marks) or wrong (neither better); None outside the denominator."""
    if metric.name not in baseline.scores or metric.name not in candidate.scores:
        return None
    before, after = baseline.scores[metric.name], candidate.scores[metric.name]
    if after != before:
        return "gained" if (after > before) == metric.higher_is_better else "lost"
    return "right" if metric.full(candidate) else "wrong"


def side_by_side(columns: Sequence[Iterable[ScoreRow]], metric: Deciding, compared: bool) -> list[dict[str, Any]]:
    """Return one object a row that all `columns` answered.

    Args:
        columns: scored rows of each model; the first is the baseline, the last the candidate.
        metric: decides each row's outcome.
        compared: False where the columns only stand side by side: then the outcome is the last one's alone.
    """
    tables = [{row.id: row for row in rows} for rows in columns]
    shared = [row_id for row_id in tables[-1] if all(row_id in table for table in tables)]
    return [_row([table[row_id] for table in tables], metric, compared) for row_id in shared]


def _row(answers: Sequence[ScoreRow], metric: Deciding, compared: bool) -> dict[str, Any]:
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


def _answer(row: ScoreRow, metric: Deciding) -> dict[str, Any]:
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

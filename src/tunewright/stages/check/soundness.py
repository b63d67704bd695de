"""Part of `check`: what stands in the rows that nobody would want to train on, by the filters' own eyes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.verdict import Verdict
from tunewright.gates.soundness import rows_are_sound
from tunewright.recipe.data_sections import Kind
from tunewright.sources.filters.duplicates import digest
from tunewright.sources.filters.mojibake import looks_damaged
from tunewright.sources.filters.quality import is_refusal
from tunewright.sources.filters.secrets import find_secrets
from tunewright.sources.text import canonical, spoken, whole

KEYS: Final[tuple[Kind, ...]] = (
    "private-key", "aws-key", "github-token", "openai-key", "anthropic-key", "huggingface-token", "google-key",
    "slack-token", "stripe-key", "jwt", "password",
)  # fmt: skip


def judge_soundness(rows: Sequence[ChatRow]) -> Verdict:
    """Return the verdict on what rows say."""
    return rows_are_sound(
        {
            "said before": _said_before(rows),
            "answered in several ways": _contradicting(rows),
            "refusals": [row.id for row in rows if is_refusal(spoken(row.answer))],
            "damaged characters": [row.id for row in rows if looks_damaged(whole(row))],
            "keys or passwords": [row.id for row in rows if any(True for _ in find_secrets(whole(row), KEYS))],
        },
        len(rows),
    )


def _said_before(rows: Sequence[ChatRow]) -> list[str]:
    seen: set[bytes] = set()
    found = []
    for row in rows:
        mark = digest(row, "row")
        if mark in seen:
            found.append(row.id)
        seen.add(mark)
    return found


def _contradicting(rows: Sequence[ChatRow]) -> list[str]:
    """Return the rows whose prompt, tools included, stands elsewhere with another answer."""
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        answers[_prompt(row)].add(spoken(row.answer))
    return [row.id for row in rows if len(answers[_prompt(row)]) > 1]


def _prompt(row: ChatRow) -> str:
    return canonical([row.messages[:-1], row.tools])

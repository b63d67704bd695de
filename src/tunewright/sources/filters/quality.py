"""Rows that teach little or teach wrong: too short, too long, repeating, refusing, or out of turn.

Repetition is the share of an answer's words that stand in a run of ten words which was there before: 0 for prose,
near 1 for a model caught in a loop. (Gopher's rules, arXiv:2112.11446 app. A1, measure the same by characters of 5-
to 10-grams.)
"""

from __future__ import annotations

import itertools
import re
from typing import Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.recipe.data_sections import QualityFilter
from tunewright.sources.filters.protocol import Check, Removed, excerpt
from tunewright.sources.text import question, spoken

RUN_WORDS: Final = 10
LEAST_WORDS: Final = 50
"""Shorter answers may repeat: a list, a table, a poem."""

_REFUSAL_CHARS: Final = 240
_REFUSALS: Final = re.compile(
    r"^\W{0,8}(?:i['’]?m (?:very |really |so )?sorry,? (?:but )?(?:i|as an)\b.{0,40}?"
    r"(?:can(?:['’]t|not)|unable|won['’]t|not able)"
    r"|i(?: am|['’]m) (?:unable|not able) to (?:assist|help|provide|fulfil|comply|answer|generate|create)"
    r"|(?:sorry,? )?(?:but )?i (?:cannot|can['’]t|won['’]t) "
    r"(?:assist|help|provide|fulfil|comply|answer|generate|create|do that)"
    r"|as an? (?:ai|artificial intelligence)(?: language)?(?: model| assistant)?\b)",
    re.IGNORECASE,
)


def quality_check(section: QualityFilter) -> Check:
    """Return the check: the first rule that a row breaks takes it."""

    def check(row: ChatRow) -> ChatRow | Removed:
        broken = _broken_rule(row, section)
        return row if broken is None else Removed(row, *broken)

    return check


def _broken_rule(row: ChatRow, section: QualityFilter) -> tuple[str, str] | None:
    if found := _turns(row, section):
        return found
    answer = spoken(row.answer)
    if found := _lengths(len(question(row).strip()), len(answer.strip()), section):
        return found
    if section.refusals == "remove" and is_refusal(answer):
        return "refusal", excerpt(answer)
    share = repetition(answer)
    return (
        (f"repeats itself (above {section.max_repetition:.0%})", f"{share:.0%}")
        if share > section.max_repetition
        else None
    )


def _turns(row: ChatRow, section: QualityFilter) -> tuple[str, str] | None:
    roles = [message["role"] for message in row.messages]
    turns = roles.count("assistant")
    if turns < section.min_turns:
        return f"fewer than {section.min_turns} turns", str(turns)
    if section.max_turns is not None and turns > section.max_turns:
        return f"more than {section.max_turns} turns", str(turns)
    twice = next((a for a, b in itertools.pairwise(roles) if a == b and a in ("user", "assistant")), None)
    if section.alternate and twice is not None:
        return "turns do not alternate", f"two of the {twice} in a row"
    return None


def _lengths(asked: int, answered: int, section: QualityFilter) -> tuple[str, str] | None:
    if asked < section.min_question_chars:
        return f"question below {section.min_question_chars} characters", str(asked)
    if answered < section.min_answer_chars:
        return f"answer below {section.min_answer_chars} characters", str(answered)
    if section.max_answer_chars is not None and answered > section.max_answer_chars:
        return f"answer above {section.max_answer_chars} characters", str(answered)
    return None


def is_refusal(answer: str) -> bool:
    """True for an answer that opens as refusals do, in English."""
    return _REFUSALS.match(answer[:_REFUSAL_CHARS]) is not None


def repetition(text: str) -> float:
    """Return the share of words in runs of ten that were there before, in [0, 1]; 0 for less than 50 words."""
    listed = text.split()
    # a run that was there before is ten words that were there before
    if len(listed) < LEAST_WORDS or len(listed) - len(set(listed)) < RUN_WORDS:
        return 0.0
    runs = list(zip(*(listed[start:] for start in range(RUN_WORDS)), strict=False))
    if len(set(runs)) == len(runs):
        return 0.0
    seen: set[tuple[str, ...]] = set()
    repeated, end = 0, 0
    for start, run in enumerate(runs):
        if run in seen:
            repeated += start + RUN_WORDS - max(start, end)
            end = start + RUN_WORDS
        seen.add(run)
    return repeated / len(listed)

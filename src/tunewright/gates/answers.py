"""Gate `answers_complete`: are the answers whole, or did the length limit cut them?"""

from __future__ import annotations

from tunewright.artifacts.verdict import Verdict, judge

MOST_CUT = 0.05


def answers_complete(cut: int, total: int, max_new_tokens: int) -> Verdict:
    """WARN when more than one answer in twenty was cut at `max_new_tokens`.

    A model that never stops is cut too, which is its own fault; so this warns and does not fail.
    """
    return judge(
        "answers_complete",
        cut <= MOST_CUT * total,
        measured=f"{cut} of {total} answers cut at {max_new_tokens} tokens",
        bound=f"at most {MOST_CUT:.0%}",
        remedy="read a few cut answers: raise `max_new_tokens` if they were going somewhere; a model that never "
        "stops was not taught its end-of-turn",
        warn=True,
    )

"""Gates on answers: are they whole (`answers_complete`), and do they have scores (`answers_scored`)?"""

from __future__ import annotations

from tunewright.artifacts.verdict import Verdict, judge

MOST_CUT = 0.05
MOST_UNSCORED = 0.01


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


def answers_scored(unscored: int, total: int, first_error: str = "", bound: float = MOST_UNSCORED) -> Verdict:
    """FAIL when more than `bound` of the answers have no score.

    Rows without a score are left out of every figure. Which rows fail is seldom chance (the longest time out, the
    strangest crash a scorer), so what is left is another set of rows, and an easier one. One row in a hundred moves a
    rate by at most a point, which is less than the interval of any set of rows below 9,000.
    """
    return judge(
        "answers_scored",
        unscored <= bound * total,
        measured=f"{unscored} of {total} answers have no score" + (f"; the first: {first_error}" if unscored else ""),
        bound=f"at most {bound:.1%}",
        remedy="read the `error` of the rows in scores.jsonl; give the same command again where a server was at fault; "
        "else raise `most_unscored` knowingly",
    )

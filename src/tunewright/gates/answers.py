"""Gates on answers: are they whole (`answers_complete`), and do they have scores (`answers_scored`)?

Before there are any, the same is asked of the references: does the suite take them for right (`references_are_right`),
and is there room for them (`references_fit`)?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunewright.artifacts.verdict import Verdict, judge, some_of

MOST_CUT = 0.05
MOST_UNSCORED = 0.01
# A suite that takes less than half of its own references for right measures something else.
LEAST_RIGHT, USUALLY_RIGHT = 0.5, 0.95
MOST_TOO_LONG = 0.5
_NAMED_IDS = 3


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


def references_are_right(
    evaluation: str,
    suite: str,
    metric: str,
    scores: Mapping[str, float | None],
    errors: Mapping[str, str] | None = None,
) -> Verdict:
    """FAIL when the suite takes less than half of the references for right answers; WARN below 95%.

    Rows that the metric is not about (a row that wants no call, among tool calls) are left out, as in the evaluation.
    Where it is about none at all, the suite is that of another task, and no reference is right.

    Args:
        evaluation: the stage.
        suite: that scored them.
        metric: its main one, 0 or 1.
        scores: row id -> score of the row's own reference; None where the suite gives none.
        errors: row id -> why the suite could not score it, which is not right.
    """
    errors = errors or {}
    counted = [row for row, score in scores.items() if score is not None or row in errors] or list(scores)
    wrong = [row for row in counted if not scores[row]]
    right = 1 - len(wrong) / len(counted)
    outside = len(scores) - len(counted)
    return judge(
        "references_are_right",
        right >= USUALLY_RIGHT,
        measured=f"`{evaluation}`: {suite} gives {metric} to {len(counted) - len(wrong)} of {len(counted)} references"
        + (f", not to {len(wrong)}: {some_of(wrong, _NAMED_IDS)}" if wrong else "")
        + (f"; {outside} more are none that {metric} is about" if outside else "")
        + (f"; the first error: {next(iter(errors.values()))}" if errors else ""),
        bound=f"at least {USUALLY_RIGHT:.0%}, never below {LEAST_RIGHT:.0%}",
        remedy="another `suite` for these rows, or its `options`; or mend the references: `tw show rows` prints them",
        warn=right >= LEAST_RIGHT,
    )


def references_fit(evaluation: str, lengths: Sequence[int], max_new_tokens: int) -> Verdict:
    """FAIL when more than half of the references are longer than an answer may be; WARN above one in twenty.

    Args:
        evaluation: the stage.
        lengths: tokens of each reference and its end-of-turn.
        max_new_tokens: of the stage or its suite.
    """
    long = sum(length > max_new_tokens for length in lengths)
    return judge(
        "references_fit",
        long <= MOST_CUT * len(lengths),
        measured=f"`{evaluation}`: {long} of {len(lengths)} references are longer than {max_new_tokens} tokens, the "
        f"longest has {max(lengths)}",
        bound=f"at most {MOST_CUT:.0%}, never above {MOST_TOO_LONG:.0%}",
        remedy=f"`max_new_tokens: {max(lengths)}` or more in `{evaluation}`",
        warn=long <= MOST_TOO_LONG * len(lengths),
    )

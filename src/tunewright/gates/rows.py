"""Gates on rows: is there something to train on and to test on, is the split clean, does every row teach its end,
is exactly what the assistant says trained, and does it fit.

Each is pure: measurements in, verdict out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tunewright.artifacts.verdict import Verdict, judge, some_of
from tunewright.chat.labels import LabelAudit

# More than every second row lost says that the recipe and the data do not belong together.
MAX_DROPPED_SHARE = 0.5
# Whatever cuts at 256 tokens leaves a pile of answers of 256; lengths that grow by themselves have one longest row.
MAX_SAME_LENGTH_SHARE = 0.02
MIN_SAME_LENGTH = 5
MIN_CUT_TOKENS = 64  # nobody cuts shorter than this
UNITS = ("tokens", "characters")  # what a limit may have counted


@dataclass(frozen=True)
class RowLength:
    """How long a row is, in tokens: whole, and up to its last answer."""

    row: str
    source: str
    tokens: int
    prompt_tokens: int


@dataclass(frozen=True)
class Answer:
    """The last answer of a row."""

    row: str
    source: str
    text: str
    tokens: int

    @property
    def characters(self) -> int:
        """How long it is: some cut characters, not tokens."""
        return len(self.text)

    @property
    def breaks_off(self) -> bool:
        """True if it ends inside a word, a sentence or a list: with a letter, a digit, a comma or an open bracket."""
        last = self.text.rstrip()[-1:]
        return last.isalnum() or last in ",;:-([{"


def rows_left(train: int, test: int, read: int, dropped: int, max_dropped_share: float = MAX_DROPPED_SHARE) -> Verdict:
    """FAILED if train or test has no row; WARNED if more than `max_dropped_share` of the rows read were dropped."""
    share = dropped / read if read else 0.0
    empty = train == 0 or test == 0
    remedy = "add rows, or hold out fewer with `split.test`" if empty else "raise `max_tokens`, or mend the rows"
    return judge(
        "rows_left",
        not empty and share <= max_dropped_share,
        measured=f"train {train}, test {test}, dropped {dropped} of {read} ({share:.0%})",
        bound=f"train and test at least 1 row, at most {max_dropped_share:.0%} dropped",
        remedy=remedy,
        warn=not empty,
    )


def groups_disjoint(train_groups: Collection[str], test_groups: Collection[str]) -> Verdict:
    """FAILED if a group stands on both sides: the test would ask what was trained."""
    shared = sorted(set(train_groups) & set(test_groups))
    return judge(
        "groups_disjoint",
        not shared,
        measured=f"{len(shared)} shared groups{_named(shared)}",
        bound="0 groups on both sides",
        remedy="split by whole groups",
    )


def answers_end_with_end_of_turn(last_trained: Mapping[str, int | None], stop_token_ids: Collection[int]) -> Verdict:
    """FAILED if a row's last trained token is not one that ends an answer: the model would never learn to stop.

    Args:
        last_trained: row id -> its last trained token, None where nothing is trained.
        stop_token_ids: tokens that end an answer.
    """
    open_rows = [row for row, token in last_trained.items() if token not in stop_token_ids]
    return judge(
        "answers_end_with_end_of_turn",
        not open_rows,
        measured=f"{len(open_rows)} of {len(last_trained)} rows do not{_named(open_rows)}",
        bound="every train row ends with a stop token",
        remedy="mend chat_template.jinja: it must write the end-of-turn token behind each answer, as one token",
    )


def every_row_trains(trained_tokens: Mapping[str, int]) -> Verdict:
    """FAILED if a row has no trained token: it costs time and teaches nothing."""
    silent = [row for row, count in trained_tokens.items() if count == 0]
    return judge(
        "every_row_trains",
        not silent,
        measured=f"{len(silent)} of {len(trained_tokens)} rows train nothing{_named(silent)}",
        bound="0 rows without a trained token",
        remedy="remove rows with an empty answer, or mend the chat template",
    )


def labels_are_the_answers(audits: Sequence[LabelAudit]) -> Verdict:
    """FAILED if a token of a prompt is trained, or one of an answer or its end-of-turn is not; names the rows.

    WARNED if that could be told of no row.
    """
    wrong = [one.row for one in audits if one.prompt_trained or one.answer_masked or one.ends_masked]
    verified = sum(one.verified for one in audits)
    prompt, answer, ends = (
        sum(getattr(one, name) for one in audits) for name in ("prompt_trained", "answer_masked", "ends_masked")
    )
    return judge(
        "labels_are_the_answers",
        not wrong and bool(verified or not audits),
        measured=f"trained by mistake: {prompt} tokens of prompts; not trained: {answer} of answers, {ends} of "
        f"{sum(one.ends for one in audits)} ends of turns; {verified} of {len(audits)} rows could be verified"
        f"{_named(wrong)}",
        bound="0, 0 and 0",
        remedy="mark exactly the assistant's text with {% generation %} in chat_template.jinja; do not mask labels by "
        "the id of a padding token that is the end-of-turn as well",
        warn=not wrong,
    )


def rows_fit(lengths: Sequence[RowLength], limit: int | None, *, drops: bool, drops_tools: bool = False) -> Verdict:
    """FAILED if a row is longer than `limit` and the recipe says stop; or if a source loses more than half of its rows.

    A trainer that cuts would lose the ends of answers; here rows are never cut, but dropped they are lost too.

    Args:
        lengths: of all rows that were looked at.
        limit: tokens, `max_tokens` or the model's context; None for none.
        drops: True where the recipe drops longer rows, False where it stops at them.
        drops_tools: True where it takes tools from them before.
    """
    long = [one for one in lengths if limit is not None and one.tokens > limit]
    cut = sum(one.prompt_tokens < (limit or 0) for one in long)
    shares = _shares([one.source for one in long], [one.source for one in lengths])
    source, most = max(shares.items(), key=lambda item: item[1], default=("", 0.0))
    longest = max((one.tokens for one in lengths), default=0)
    return judge(
        "rows_fit",
        not long or (drops and most <= MAX_DROPPED_SHARE),
        measured=f"{len(long)} of {len(lengths)} rows are longer than {limit or 'any limit'}; of {cut} a trainer that "
        f"cuts would cut the answer; longest {longest}; most in {source or 'no source'} ({most:.0%})",
        bound=f"at most {MAX_DROPPED_SHARE:.0%} of a source" if drops else "0: `overlong: error`",
        remedy="raise `max_tokens`, take a model with a longer context, shorten the rows"
        + ("" if drops else "; or `overlong: drop`")
        + ("" if drops_tools else "; `overlong: drop_tools` where tools make them long"),
    )


def answers_are_whole(answers: Sequence[Answer], max_share: float = MAX_SAME_LENGTH_SHARE) -> Verdict:
    """FAILED if answers of a source pile up at their greatest length and break off there: something cut them before.

    Args:
        answers: the last answer of each row.
        max_share: of a source's answers; fewer than MIN_SAME_LENGTH rows are never a pile.
    """
    by_source: dict[str, list[Answer]] = {}
    for one in answers:
        by_source.setdefault(one.source, []).append(one)
    piles = [
        (_pile(some, unit), source, unit) for source, some in by_source.items() for unit in ("tokens", "characters")
    ]
    # Not the largest pile: a large source has large ones by chance, and would hide a small source that was cut.
    rows, source, unit = max(
        piles,
        key=lambda pile: (len(pile[0]) >= MIN_SAME_LENGTH, len(pile[0]) / len(by_source[pile[1]])),
        default=([], "", ""),
    )
    share = len(rows) / len(by_source[source]) if rows else 0.0
    length = next((getattr(one, unit) for one in answers if rows and one.row == rows[0]), 0)
    return judge(
        "answers_are_whole",
        len(rows) < MIN_SAME_LENGTH or share <= max_share,
        measured=f"{len(rows)} answers of {source} ({share:.0%}) have exactly {length} {unit}, the most there is, and "
        f"break off{_named(rows)}"
        if rows
        else "no answers pile up at one length",
        bound=f"fewer than {MIN_SAME_LENGTH}, or at most {max_share:.0%} of a source",
        remedy="whatever wrote these answers had a limit: write them again with a higher one, or drop them",
    )


def _pile(answers: Sequence[Answer], unit: str) -> list[str]:
    """Return the rows whose answers are the longest there are in a unit, differ, and break off."""
    most = max((getattr(one, unit) for one in answers), default=0)
    longest = [one for one in answers if getattr(one, unit) == most]
    found = {one.text: one.row for one in longest if one.breaks_off and one.tokens >= MIN_CUT_TOKENS}
    return list(found.values())


def _shares(part: Sequence[str], whole: Sequence[str]) -> dict[str, float]:
    return {name: part.count(name) / whole.count(name) for name in dict.fromkeys(part)}


def _named(ids: list[str]) -> str:
    return f": {some_of(ids)}" if ids else ""

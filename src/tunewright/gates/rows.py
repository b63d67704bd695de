"""Gates on rows: is there something to train on and to test on, is the split clean, does every row teach its end.

Each is pure: measurements in, verdict out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tunewright.artifacts.verdict import Verdict, judge

# More than every second row lost says that the recipe and the data do not belong together.
MAX_DROPPED_SHARE = 0.5
_NAMED_IDS = 5


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


def _named(ids: list[str]) -> str:
    if not ids:
        return ""
    more = ", …" if len(ids) > _NAMED_IDS else ""
    return f": {', '.join(ids[:_NAMED_IDS])}{more}"

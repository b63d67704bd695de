"""Gates on what reaches the model: all that a row says, something at all, and tomorrow what it was today."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tunewright.artifacts.verdict import Verdict, judge, some_of


def rows_are_written(left_out: Mapping[str, str], num_rows: int) -> Verdict:
    """FAILED if the template leaves out what the system or the user says in a row; names the rows.

    What the assistant says is held against its mask, and its thinking may be left out of earlier turns.

    Args:
        left_out: row id -> the role whose words are not in the rendered text.
        num_rows: that were looked at.
    """
    named = some_of(left_out)
    roles = ", ".join(f"{count} of the {role}" for role, count in Counter(left_out.values()).items())
    return judge(
        "rows_are_written",
        not left_out,
        measured=f"{len(left_out)} of {num_rows} rows lose words" + (f" ({roles}): {named}" if left_out else ""),
        bound="0 rows",
        remedy="mend chat_template.jinja, or join the text with a turn that the template writes (a system text goes in "
        "front of the first question)",
    )


def answers_say_something(empty: Sequence[str], num_rows: int) -> Verdict:
    """FAILED if a row's last answer is empty or blank and calls no tool: it would teach to say nothing; names rows."""
    return judge(
        "answers_say_something",
        not empty,
        measured=f"{len(empty)} of {num_rows} rows answer with nothing" + (f": {some_of(empty)}" if empty else ""),
        bound="0 rows",
        remedy="remove these rows: `filters: [{type: quality}]` in the data stage takes them",
    )


def one_template(sources: Mapping[str, str]) -> Verdict:
    """WARN if the folder holds two templates that differ: who loads it decides which one is used.

    Args:
        sources: name of a file -> the template in it.
    """
    return judge(
        "one_template",
        len(set(sources.values())) <= 1,
        measured=f"{len(set(sources.values()))} different templates" + (f": {', '.join(sources)}" if sources else ""),
        bound="1",
        remedy="take the template out of tokenizer_config.json: chat_template.jinja is what training uses",
        warn=True,
    )


def template_is_timeless(today: str, another_day: str) -> Verdict:
    """WARN if the same conversation is written otherwise on another day: the prompt of serving is none of training's.

    Args:
        today: a conversation, rendered.
        another_day: the same, rendered as if on another day.
    """
    differing = sum(left != right for left, right in zip(today.split(), another_day.split(), strict=False))
    return judge(
        "template_is_timeless",
        today == another_day,
        measured="the same text on every day" if today == another_day else f"{differing} words hang on the date",
        bound="0",
        remedy="fix the date in chat_template.jinja, or give serving the date of the training",
        warn=True,
    )

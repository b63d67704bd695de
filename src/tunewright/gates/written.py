"""Gate `rows_are_written`: does all that a row says reach the model?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tunewright.artifacts.verdict import Verdict, judge

_NAMED_IDS = 5


def rows_are_written(left_out: Mapping[str, str], num_rows: int) -> Verdict:
    """FAILED if the template leaves out what the system or the user says in a row; names the rows.

    What the assistant says is held against its mask, and its thinking may be left out of earlier turns.

    Args:
        left_out: row id -> the role whose words are not in the rendered text.
        num_rows: that were looked at.
    """
    roles = ", ".join(f"{count} of the {role}" for role, count in Counter(left_out.values()).items())
    named = ", ".join(list(left_out)[:_NAMED_IDS]) + (", …" if len(left_out) > _NAMED_IDS else "")
    return judge(
        "rows_are_written",
        not left_out,
        measured=f"{len(left_out)} of {num_rows} rows lose words" + (f" ({roles}): {named}" if left_out else ""),
        bound="0 rows",
        remedy="mend chat_template.jinja, or join the text with a turn that the template writes (a system text goes in "
        "front of the first question)",
    )

"""Gate `rows_are_sound`: is there something in the rows that nobody would want to train on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunewright.artifacts.verdict import Verdict, judge, some_of

BOUNDS: dict[str, float] = {
    "said before": 0.1,
    "answered in several ways": 0.1,
    "refusals": 0.1,
    "damaged characters": 0.01,
    "keys or passwords": 0.0,
}
"""kind -> share of the rows from which it is told. Some repetition and some refusals are in sound data on purpose; text
in the wrong encoding is not, and a key is one too many."""
_NAMED_IDS = 3


def rows_are_sound(found: Mapping[str, Sequence[str]], num_rows: int) -> Verdict:
    """WARN if more rows are of one kind than its bound: whether they should go is for a person to say.

    Args:
        found: kind, one of BOUNDS -> ids of the rows.
        num_rows: that were looked at.
    """
    bad = {kind: rows for kind, rows in found.items() if len(rows) > BOUNDS[kind] * num_rows}
    told = [f"{len(rows)} {kind} ({some_of(rows, _NAMED_IDS)})" for kind, rows in bad.items()]
    return judge(
        "rows_are_sound",
        not bad,
        measured=f"of {num_rows} rows: {'; '.join(told) or 'nothing above its bound'}",
        bound=", ".join(f"{kind} {share:.0%}" for kind, share in BOUNDS.items()),
        remedy="read these rows; `tw data prune` shows what filters take: duplicates, quality, mojibake, secrets",
        warn=True,
    )

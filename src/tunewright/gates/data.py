"""Gates on what rows say: does training give away the evaluation, and did a filter take more than it should?

Each is pure: measurements in, verdict out. The bounds of an overlap stand in `sources/overlap.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from tunewright.artifacts.verdict import Verdict, judge
from tunewright.sources.overlap import BOUNDS, NEAR, Overlap

# A filter that takes more than half of what it is given is set wrongly, or the source is the wrong one.
MAX_FILTERED_SHARE = 0.5
_NAMED_PAIRS = 3
_IN_WORDS = ", ".join(
    ["the same words or JSON", *(f"{share:.0%} of {size}-grams" for size, share in BOUNDS.items()), f"Jaccard {NEAR:g}"]
)


def decontaminated(overlaps: Sequence[Overlap], test_rows: int, *, other_tasks: int = 0, evidence: str = "") -> Verdict:
    """FAILED if a training row gives an evaluation row away; names the first pairs.

    Args:
        overlaps: the pairs that were found.
        test_rows: evaluation rows that training was compared with.
        other_tasks: pairs of the same words whose answers call different functions, or one none; no leak.
        evidence: the file with all pairs.
    """
    given_away = {(pair.test_set, pair.test_id) for pair in overlaps}
    same_words = f"; {other_tasks} more say the same and are another task" if other_tasks else ""
    return judge(
        "decontaminated",
        not overlaps,
        measured=f"{len(given_away)} of {test_rows} evaluation rows stand in train{_pairs(overlaps)}{same_words}",
        bound=f"0 ({_IN_WORDS})",
        remedy="remove these train rows (`decontaminate: {action: remove}`), or give rows that belong together "
        "one `group`",
        evidence=evidence if overlaps else "",
    )


def _pairs(overlaps: Sequence[Overlap]) -> str:
    if not overlaps:
        return ""
    named = [f"{pair.test_id} = {pair.train_id} ({pair.kind} {pair.share:.0%})" for pair in overlaps[:_NAMED_PAIRS]]
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(pair.kind for pair in overlaps).items())
    return f" ({kinds}): {'; '.join(named)}{'; …' if len(overlaps) > _NAMED_PAIRS else ''}"


def filters_kept_most(removed: Mapping[str, int], rows_in: int, max_share: float = MAX_FILTERED_SHARE) -> Verdict:
    """WARNED if one filter took more than `max_share` of all rows.

    Args:
        removed: filter -> rows it took.
        rows_in: rows before the first filter.
        max_share: of `rows_in`.
    """
    most = max(removed, key=lambda name: removed[name], default="")
    share = removed[most] / rows_in if most and rows_in else 0.0
    return judge(
        "filters_kept_most",
        share <= max_share,
        measured=f"`{most}` took {removed[most]} of {rows_in} rows ({share:.0%})" if most else "no filter",
        bound=f"at most {max_share:.0%} by one filter",
        remedy=f"look at what it took (filters.json); loosen `{most}`, or choose another source",
        warn=True,
    )

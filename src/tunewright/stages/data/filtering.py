"""The filters of a recipe, one after the other, on the rows of the stage; and what each took, for `filters.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.progress import task
from tunewright.recipe.data_sections import Filter
from tunewright.sources.filters.build import build_filter
from tunewright.sources.filters.protocol import Removed, excerpt
from tunewright.sources.text import whole

EXAMPLES: Final = 3


def apply_filters(
    rows: Sequence[ChatRow], filters: Sequence[Filter]
) -> tuple[list[ChatRow], list[Removed], list[dict[str, Any]]]:
    """Return the rows that stay, in order; those that go; and a summary of each filter.

    Raises:
        MissingExtra: a filter lacks its library. UserError, DataError: see `build_filter` and the custom filter.
    """
    built = [build_filter(section) for section in filters]  # what is missing is told before the first is applied
    kept, gone, steps = list(rows), [], []
    for row_filter in built:
        before, kept, removed = kept, [], []
        with task(f"filter {row_filter.name}", total=len(before)) as progress:
            for item in row_filter(before):
                if isinstance(item, Removed):
                    removed.append(item)
                else:
                    kept.append(item)
                progress.advance()
        steps.append(_step(row_filter.name, before, kept, removed))
        gone += removed
    return kept, gone, steps


def _step(name: str, before: Sequence[ChatRow], kept: Sequence[ChatRow], removed: Sequence[Removed]) -> dict[str, Any]:
    taken = Counter(item.reason for item in removed)
    unchanged = {id(row) for row in before}
    examples = [item for reason in taken for item in [one for one in removed if one.reason == reason][:EXAMPLES]]
    return {
        "filter": name,
        "rows_in": len(before),
        "rows_kept": len(kept),
        "changed": sum(id(row) not in unchanged for row in kept),
        "removed": dict(taken.most_common()),
        "examples": [
            {"id": item.row.id, "reason": item.reason, "detail": item.detail, "text": excerpt(whole(item.row), 200)}
            for item in examples
        ],
    }

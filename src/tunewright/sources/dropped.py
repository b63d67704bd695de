"""A row that was read and left out, with the reason, so that nothing disappears uncounted."""

from __future__ import annotations

from dataclasses import dataclass

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError

MAX_ROW_BYTES = 2_000_000
"""The largest row, as JSON: some 450,000 tokens of English, in 2 seconds and up to 0.6 GB (docs/log.md)."""
TOO_LARGE = f"larger than {MAX_ROW_BYTES / 1e6:g} MB"


@dataclass(frozen=True)
class Dropped:
    """One row left out. `reason` is a few words, the same for all rows dropped for it.

    `error` is what to raise where such a row is not to be left out but to stop the run; None where it never does.
    """

    reason: str
    id: str
    error: DataError | None = None


def unless_too_large(row: ChatRow, where: str) -> ChatRow | Dropped:
    """Return the row, or what stands for it when it is too large to be rendered. `where` is its place: `file:line`."""
    size = len(row.model_dump_json())
    if size <= MAX_ROW_BYTES:
        return row
    error = DataError(
        f"a row of {size / 1e6:.1f} MB", where=where, expected=f"at most {MAX_ROW_BYTES / 1e6:g} MB a row",
        fix="split it into several rows; `overlong: drop` leaves such rows out and counts them",
    )  # fmt: skip
    return Dropped(TOO_LARGE, row.id, error)

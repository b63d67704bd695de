"""A row that was read and left out, with the reason, so that nothing disappears uncounted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dropped:
    """One row left out. `reason` is a few words, the same for all rows dropped for it."""

    reason: str
    id: str

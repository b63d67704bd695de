"""Fields that are each right and cannot stand together: how a section says so.

A section finds its clashes in a validator and raises them with `refuse`, all at once. `faults.py` tells each at the
place of its field; in Python they are the text of pydantic's `ValidationError`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from pydantic_core import PydanticCustomError

CLASH: Final = "clash"  # the type of the pydantic error; its context holds `clashes`


@dataclasses.dataclass(frozen=True)
class Clash:
    """One field that cannot be what it is, because of another.

    `instead` is a field of the same section and the value it was probably meant to have; `example` shows fields that
    go together.
    """

    field: str
    seen: str
    expected: str
    instead: tuple[str, str] | None = None
    example: dict[str, Any] = dataclasses.field(default_factory=dict)


def refuse(clashes: Iterable[Clash]) -> None:
    """Raise the clashes as one pydantic error; do nothing when there is none."""
    found = tuple(clashes)
    if found:
        reasons = "; ".join(f"{clash.seen} (expected: {clash.expected})" for clash in found)
        raise PydanticCustomError(CLASH, "{reasons}", {"reasons": reasons, "clashes": found})

"""What a run may still take: the clock and the purse of its `budget:`, as a stage sees them.

The runner makes one for each stage; a stage asks `spent()` at a place where it can stop with its work kept. Stages that
never ask are interrupted at the same moment by the runner's own alarm: what they have done is kept as after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tunewright.errors import BudgetSpent
from tunewright.progress import clock


@dataclass(frozen=True)
class Purse:
    """A budget, and what earlier stages and attempts have taken of it.

    Attributes:
        most_hours: the limit, or None.
        most_usd: the limit, or None.
        usd_per_hour: what the machine costs; None where nobody knows.
        spent_hours: working time before this attempt.
        began: `time.monotonic()` of this attempt.
    """

    most_hours: float | None = None
    most_usd: float | None = None
    usd_per_hour: float | None = None
    spent_hours: float = 0.0
    began: float = field(default_factory=time.monotonic)

    @property
    def limit_hours(self) -> float | None:
        """Working time that the whole run may take, by the tighter of the two limits; None for no limit."""
        limits = [] if self.most_hours is None else [self.most_hours]
        if self.most_usd is not None and self.usd_per_hour:
            limits.append(self.most_usd / self.usd_per_hour)
        return min(limits, default=None)

    @property
    def used_hours(self) -> float:
        """Working time so far, of all attempts."""
        return self.spent_hours + (time.monotonic() - self.began) / 3600

    def seconds_left(self) -> float | None:
        """Return what is left, maybe below 0; None for no limit."""
        return None if self.limit_hours is None else 3600 * (self.limit_hours - self.used_hours)

    def spent(self) -> bool:
        """True once nothing is left."""
        left = self.seconds_left()
        return left is not None and left <= 0

    def told(self) -> str:
        """Return what was taken, beside the limit: `1 h 02 min of 1 h 00 min`."""
        used = f"{clock(3600 * self.used_hours)} of {clock(3600 * (self.limit_hours or 0.0))}"
        if self.usd_per_hour and self.most_usd is not None:
            return f"{used}, {self.used_hours * self.usd_per_hour:.2f} of {self.most_usd:.2f} USD"
        return used


class _Rung(KeyboardInterrupt):
    """Passes through all that `except Exception` would swallow, as Ctrl-C does."""


@contextlib.contextmanager
def alarm(purse: Purse | None) -> Iterator[None]:
    """Interrupt what runs inside at the moment when the budget is spent. Only the main thread can be interrupted.

    Raises:
        BudgetSpent: that moment came.
    """
    left = None if purse is None else purse.seconds_left()
    if purse is None or left is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise _Rung

    old = signal.signal(signal.SIGALRM, ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
    except _Rung:
        raise BudgetSpent(purse.told()) from None

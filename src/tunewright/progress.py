"""Progress of long work on stderr: a rich bar on a terminal, a plain line every few seconds elsewhere.

stdout stays free for the result.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_LINE_EVERY_SECONDS = 15.0


class Task(Protocol):
    """One piece of long work."""

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        """Report `amount` more units done; `note` is a few words shown beside the bar."""


class _PlainTask:
    def __init__(self, title: str, total: float, done: float):
        self.title, self.total, self.done = title, total, done
        self.start = self.last = time.monotonic()
        self.at_start = done

    def advance(self, amount: float = 1.0, note: str = "") -> None:
        self.done += amount
        now = time.monotonic()
        if now - self.last < PLAIN_LINE_EVERY_SECONDS and self.done < self.total:
            return
        self.last = now
        elapsed, worked = now - self.start, self.done - self.at_start
        left = elapsed / worked * (self.total - self.done) if worked > 0 else float("nan")
        share = 100 * self.done / self.total if self.total else 100
        eta = f"{clock(left)} left" if left == left and self.done < self.total else f"in {clock(elapsed)}"
        print(f"  {self.title}: {share:3.0f}%  {eta}  {note}".rstrip(), file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Return a duration as a person says it: `42 s`, `3 min 05 s`, `1 h 02 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def is_live(stream: object = None) -> bool:
    """True where a moving bar makes sense: a terminal, no CI, no NO_COLOR=dumb terminal."""
    stream = stream or sys.stderr
    return (
        bool(getattr(stream, "isatty", lambda: False)())
        and not os.environ.get("CI")
        and os.environ.get("TERM") != "dumb"
    )


@contextmanager
def task(title: str, total: float, done: float = 0.0) -> Iterator[Task]:
    """Open a progress line for `total` units of which `done` are already done."""
    if not is_live():
        yield _PlainTask(title, total, done)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        handle = bar.add_task(title, total=total, completed=int(done), note="")

        class _RichTask:
            def advance(self, amount: float = 1.0, note: str = "") -> None:
                bar.update(handle, advance=amount, note=note)

        yield _RichTask()

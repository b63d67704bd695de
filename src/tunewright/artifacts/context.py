"""What a stage is handed beside its inputs: where verdicts and notes go. The same from CLI, test and notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tunewright.artifacts.spending import Purse
from tunewright.artifacts.verdict import Status, Verdict
from tunewright.errors import GateFailed


@dataclass
class RunContext:
    """Collects the verdicts and notes of one stage.

    A notebook calls a stage with `RunContext()` and reads `.verdicts` afterwards; the runner writes them into the
    record.
    """

    stage: str = ""
    quiet: bool = False
    say: Callable[[str], None] | None = None
    """where notes go instead of stderr: the runner writes them into the log too"""
    allow: tuple[str, ...] = ()
    """gates that may fail"""
    purse: Purse | None = None
    """what the run may still take; None for no budget"""
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def judge(self, *verdicts: Verdict) -> None:
        """Add verdicts to the record of this stage."""
        self.verdicts.extend(verdicts)

    def require(self, *verdicts: Verdict) -> None:
        """Add verdicts, and stop the stage at once where one failed: before anything is spent.

        Raises:
            GateFailed: a verdict is FAILED and not allowed.
        """
        self.judge(*verdicts)
        for verdict in verdicts:
            if verdict.status is Status.FAILED and verdict.name not in self.allow:
                raise GateFailed(
                    f"gate {verdict.name} FAILED: {verdict.measured}",
                    where=f"stage {self.stage}" if self.stage else None,
                    expected=verdict.bound,
                    fix=f"{verdict.remedy}; or go on knowingly with --allow {verdict.name}",
                )

    def note(self, text: str) -> None:
        """Say one line to the person who waits (stderr) and to the log."""
        self.notes.append(text)
        if self.say is not None:
            self.say(text)
        elif not self.quiet:
            print(f"  {text}", file=sys.stderr, flush=True)

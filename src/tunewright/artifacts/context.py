"""What a stage is handed beside its inputs: where verdicts and notes go. The same from CLI, test and notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tunewright.artifacts.verdict import Verdict


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
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def judge(self, *verdicts: Verdict) -> None:
        """Add verdicts to the record of this stage."""
        self.verdicts.extend(verdicts)

    def note(self, text: str) -> None:
        """Say one line to the person who waits (stderr) and to the log."""
        self.notes.append(text)
        if self.say is not None:
            self.say(text)
        elif not self.quiet:
            print(f"  {text}", file=sys.stderr, flush=True)

"""Train rows against the test rows of the stage, and against further evaluation files: which give one away?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.files import write_json
from tunewright.artifacts.verdict import Verdict
from tunewright.gates.data import decontaminated
from tunewright.progress import task
from tunewright.recipe.data_sections import Decontaminate
from tunewright.sources.files import read_rows
from tunewright.sources.overlap import EvaluationIndex, Overlap

OVERLAPS: Final = "overlaps.json"
GIVEN_AWAY: Final = "gives an evaluation row away"


@dataclass
class Compared:
    """The pairs that were found, and the ids of the train rows that go because of them."""

    pairs: list[Overlap] = field(default_factory=list)
    test_rows: int = 0
    other_tasks: int = 0
    removed: frozenset[str] = frozenset()

    def verdict(self, out: Path) -> Verdict:
        """Judge what is left in train; all pairs, those of removed rows too, go to overlaps.json."""
        if self.pairs:
            write_json(out / OVERLAPS, [asdict(pair) for pair in self.pairs])
        left = [pair for pair in self.pairs if pair.train_id not in self.removed]
        return decontaminated(left, self.test_rows, other_tasks=self.other_tasks, evidence=OVERLAPS)


def compare_with_evaluation(train: Sequence[ChatRow], test: Sequence[ChatRow], section: Decontaminate) -> Compared:
    """Compare every train row with every evaluation row.

    Raises:
        DataError: a file of evaluation rows is not there, or broken.
    """
    index = EvaluationIndex({"test": test} | {path: read_rows(Path(path)) for path in section.against})
    found = Compared(test_rows=len(index))
    with task("comparing train with test", total=len(train)) as progress:
        for row in train:
            found.pairs.extend(index.overlaps(row))
            found.other_tasks += index.same_words_other_task(row)
            progress.advance()
    if section.action == "remove":
        found.removed = frozenset(pair.train_id for pair in found.pairs)
    return found

"""Train rows against every row that is evaluated: which give one away?

What is compared: train with the stage's own test rows, with those of earlier stages that the recipe evaluates, with
the rows of suites that bring their own, and with further files; and what earlier stages train on with the test rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import write_json
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import UserError
from tunewright.gates.data import decontaminated
from tunewright.progress import task
from tunewright.recipe.data_sections import OwnRows
from tunewright.recipe.sections import DataSection
from tunewright.sources.files import read_rows
from tunewright.sources.overlap import EvaluationIndex, Overlap
from tunewright.suites.protocol import find_suite

OVERLAPS: Final = "overlaps.json"
GIVEN_AWAY: Final = "gives an evaluation row away"
OWN: Final = "test"


@dataclass(frozen=True)
class EvaluationSets:
    """What a `data` stage compares its rows with, beside one part with the other."""

    section: DataSection
    held_out: Mapping[str, Rows]
    trained_on: Mapping[str, Rows]

    def rows(self) -> Iterator[tuple[str, Iterable[ChatRow]]]:
        """Yield name and rows of every set.

        Raises:
            DataError: a file is not there, or broken. UserError: a suite is not there, or brings no rows.
        """
        yield from self.held_out.items()
        for path in self.section.decontaminate.against:
            yield path, read_rows(Path(path))
        for own in self.section.suites or ():
            yield own.suite, _rows_of(own)


def _rows_of(own: OwnRows) -> list[ChatRow]:
    suite = find_suite(own.suite, own.options)
    if suite.rows is None:
        raise UserError("this suite brings no rows", where=f"suite {own.suite}", fix="give `rows` to its `evaluate`")
    return suite.rows(own.seed, own.limit)


@dataclass
class Compared:
    """The pairs that were found, and the ids of the train rows that go because of them."""

    pairs: list[Overlap] = field(default_factory=list)
    test_rows: int = 0
    other_tasks: int = 0
    removed: frozenset[str] = frozenset()
    beside: list[Overlap] = field(default_factory=list)
    """pairs of rows that another stage trains on: no row of this stage can be removed for them"""

    def verdict(self, out: Path) -> Verdict:
        """Judge what is left in train; all pairs, those of removed rows too, go to overlaps.json."""
        everything = [*self.pairs, *self.beside]
        if everything:
            write_json(out / OVERLAPS, [asdict(pair) for pair in everything])
        left = [*(pair for pair in self.pairs if pair.train_id not in self.removed), *self.beside]
        return decontaminated(left, self.test_rows, other_tasks=self.other_tasks, evidence=OVERLAPS)


def compare_with_evaluation(train: Sequence[ChatRow], test: Sequence[ChatRow], sets: EvaluationSets) -> Compared:
    """Compare every train row with every evaluation row.

    Raises:
        DataError, UserError: see `EvaluationSets.rows`.
    """
    named: dict[str, list[ChatRow]] = {OWN: list(test)}
    for name, rows in sets.rows():
        named.setdefault(name, []).extend(rows)  # one suite with two settings is one set
    index = EvaluationIndex(named)
    index.leave_out_templates_of(train)
    found = Compared(test_rows=len(index))
    with task("comparing train with evaluation", total=len(train)) as progress:
        for row in train:
            found.pairs.extend(index.overlaps(row))
            found.other_tasks += index.same_words_other_task(row)
            progress.advance()
    if sets.section.decontaminate.action == "remove":
        found.removed = frozenset(pair.train_id for pair in found.pairs)
    if sets.trained_on:
        own = EvaluationIndex({OWN: test})
        own.leave_out_templates_of(row for rows in sets.trained_on.values() for row in rows)
        found.beside = [pair for rows in sets.trained_on.values() for row in rows for pair in own.overlaps(row)]
    return found

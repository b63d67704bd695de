"""More than two systems: every pair in the main metric, p-values Holm-corrected over all pairs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from tunewright.artifacts.comparison import PairedTest, PairOfSystems
from tunewright.artifacts.scores import ScoreRow
from tunewright.errors import DataError
from tunewright.stages.compare.pairs import Paired, pair_by_row, paired
from tunewright.stages.compare.tests import outcome, paired_test
from tunewright.stats.corrections import holm


def matrix_of(
    systems: Mapping[str, Sequence[ScoreRow]],
    metric: str,
    confidence: float,
    seed: int,
    lower_is_better: Collection[str] = (),
) -> tuple[PairOfSystems, ...]:
    """Return all pairs of three or more systems; nothing for two, whose only pair is the comparison itself.

    Raises:
        DataError: two of them have no row that both score in `metric`; names them.
    """
    if len(systems) < 3:
        return ()
    pairs = {names: _scored(systems, *names, metric, lower_is_better) for names in combinations(systems, 2)}
    tests = {names: paired_test(pair, confidence, seed) for names, pair in pairs.items()}
    corrected = holm([test.p_value_raw for test in tests.values()])
    return tuple(_cell(*names, test, p, confidence) for (names, test), p in zip(tests.items(), corrected, strict=True))


def _scored(
    systems: Mapping[str, Sequence[ScoreRow]], first: str, second: str, metric: str, lower_is_better: Collection[str]
) -> Paired:
    found = paired(metric, pair_by_row(systems[first], systems[second]), lower_is_better)
    if not found.pairs:
        raise DataError(
            f"no row has a score in {metric!r} on both sides", where=f"{first} and {second}",
            expected="that all systems score the metric that decides: each is compared with each in it",
            fix="leave out the system that has no such score",
        )  # fmt: skip
    return found


def _cell(first: str, second: str, test: PairedTest, p_value: float, confidence: float) -> PairOfSystems:
    return PairOfSystems(
        first=first,
        second=second,
        difference=test.difference,
        interval=test.interval,
        p_value=p_value,
        p_value_raw=test.p_value_raw,
        num_rows=test.num_rows,
        verdict=outcome(test.gain, p_value, confidence),
    )

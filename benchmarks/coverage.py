"""Do the printed 95% intervals cover 95%, and does the gate give false alarms in at most 5%?

    python -m benchmarks.coverage                        all of it, about a quarter of an hour on one core
    python -m benchmarks.coverage --only intervals       the coverage table
    python -m benchmarks.coverage --only gate            false alarms of `compare`
    python -m benchmarks.coverage --samples 400 --comparisons 300

Rows are drawn from known truths and go through the very functions that print: `metric_interval` for a score,
`difference_interval` for a comparison, `compare_scores` and the gate for the false alarms. Rows of a group agree
through a shared normal effect (a Gaussian copula); in a paired draw each system has a group effect of its own beside
the shared one, so that differences are clustered too. A graded score is 0 or 1 for most rows and in between for the
rest, as F1 of calls is.

Bounds: coverage at least 93%, and at most 97.5% from n = 200 on; false alarms at most 5%.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from tunewright.artifacts.comparison import PairedTest
from tunewright.artifacts.scores import ScoreRow
from tunewright.artifacts.verdict import Status
from tunewright.gates.comparison import better_than_baseline
from tunewright.recipe.sections import Require
from tunewright.stages.compare.stage import compare_scores
from tunewright.stats.intervals import metric_interval
from tunewright.stats.paired import difference_interval

Floats = NDArray[np.float64]
SIZES = (20, 50, 200)
RATES = (0.5, 0.9, 0.97)
PATTERN = (1, 1, 2, 3, 5, 8)  # sizes of uneven groups, over and over
SHARED_ROW = 0.3  # share of the variance that two systems have in common on a row
LEAST, MOST, MOST_FROM = 0.93, 0.975, 200
ALARMS = 0.05


@dataclass(frozen=True)
class Design:
    """How rows share groups: `sizes` of the groups, and how much the rows of one agree (copula correlation)."""

    name: str
    group_size: int | None
    agreement: float

    def groups(self, num_rows: int) -> list[str]:
        """Return the group of each row."""
        names: list[str] = []
        while len(names) < num_rows:
            size = self.group_size or PATTERN[len(set(names)) % len(PATTERN)]
            names += [f"g{len(set(names))}"] * size
        return names[:num_rows]


DESIGNS = (
    Design("rows alone", 1, 0.0),
    Design("groups of 4, no agreement", 4, 0.0),
    Design("groups of 4, agreement 0.3", 4, 0.3),
    Design("groups of 10, agreement 0.3", 10, 0.3),
    Design("uneven groups, agreement 0.3", None, 0.3),
)


# ── draws ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def effects(groups: list[str], num: int, rng: np.random.Generator) -> Floats:
    """Return a standard normal effect a group, as (num, rows)."""
    index = np.unique(groups, return_inverse=True)[1]
    return np.asarray(rng.normal(size=(num, index.max() + 1))[:, index], dtype=np.float64)


def one_system(groups: list[str], agreement: float, num: int, rng: np.random.Generator) -> Floats:
    """Return standard normal latent values (num, rows)."""
    own = rng.normal(size=(num, len(groups)))
    return math.sqrt(agreement) * effects(groups, num, rng) + math.sqrt(1 - agreement) * own


def two_systems(groups: list[str], agreement: float, num: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the latent values of two systems: half of the groups' effect is shared, and a part of each row's."""
    shared = math.sqrt(agreement / 2) * effects(groups, num, rng)
    shared = shared + math.sqrt(SHARED_ROW) * rng.normal(size=shared.shape)
    rest = math.sqrt(1 - agreement - SHARED_ROW)
    first, second = (
        shared + math.sqrt(agreement / 2) * effects(groups, num, rng) + rest * rng.normal(size=shared.shape)
        for _ in range(2)
    )
    return first, second


def zero_one(latent: Floats, rate: float) -> Floats:
    """Return 0/1 scores with that rate."""
    return (latent < norm.ppf(rate)).astype(float)


def graded(latent: Floats, mean: float) -> Floats:
    """Return scores with that mean: most are 0 or 1, and a share of 0.8 min(mean, 1 - mean) lies evenly between."""
    between = 0.8 * min(mean, 1 - mean)
    zero = 1 - mean - between / 2
    level = norm.cdf(-latent)
    return np.clip((level - zero) / between, 0, 1)


KINDS: dict[str, Callable[[Floats, float], Floats]] = {"0/1": zero_one, "graded": graded}

# ── coverage ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    what: str
    design: str
    num_rows: int
    rate: float
    coverage: float
    width: float

    @property
    def holds(self) -> bool:
        """Whether the coverage is inside the bounds."""
        return self.coverage >= LEAST and (self.num_rows < MOST_FROM or self.coverage <= MOST)


def coverage(samples: int, seed: int = 0) -> Iterator[Cell]:
    """Yield the coverage of every printed interval."""
    for design in DESIGNS:
        for num_rows in SIZES:
            for rate in RATES:
                for kind in KINDS:
                    rng = np.random.default_rng([seed, num_rows, int(1000 * rate)])
                    yield score_coverage(kind, design, num_rows, rate, samples, rng)
                    yield difference_coverage(kind, design, num_rows, rate, samples, rng)


def score_coverage(
    kind: str, design: Design, num_rows: int, rate: float, samples: int, rng: np.random.Generator
) -> Cell:
    """Return how often the interval of one score holds the truth."""
    groups = design.groups(num_rows)
    scores = KINDS[kind](one_system(groups, design.agreement, samples, rng), rate)
    ends = [metric_interval(row, groups) for row in scores]
    return _cell(f"{kind} score", design, num_rows, rate, ends, rate)


def difference_coverage(
    kind: str, design: Design, num_rows: int, rate: float, samples: int, rng: np.random.Generator
) -> Cell:
    """Return how often the interval of a paired difference holds the truth; the candidate's rate is `rate`."""
    groups = design.groups(num_rows)
    before = rate - 0.2 if rate <= 0.9 else rate
    old, new = two_systems(groups, design.agreement, samples, rng)
    pairs = zip(KINDS[kind](old, before), KINDS[kind](new, rate), strict=True)
    ends = [difference_interval(a, b, groups) for a, b in pairs]
    return _cell(f"{kind} difference", design, num_rows, rate, ends, rate - before)


def _cell(what: str, design: Design, num_rows: int, rate: float, ends: list[tuple[float, float]], truth: float) -> Cell:
    inside = [low - 1e-12 <= truth <= high + 1e-12 for low, high in ends]
    width = float(np.mean([high - low for low, high in ends]))
    return Cell(what, design.name, num_rows, rate, float(np.mean(inside)), width)


# ── false alarms ────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Alarms:
    """How often two systems that are the same come out as different. Shares of the comparisons."""

    design: str
    num_rows: int
    rate: float
    better: float
    """the main metric is called better"""
    any_verdict: float
    """some metric is called better or worse"""
    gate_passed: float
    """the gate passes `require: {metric, better_by: 0}`"""
    gate_failed: float
    """the gate fails without `require`: called worse"""

    @property
    def holds(self) -> bool:
        """Whether no kind of alarm is more frequent than it may be."""
        return max(self.better, self.any_verdict, self.gate_passed, self.gate_failed) <= ALARMS


def false_alarms(design: Design, num_rows: int, rate: float, comparisons: int, seed: int = 0) -> Alarms:
    """Compare two systems of one distribution so many times, with a 0/1 and a graded metric."""
    rng = np.random.default_rng([seed, num_rows, int(1000 * rate)])
    groups = design.groups(num_rows)
    latents = two_systems(groups, design.agreement, comparisons, rng)
    scored = [(zero_one(latent, rate), graded(latent, rate)) for latent in latents]
    found = []
    for at in range(comparisons):
        old, new = (_rows(groups, right[at], part[at]) for right, part in scored)
        found.append(compare_scores(old, new, seed=at))
    return Alarms(
        design=design.name,
        num_rows=num_rows,
        rate=rate,
        better=_share(found, lambda tests: tests[0].verdict == "better"),
        any_verdict=_share(found, lambda tests: any(test.verdict != "not shown" for test in tests)),
        gate_passed=_share(found, lambda tests: _gate(tests[0], Require(metric="right")) is Status.PASSED),
        gate_failed=_share(found, lambda tests: _gate(tests[0], None) is Status.FAILED),
    )


def _gate(test: PairedTest, require: Require | None) -> Status:
    return better_than_baseline(test, require).status


def _share(found: list[list[PairedTest]], alarm: Callable[[list[PairedTest]], bool]) -> float:
    return sum(map(alarm, found)) / len(found)


def _rows(groups: list[str], right: Floats, part: Floats) -> list[ScoreRow]:
    """Rows as `compare` takes them, unvalidated: there are millions."""
    made = ScoreRow.model_construct
    return [
        made(id=str(at), group=group, scores={"right": one, "part": other}, prompt_sha256="")
        for at, (group, one, other) in enumerate(zip(groups, right.tolist(), part.tolist(), strict=True))
    ]


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def print_coverage(cells: list[Cell]) -> None:
    """Print one line an interval, design and n, with the coverage and mean width at each rate."""
    print("| interval | rows | n | " + " | ".join(f"p = {rate:g}" for rate in RATES) + " |\n" + "| --- " * 6 + "|")
    lines: dict[tuple[str, str, int], list[str]] = {}
    for cell in sorted(cells, key=lambda cell: cell.what):
        text = f"{100 * cell.coverage:.1f}% ({cell.width:.3f}){'' if cell.holds else ' **out**'}"
        lines.setdefault((cell.what, cell.design, cell.num_rows), []).append(text)
    for (what, design, num_rows), texts in lines.items():
        print(f"| {what} | {design} | {num_rows} | {' | '.join(texts)} |")
    out = [cell for cell in cells if not cell.holds]
    lowest, highest = min(c.coverage for c in cells), max(c.coverage for c in cells if c.num_rows >= MOST_FROM)
    print(
        f"\n{len(cells)} intervals, {len(out)} out of bounds; lowest {lowest:.1%}, highest from n = 200 {highest:.1%}"
    )


def print_alarms(found: Iterator[Alarms], comparisons: int) -> None:
    """Print one line a design."""
    print(f"{comparisons:,} comparisons a line of a system with itself")
    print("| rows | n | p | called better | any verdict in any metric | gate passes `better_by: 0` | gate fails |")
    print("| --- " * 7 + "|")
    for alarm in found:
        shares = (alarm.better, alarm.any_verdict, alarm.gate_passed, alarm.gate_failed)
        told = " | ".join(f"{100 * share:.2f}%" for share in shares)
        print(
            f"| {alarm.design} | {alarm.num_rows} | {alarm.rate:g} | {told} |{'' if alarm.holds else ' OUT'}",
            flush=True,
        )


GATE_CASES = ((20, 0.5), (50, 0.9), (200, 0.9))
GATE_DESIGNS = (DESIGNS[0], DESIGNS[2], DESIGNS[4])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("intervals", "gate"))
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--comparisons", type=int, default=10_000)
    options = parser.parse_args(arguments or [])
    if options.only != "gate":
        print_coverage(list(coverage(options.samples)))
    if options.only != "intervals":
        cases = ((design, *case) for design in GATE_DESIGNS for case in GATE_CASES)
        print_alarms((false_alarms(*case, options.comparisons) for case in cases), options.comparisons)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

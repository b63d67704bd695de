"""Does a grader give gold answers full marks, and nothing to answers that say nothing?

Before a grader is trusted it is shown answers whose score is known: the gold answer of each row, and canned ones: an
empty answer, a refusal, the question itself, and the "master keys" that earned reward from judges up to 80-90% of the
time (Zhao et al. 2025, arXiv:2507.08794). Two more tell what a grader looks at: a long empty phrase (`filler`), and the
gold answer of another row (`other_gold`), which a grader of form alone accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from tunewright.graders.protocol import Grade, Grader, Row, grade_many
from tunewright.graders.rows import gold_of, question_text, row_id

GOLD_FULL = 0.9
"""of the range: from here on a gold answer counts as accepted; a judge may find something in any answer"""
CANNED_NOTHING = 0.1
"""of the range: the most that a kind of canned answer may score on average"""

CANNED_ROWS = 8
"""what says the same to every row is tried on so many"""

MASTER_KEYS = (":", ".", "Thought process:", "Let's solve this problem step by step.", "Solution", "解")
CANNED: dict[str, str] = {
    "empty": "",
    "blank": " \n",
    "refusal": "I'm sorry, but I cannot help with that.",
    "apology": "I do not know.",
    **{f"key {key!r}": key for key in MASTER_KEYS},
}
FILLER = (
    "This is an important question, and it deserves a careful and complete answer. There are several things that one "
    "should keep in mind, and each of them matters in its own way. On the one hand there is much to be said for it; on "
    "the other hand one must not forget what speaks against it. "
) * 4


@dataclass(frozen=True)
class Check:
    """The scores of one kind of answer, as shares of the grader's range; errors are counted apart."""

    scores: tuple[float, ...]
    errors: int = 0

    @property
    def mean(self) -> float | None:
        """Mean score, None if nothing was scored."""
        return sum(self.scores) / len(self.scores) if self.scores else None


@dataclass(frozen=True)
class SelfCheck:
    """What a grader gives to answers whose score is known."""

    gold: Check
    canned: dict[str, Check]
    filler: Check
    other_gold: Check
    rejected: tuple[str, ...] = ()
    """rows whose gold answer does not get full marks, the first ten"""
    num_without_gold: int = 0
    grades: tuple[Grade, ...] = field(default=(), repr=False, compare=False)

    @property
    def gold_accepted(self) -> float | None:
        """Share of the gold answers that get full marks, None if no row has one."""
        total = len(self.gold.scores) + self.gold.errors
        return sum(score >= GOLD_FULL for score in self.gold.scores) / total if total else None

    @property
    def worst_canned(self) -> tuple[str, float]:
        """The kind of canned answer that scores most, and its mean score."""
        means = {name: check.mean for name, check in self.canned.items()}
        return max(
            ((name, mean) for name, mean in means.items() if mean is not None), key=lambda p: p[1], default=("", 0.0)
        )

    @property
    def passed(self) -> bool:
        """True if gold answers score full and no kind of canned answer scores anything."""
        return self.gold_accepted == 1.0 and self.worst_canned[1] <= CANNED_NOTHING

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "passed": self.passed,
            "gold": {"mean": self.gold.mean, "accepted": self.gold_accepted, "errors": self.gold.errors},
            "canned": {name: check.mean for name, check in self.canned.items()},
            "filler": self.filler.mean,
            "other_gold": self.other_gold.mean,
            "rejected": list(self.rejected),
            "rows_without_gold": self.num_without_gold,
        }


def self_check(grader: Grader, rows: Sequence[Row]) -> SelfCheck:
    """Grade gold and canned answers of `rows`.

    Costs three grades a row, and those of the fixed answers for the first CANNED_ROWS of them: 148 for twenty rows.
    """
    few = rows[:CANNED_ROWS]
    with_gold = [(row, gold) for row in rows if (gold := gold_of(row)) is not None]
    tasks: dict[str, list[tuple[str, Row]]] = {
        "gold": [(gold, row) for row, gold in with_gold],
        "filler": [(FILLER, row) for row in few],
        "other_gold": _swapped(with_gold),
        **{f"canned {name}": [(text, row) for row in few] for name, text in CANNED.items()},
        "canned question": [(question, row) for row in rows if (question := question_text(row))],
    }
    pairs = [pair for task in tasks.values() for pair in task]
    grades = grade_many(grader, [answer for answer, _ in pairs], [row for _, row in pairs])
    left = iter(grades)
    graded = {name: list(islice(left, len(task))) for name, task in tasks.items()}
    checks = {name: _check(found, grader) for name, found in graded.items()}
    full = [not g.error and _share(g, grader) >= GOLD_FULL for g in graded["gold"]]
    return SelfCheck(
        gold=checks["gold"],
        canned={name.removeprefix("canned "): check for name, check in checks.items() if name.startswith("canned ")},
        filler=checks["filler"],
        other_gold=checks["other_gold"],
        rejected=tuple(row_id(row) for (row, _), ok in zip(with_gold, full, strict=True) if not ok)[:10],
        num_without_gold=len(rows) - len(with_gold),
        grades=tuple(grades),
    )


def _swapped(with_gold: Sequence[tuple[Row, str]]) -> list[tuple[str, Row]]:
    """Return each row with the next other row's gold answer that differs from its own."""
    found = []
    for place, (row, gold) in enumerate(with_gold):
        others = (other for _, other in (*with_gold[place + 1 :], *with_gold[:place]) if other.strip() != gold.strip())
        other = next(others, None)
        if other is not None:
            found.append((other, row))
    return found


def _check(grades: Sequence[Grade], grader: Grader) -> Check:
    scored = [_share(grade, grader) for grade in grades if grade.score is not None]
    return Check(tuple(scored), len(grades) - len(scored))


def _share(grade: Grade, grader: Grader) -> float:
    return share_of_range(grade.score or 0.0, range_of(grader))


def range_of(grader: Grader) -> tuple[float, float]:
    """Return the lowest and the full score of a grader, (0, 1) where it does not say."""
    low, high = getattr(grader, "range", (0.0, 1.0))
    return float(low), float(high)


def share_of_range(score: float, ends: tuple[float, float]) -> float:
    """Return a score as a share of the range: 0 at its low end, 1 at its full."""
    return (score - ends[0]) / (ends[1] - ends[0])

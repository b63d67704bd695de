"""What a suite is: it scores one answer against one row, and says which rows each metric counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from tunewright.artifacts.dataset import ChatRow


@dataclass(frozen=True)
class Scored:
    """The score of one answer. A row outside a metric's denominator lacks that metric in `scores`."""

    scores: dict[str, float]
    reason: str
    parsed: Any = None


@dataclass(frozen=True)
class Metric:
    """A metric, its denominator in words, and whether its scores are 0 or 1."""

    name: str
    denominator: str
    binary: bool = True


@dataclass(frozen=True)
class Suite:
    """A named way of scoring."""

    name: str
    metrics: tuple[Metric, ...]
    score: Scorer
    main_metric: str = field(default="")


class Scorer(Protocol):
    """Scores one answer."""

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Return the scores of `answer` for `row`. Never raises for anything a model may say."""


def find_suite(name: str) -> Suite:
    """Return the suite `name`; the names are those of `tunewright.suites.METRICS`."""
    from tunewright.suites import exact_match, tool_calls

    return {suite.name: suite for suite in (tool_calls.SUITE, exact_match.SUITE)}[name]

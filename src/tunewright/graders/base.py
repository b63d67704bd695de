"""What most graders share: read the row once, keep time, turn what cannot be scored into an error."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tunewright.graders.protocol import Grade, Row, Sample, item_of
from tunewright.graders.template import Unscored

MAX_ANSWER_CHARS = 1_000_000  # far above the longest answer that is ever asked for (8,192 tokens)


class SampleGrader(ABC):
    """A grader that sees an answer as a Sample and a row as an item.

    Args:
        name: of the grader, in results.
    """

    type: str = ""
    """as in the grader's file"""
    range: tuple[float, float] = (0.0, 1.0)
    """the lowest and the full score"""

    def __init__(self, name: str):
        self.name = name

    def grade(self, answer: str, row: Row) -> Grade:
        """Return the grade of `answer`; never raises for anything a model may say."""
        return timed(lambda: self.score(sample_of(answer), item_of(row)))

    @abstractmethod
    def score(self, sample: Sample, item: Mapping[str, Any]) -> Grade:
        """Return the grade of `sample`.

        Raises:
            Unscored: it cannot be scored.
        """


def sample_of(answer: str) -> Sample:
    """Return the answer as a sample.

    Raises:
        Unscored: it is longer than MAX_ANSWER_CHARS.
    """
    if len(answer) > MAX_ANSWER_CHARS:
        raise Unscored(
            "truncated_observation_error", f"an answer of {len(answer)} characters; at most {MAX_ANSWER_CHARS} are read"
        )
    return Sample(answer)


def timed(score: Callable[[], Grade]) -> Grade:
    """Return the grade that `score` returns, with its seconds; Unscored becomes an error."""
    began = time.perf_counter()
    try:
        grade = score()
    except Unscored as error:
        grade = Grade.failed(error.kind, error.detail)
    return replace(grade, seconds=grade.seconds or time.perf_counter() - began)


def as_score(value: Any, source: str) -> float:
    """Return a score as a finite float; True is 1.

    Raises:
        Unscored: it is None (`unresponsive_reward_error`), or no finite number (`other_error`).
    """
    if value is None:
        raise Unscored("unresponsive_reward_error", f"{source} returned nothing")
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise Unscored("other_error", f"{source} returned {str(value)[:80]!r}, which is no finite number")
    return float(value)

"""A paired comparison: the result of `compare`, also written as `comparison.json`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.artifact import Artifact

Outcome = Literal["better", "worse", "not shown"]


class PairedTest(BaseModel):
    """One metric, candidate against baseline, on the same rows."""

    model_config = ConfigDict(frozen=True)

    metric: str
    baseline: float
    candidate: float
    difference: float
    """candidate - baseline"""
    interval: tuple[float, float]
    """of the difference, at `confidence`; not corrected"""
    p_value: float
    """two-sided; Holm-corrected over the metrics of one comparison"""
    p_value_raw: float
    test: str
    """exact McNemar for 0/1 metrics, paired permutation for graded ones; `by group` where rows share a group"""
    num_rows: int
    num_groups: int
    gained: int
    """rows where the candidate is better"""
    lost: int
    """rows where the baseline is better: gained + lost are the discordant rows"""
    least_detectable: float
    """smallest true difference that this many rows, with this discordance, show with 80% power"""
    verdict: Outcome
    unscored: int = 0
    """rows that lack a score on one side or on both, where an answer could not be scored; they count for neither"""
    design_effect: float = 1.0
    """how many rows in groups tell as much as one that stands alone"""
    higher_is_better: bool = True

    @property
    def gain(self) -> float:
        """By how much the candidate is better; below 0 if it is worse."""
        return self.difference if self.higher_is_better else -self.difference

    @property
    def not_worse_by(self) -> float:
        """The margin of non-inferiority that is shown: the candidate is not worse by more than this."""
        return max(0.0, -self.interval[0] if self.higher_is_better else self.interval[1])


class Side(BaseModel):
    """The candidate against one baseline."""

    model_config = ConfigDict(frozen=True)

    baseline: str
    """stage id"""
    tests: list[PairedTest]


class PairOfSystems(BaseModel):
    """One cell of the matrix: two of several systems in the main metric."""

    model_config = ConfigDict(frozen=True)

    first: str
    """stage id"""
    second: str
    difference: float
    """second - first"""
    interval: tuple[float, float]
    p_value: float
    """two-sided; Holm-corrected over all pairs of systems"""
    p_value_raw: float
    num_rows: int
    verdict: Outcome
    """of the second"""


Slicing = Literal["failure", "tool", "length", "group", "source"]


class Change(BaseModel):
    """What became of some rows in the main metric: those of one tool, length, group or source, or of one failure class.

    For a failure class, `baseline` and `candidate` are the shares of all rows that failed so, `gained` the rows that
    failed so before and are better now, and `lost` those that fail so now and were better before.
    """

    model_config = ConfigDict(frozen=True)

    by: Slicing
    value: str
    num_rows: int
    baseline: float
    candidate: float
    gained: int
    lost: int
    p_value: float
    """two-sided, of gained against lost; Benjamini-Hochberg over all slices: for browsing, no proof"""
    better: tuple[str, ...]
    """ids of rows that got better, at most five"""
    worse: tuple[str, ...]


class Comparison(Artifact):
    """All paired tests of a `compare` stage."""

    kind: ClassVar[str] = "compare"

    baseline: str
    candidate: str
    confidence: float
    num_rows: int
    tests: list[PairedTest]
    beside: tuple[Side, ...] = ()
    verdict: Outcome
    """of the required metric, or of the suite's main metric"""
    main_metric: str
    unscored: int = 0
    """of the main metric"""
    matrix: tuple[PairOfSystems, ...] = ()
    """all pairs of baseline, beside and candidate, where there are three or more"""
    changes: tuple[Change, ...] = ()
    """what got better and what got worse, where something did; the most changed first"""

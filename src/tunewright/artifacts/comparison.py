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
    """of the difference, at `confidence`"""
    p_value: float
    """two-sided; Holm-corrected over the metrics of one comparison"""
    p_value_raw: float
    test: str
    """exact McNemar for 0/1 metrics, paired permutation for graded ones"""
    num_rows: int
    num_groups: int
    gained: int
    """rows where the candidate is better"""
    lost: int
    """rows where the baseline is better: gained + lost are the discordant rows"""
    least_detectable: float
    """smallest true difference that this many rows, with this discordance, show with 80% power"""
    verdict: Outcome


class Side(BaseModel):
    """The candidate against one baseline."""

    model_config = ConfigDict(frozen=True)

    baseline: str
    """stage id"""
    tests: list[PairedTest]


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

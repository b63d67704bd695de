"""A verdict: what a gate measured, the bound it held it against, and what to do if it failed."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Status(StrEnum):
    """How a gate came out."""

    PASSED = "PASSED"
    """Inside the bound."""
    WARNED = "WARNED"
    """Outside what is usual; the run goes on."""
    FAILED = "FAILED"
    """Outside the bound; the runner stops before the next stage, unless `--allow NAME`."""


class Verdict(BaseModel):
    """The answer of one gate. Gates are pure: `(measurements, bounds) -> Verdict`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    status: Status
    measured: str
    bound: str
    remedy: str = ""
    evidence: str = ""
    allowed: bool = False

    @property
    def stops(self) -> bool:
        """True if the runner must not start the next stage."""
        return self.status is Status.FAILED and not self.allowed


def some_of(ids: Collection[str], most: int = 5) -> str:
    """Return ids as a verdict names them: the first `most`, and an ellipsis where there are more."""
    return ", ".join(list(ids)[:most]) + (", …" if len(ids) > most else "")


def judge(
    name: str, ok: bool, *, measured: str, bound: str, remedy: str, evidence: str = "", warn: bool = False
) -> Verdict:
    """Return PASSED if `ok`, else WARNED when `warn` and FAILED otherwise."""
    status = Status.PASSED if ok else Status.WARNED if warn else Status.FAILED
    return Verdict(
        name=name, status=status, measured=measured, bound=bound, remedy="" if ok else remedy, evidence=evidence
    )

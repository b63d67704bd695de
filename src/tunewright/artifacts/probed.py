"""The result of `probe`: what a model did with prompts that only an instruction-tuned one should answer.

probe.json     every measurement with its interval, as in the record
answers.jsonl  every text the model wrote: probe, prompt, answer, whether it counted
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.artifact import Artifact

Grade = Literal["BASE", "INSTRUCT-EXPOSED", "INSTRUCT"]


class ProbeResult(BaseModel):
    """One probe: a rate with Wilson's 95% interval, or a mean with Student's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float
    low: float
    high: float
    trials: int
    successes: int | None
    """None for a mean"""
    unit: Literal["rate", "nats a token", "of all instructions"] = "rate"
    note: str = ""


class Probed(Artifact):
    """What a probe found out about a model."""

    kind: ClassVar[str] = "probe"

    model: str
    grade: Grade
    signs: tuple[str, ...]
    """probes that speak for instruction tuning, the strong ones first"""
    results: tuple[ProbeResult, ...]
    form: str
    """the chat form that was tried: the model's own template, a known one, or none"""
    opening: str
    """the token put in front of plain text, or nothing"""
    seconds: float

"""The result of `dry_run`, beside answers.jsonl, grades.jsonl and dry_run.json."""

from __future__ import annotations

from typing import ClassVar, Literal

from tunewright.artifacts.artifact import Artifact


class DryRun(Artifact):
    """What a dry run of a grader found."""

    kind: ClassVar[str] = "dry_run"

    grader: str
    verdict: Literal["GO", "WARNING", "NO-GO"]
    diagnoses: tuple[str, ...]
    """cause before effect; none: the grader is sound"""
    num_prompts: int
    num_answers: int
    num_unscored: int
    mean: float | None
    dead_prompts: int
    """prompts whose answers all have one score"""
    cost_usd: float
    seconds: float

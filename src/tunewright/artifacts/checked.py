"""The result of `check`, beside check.json with every measurement."""

from __future__ import annotations

from typing import ClassVar

from tunewright.artifacts.artifact import Artifact


class Checked(Artifact):
    """What a check looked at."""

    kind: ClassVar[str] = "check"

    rows: int
    """rows looked at, of all sources"""
    prompts_sha256: str
    """of the tokens of the prompts that were compared: equal hashes mean that two runs train on the same prompts"""
    views: tuple[str, ...]
    """the ways of rendering that were held against training"""
    seconds: float

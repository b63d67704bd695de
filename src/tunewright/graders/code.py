"""What graders that run code share: the sandbox they use, many answers at a time, code in an answer, equal values."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tunewright.errors import UserError
from tunewright.graders.protocol import Grade, Grader, Row
from tunewright.graders.sandbox import Level, Sandbox, shared_sandbox

FENCE = "```"
_PYTHON = ("", "python", "py", "python3")


def sandbox_for(given: Sandbox | None, require: str | None, packages: tuple[str, ...] = ()) -> Sandbox:
    """Return the sandbox of a grader: the one it was given, else one that graders with the same wishes share.

    Raises:
        UserError: `require` is no level. EnvironmentProblem: the level is not reached.
    """
    least = None if require is None else level_of(require)
    if given is None:
        return shared_sandbox(least, packages)
    given.require(least)
    return given


def level_of(name: str) -> Level:
    """Return the level that `name` says. Raises UserError if there is none."""
    try:
        return Level[name.upper()]
    except KeyError:
        known = ", ".join(level.name.lower() for level in Level)
        raise UserError(f"{name!r} is no level of isolation", where="require_sandbox", expected=known) from None


def sandboxes_of(graders: Iterable[Grader]) -> list[Sandbox]:
    """Return the sandboxes in which graders, or parts of them, run code."""
    parts = [part for grader in graders for part in (grader, *getattr(grader, "parts", {}).values())]
    return [part.sandbox for part in parts if getattr(part, "sandbox", None) is not None]


def isolation(graders: Iterable[Grader], require: str | None = None) -> dict[str, Any] | None:
    """Return level, layers and what is missing of the sandbox that shuts in least; None where no code is run.

    Raises:
        EnvironmentProblem: it does not reach the level `require`. UserError: there is no such level.
    """
    sandboxes = sandboxes_of(graders)
    for sandbox in sandboxes:
        sandbox.require(None if require is None else level_of(require))
    return min(sandboxes, key=lambda sandbox: sandbox.level).describe() if sandboxes else None


def concurrently(
    grade: Callable[[str, Row], Grade], answers: Sequence[str], rows: Sequence[Row], sandbox: Sandbox
) -> list[Grade]:
    """Return the grades of `answers`, in order, made by as many threads as the sandbox has workers."""
    if len(answers) != len(rows):
        raise ValueError(f"{len(answers)} answers for {len(rows)} rows")
    with ThreadPoolExecutor(sandbox.limits.workers or os.cpu_count() or 1) as pool:
        return list(pool.map(grade, answers, rows))


def code_of(answer: str, wanted: str = "") -> str:
    """Return the Python in an answer: its last fenced block, of those that hold `wanted` if any do; else all of it.

    A block left open runs to the end. Linear in the length of the answer.
    """
    blocks = fenced_blocks(answer)
    if not blocks:
        return answer
    return next((block for block in reversed(blocks) if wanted and wanted in block), blocks[-1])


def fenced_blocks(answer: str) -> list[str]:
    """Return the fenced blocks of an answer that are marked as Python, or not marked."""
    blocks: list[str] = []
    lines: list[str] | None = None
    is_python = False
    for line in answer.split("\n"):  # what else splitlines splits at may stand in a string of the code
        mark = line.strip()
        if lines is None and mark.startswith(FENCE):
            lines, is_python = [], mark.strip("`").strip().lower() in _PYTHON
        elif lines is not None and mark == FENCE:
            blocks += ["\n".join(lines)] if is_python else []
            lines = None
        elif lines is not None:
            lines.append(line)
    return blocks + (["\n".join(lines)] if lines and is_python else [])


def too_deep(value: Any, levels: int = 100) -> bool:
    """Return whether a JSON value nests more than `levels` deep."""
    parts = [value]
    for _ in range(levels + 1):
        parts = [
            below
            for part in parts
            if isinstance(part, list | dict)
            for below in (part.values() if isinstance(part, dict) else part)
        ]
        if not parts:
            return False
    return True


def same(found: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Return whether two JSON values are the same: true is not 1, 1 is 1.0, and keys have no order.

    Args:
        found: a JSON value.
        expected: another.
        tolerance: by how much, absolute or relative, a number may differ if one of the two is no whole number.
    """
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, int | float) and isinstance(expected, int | float):
        if isinstance(found, int) and isinstance(expected, int):
            return found == expected
        try:
            return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
        except OverflowError:
            return False
    if isinstance(found, list) and isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(same(f, e, tolerance) for f, e in zip(found, expected, strict=True))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key], tolerance) for key in expected)
    return type(found) is type(expected) and bool(found == expected)

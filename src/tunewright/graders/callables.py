"""Grader `callable`: any Python function `module:name`, called with (answer, row): a text, and the row as a dict.

It may be sync or async and returns a number, True or False, None (unscored), a Grade, or a dict with `score` and, if
it likes, `reason` and `sub_scores`. What it raises is an error of the grader and never a 0. It is the user's own code
and runs in this process; the module is looked for in the current folder too.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from tunewright.artifacts.user_code import import_user_module
from tunewright.errors import UserError
from tunewright.graders.base import as_score, timed
from tunewright.graders.protocol import Grade, Row, item_of
from tunewright.graders.spec import Context, GraderError, GraderSpec, Problem
from tunewright.graders.template import Unscored

AT_ONCE = 32


class Spec(GraderSpec):
    """Call a Python function."""

    type: Literal["callable"]
    target: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="the function: `module:name`")


class CallableGrader:
    """Grades with a function.

    Args:
        function: `(answer, row) -> float | bool | None | dict | Grade`, or a coroutine function of the same. The row is
            a dict everywhere: what templates call `item`.
        name: in results; default: the function's own.
    """

    type = "callable"
    range = (0.0, 1.0)

    def __init__(self, function: Callable[[str, dict[str, Any]], Any], name: str = ""):
        self.function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))

    def grade(self, answer: str, row: Row) -> Grade:
        """Return the grade of one answer."""
        return self.grade_many([answer], [row])[0]

    def grade_many(self, answers: Sequence[str], rows: Sequence[Row]) -> list[Grade]:
        """Return the grades of many answers; those of an async function are awaited together, AT_ONCE at a time."""
        pairs = list(zip(answers, rows, strict=True))
        if not _is_async(self.function):
            return [timed(lambda pair=pair: self._called(*pair)) for pair in pairs]  # type: ignore[misc]  # bound now
        return _run(self._all(pairs))

    def _called(self, answer: str, row: Row) -> Grade:
        with _told():
            return as_grade(self.function(answer, item_of(row)), self.name)

    async def _all(self, pairs: Sequence[tuple[str, Row]]) -> list[Grade]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(answer: str, row: Row) -> Grade:
            async with gate:
                began = time.perf_counter()
                try:
                    with _told():
                        grade = as_grade(await self.function(answer, item_of(row)), self.name)
                except Unscored as error:
                    grade = Grade.failed(error.kind, error.detail)
                return replace(grade, seconds=grade.seconds or time.perf_counter() - began)

        return list(await asyncio.gather(*(one(*pair) for pair in pairs)))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what the user's function raises into an error of the grader, which names it."""
    try:
        yield
    except Unscored:
        raise
    except Exception as error:  # the user's code may raise anything; it is told, with the answer unscored
        raise Unscored("python_grader_runtime_error", f"{type(error).__name__}: {error}"[:500]) from error


def as_grade(value: Any, source: str) -> Grade:
    """Return what a function returned as a grade.

    Raises:
        Unscored: nothing, or no score.
    """
    if isinstance(value, Grade):
        if value.error is None:
            as_score(value.score, source)
        return value
    if isinstance(value, Mapping):
        parts = {str(name): as_score(part, source) for name, part in (value.get("sub_scores") or {}).items()}
        return Grade(as_score(value.get("score"), source), str(value.get("reason", "")), sub_scores=parts)
    return Grade(as_score(value, source), "")


def _is_async(function: Any) -> bool:
    """True for a coroutine function, and for an object whose class has one as its `__call__`."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _run(coroutine: Any) -> list[Grade]:
    """Run a coroutine to its end, also where a loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return list(asyncio.run(coroutine))
    with ThreadPoolExecutor(1) as pool:
        return list(pool.submit(asyncio.run, coroutine).result())


def find_function(target: str) -> Callable[[str, dict[str, Any]], Any]:
    """Return the function that `module:name` names; the current folder is searched as well.

    Raises:
        GraderError: no such module, one that fails as it is imported, no such name in it, or not a function.
    """
    module_name, _, name = target.partition(":")
    try:
        with current_folder():
            module = import_user_module(module_name, target)
    except UserError as error:
        raise GraderError([Problem("target", error.seen)], target) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise GraderError([Problem("target", f"{module_name!r} has no function {name!r}")], target)
    return function  # type: ignore[no-any-return]


@contextlib.contextmanager
def current_folder() -> Iterator[None]:
    """Let modules in the current folder be found, as `python -m` does; a console script does not."""
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)


def from_spec(spec: Spec, context: Context) -> CallableGrader:
    """Return the grader of a spec."""
    return CallableGrader(find_function(spec.target), "" if spec.name in ("", "callable") else spec.name)

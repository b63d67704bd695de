"""Every error that Tunewright raises on purpose.

    TunewrightError                     exit code
    ├── UserError                       2   what the user wrote or pointed at is wrong
    │   ├── RecipeError                     the recipe: all its problems at once, each with file:line:column
    │   │   └── SuiteError                  a suite's file or its options (suites/options.py)
    │   ├── DataError                       a row or a file of rows
    │   ├── ModelError                      a model, its tokenizer or its chat template
    │   ├── PairingError                    two score files that do not score the same rows
    │   └── RunFolderError                  a run folder: not there, not writable, in use
    ├── GateFailed                      1   a gate said FAILED, or a comparison came out worse
    │   └── BudgetSpent                     the `budget:` of the run is spent; what is done is kept
    ├── EnvironmentProblem              3   the machine: disk full, a library of the wrong version
    │   └── MissingExtra                    an optional dependency is not installed
    └── Stopped                         130 Ctrl-C, or SIGTERM during a run

Each message answers four questions: where, what was seen, what was expected, what to do next. The command line
prints these without a traceback; anything else that reaches it is a bug and is printed with one (exit code 3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

EXIT_DONE = 0
EXIT_GATE = 1
EXIT_USER = 2
EXIT_BUG = 3
EXIT_INTERRUPTED = 130  # 128 + SIGINT, the shell's convention


class TunewrightError(Exception):
    """Base of all errors raised on purpose.

    Args:
        seen: what was found, one sentence.
        where: the place: a recipe path, `file:line`, a row id, a folder.
        expected: what would have been right.
        fix: what to do next, in the imperative.
    """

    exit_code = EXIT_BUG

    def __init__(self, seen: str, *, where: str | None = None, expected: str | None = None, fix: str | None = None):
        self.seen, self.where, self.expected, self.fix = seen, where, expected, fix
        super().__init__(self.render())

    def render(self) -> str:
        """Return the message as lines: place and finding first, then `expected:` and `fix:`."""
        head = f"{self.where}: {self.seen}" if self.where else self.seen
        tail = [f"  {name}: {text}" for name, text in (("expected", self.expected), ("fix", self.fix)) if text]
        return "\n".join([head, *tail])

    def as_json(self) -> dict[str, object]:
        """Return the error as it stands in `--json` output."""
        return {
            "error": type(self).__name__,
            "where": self.where,
            "seen": self.seen,
            "expected": self.expected,
            "fix": self.fix,
        }

    def __reduce__(self) -> tuple[Callable[..., TunewrightError], tuple[Any, ...]]:
        """Let it travel between processes; Exception's own way calls `__init__` with the message alone."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[TunewrightError], args: tuple[Any, ...], attributes: dict[str, Any]) -> TunewrightError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UserError(TunewrightError):
    """Something the user wrote or pointed at is wrong."""

    exit_code = EXIT_USER


@dataclass(frozen=True)
class RecipeProblem:
    """One mistake in a recipe. `line` and `column` count from 1; both are 0 for a problem of a `--set`."""

    file: str
    line: int
    column: int
    path: str
    seen: str
    suggestion: str | None = None
    expected: str | None = None
    example: str | None = None

    @property
    def where(self) -> str:
        """`file:line:column`, or the `--set` argument itself."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def render(self) -> str:
        """Return the problem as a person reads it."""
        lines = [f"{self.where}: {self.seen}"]
        if self.suggestion:
            lines.append(f"  did you mean: {self.suggestion}")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.example:
            lines.append(f"  example: {self.example}")
        return "\n".join(lines)


class RecipeError(UserError):
    """A recipe that cannot be run. Holds all its problems, in the order of the file."""

    def __init__(self, problems: Sequence[RecipeProblem]):
        self.problems = tuple(sorted(problems, key=lambda p: (p.line == 0, p.line, p.column)))
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the recipe")

    def render(self) -> str:
        """Return every problem, then the count."""
        return "\n".join([*(problem.render() for problem in self.problems), self.seen])

    def as_json(self) -> dict[str, object]:
        """Return the problems as data, for `--json`."""
        return {
            "error": "RecipeError",
            "problems": [{**problem.__dict__, "where": problem.where} for problem in self.problems],
        }


class DataError(UserError):
    """A row, or a file of rows, cannot be used."""


class ModelError(UserError):
    """A model cannot be found or used."""


class PairingError(UserError):
    """Two score files do not score the same rows, or asked them differently."""


class RunFolderError(UserError):
    """A run folder is not there, cannot be written, or is in use by another run."""


class GateFailed(TunewrightError):
    """A gate said FAILED and was not allowed with `--allow`."""

    exit_code = EXIT_GATE


class BudgetSpent(GateFailed):
    """The run's `budget:` is spent. What is done is kept; the same command with a larger budget goes on."""

    def __init__(self, used: str, kept: str = ""):
        super().__init__(
            f"the budget is spent: {used}" + (f"; {kept} is kept" if kept else ""),
            fix="a larger `budget:` in the recipe, and the same command: it goes on where it stopped",
        )


class EnvironmentProblem(TunewrightError):
    """The machine cannot do it: disk full, a library of the wrong version, no network."""

    exit_code = EXIT_BUG


class MissingExtra(EnvironmentProblem):
    """An optional dependency is not installed."""

    def __init__(self, needs: str, extra: str):
        super().__init__(f"{needs} is not installed", fix=f"pip install 'tunewright[{extra}]'")

    @classmethod
    def of(cls, error: ImportError, extra: str) -> MissingExtra:
        """Return what to raise for a failed import of a library; one of our own modules is a bug and goes on as it is.

        Raises:
            ImportError: the name that failed is in this package.
        """
        name = error.name or "a library"
        if name.partition(".")[0] == "tunewright":
            raise error
        return cls(name, extra)


class Stopped(TunewrightError):
    """The person, or the machine, stopped it: Ctrl-C, or SIGTERM during a run. What is done is kept."""

    exit_code = EXIT_INTERRUPTED


_OBEYED = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]")


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey shown by name: `⟨U+001B⟩`. Tabs and line ends stay."""
    return _OBEYED.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text)

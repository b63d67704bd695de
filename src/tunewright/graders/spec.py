"""The grammar of grader files: what all graders share, and how a file becomes a checked spec.

A grader is an object with a `type`, in JSON or YAML. The file of each type holds its `Spec`, a frozen model that
refuses unknown keys, and `from_spec(spec, context) -> Grader`. All mistakes of a file come in one go, each with its
path. `Context` is what a grader gets from outside: how judges are reached, which model is judged, where code may run.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tunewright.errors import UserError
from tunewright.graders.template import check_template

if TYPE_CHECKING:
    from tunewright.backends.protocol import Backend

MODULES: dict[str, str] = {
    "string_check": "string_check",
    "text_similarity": "text_similarity",
    "score_model": "score_model",
    "label_model": "label_model",
    "python": "python",
    "multi": "multi",
    "pair_model": "pair_model",
    "json_schema": "json_schema",
    "tool_call": "tool_call",
    "number": "number",
    "regex": "regex",
    "keyword": "keyword",
    "reasoning_gym": "reasoning_gym",
    "code_tests": "code_tests",
    "length": "length",
    "callable": "callables",
}
"""type -> the module of `tunewright.graders` that makes it. The first six are OpenAI's."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a grader file."""

    path: str
    seen: str


class GraderError(UserError):
    """A grader file that cannot be used. Holds all its problems."""

    def __init__(self, problems: Sequence[Problem], where: str = "grader"):
        self.problems = tuple(problems)
        seen = "\n".join(["cannot be used", *(f"  {p.path}: {p.seen}" if p.path else f"  {p.seen}" for p in problems)])
        super().__init__(seen, where=where)

    def as_json(self) -> dict[str, object]:
        """Return the problems as data, for `--json`."""
        return {**super().as_json(), "problems": [problem.__dict__ for problem in self.problems]}


Template = Annotated[str, AfterValidator(check_template)]
"""Text with `{{ item.x }}` and `{{ sample.output_text }}` in it."""


class GraderSpec(BaseModel):
    """Base of all specs."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    type: str
    name: str = Field(default="", description="name of the grader in results; default: its type")

    def notes(self) -> list[str]:
        """Return what a person should know about this spec though nothing is wrong with it."""
        return []


@dataclass(frozen=True)
class Context:
    """What graders get from outside.

    Args:
        judge: returns the backend of a judge by the model's name; default: an OpenAI-compatible server.
        judged_model: the model whose answers are graded; it may not be its own judge unless the spec says so.
        embed: returns one vector a text, for `cosine`.
        sandbox: where `python` and `code_tests` run; default: one is made when it is needed.
        require_sandbox: the least isolation that will do, by name.
    """

    judge: Callable[[str], Backend] | None = None
    judged_model: str | None = None
    embed: Callable[[Sequence[str]], Sequence[Sequence[float]]] | None = None
    sandbox: Any = None
    require_sandbox: str | None = None


def module_of(kind: str) -> Any:
    """Return the module that makes graders of type `kind`."""
    return import_module(f"tunewright.graders.{MODULES[kind]}")


def parse(value: Any, where: str = "grader") -> GraderSpec:
    """Return `value` as the spec of its type.

    Raises:
        GraderError: no such type, or fields that are wrong; names each.
    """
    if not isinstance(value, Mapping):
        raise GraderError([Problem("", f"a {type(value).__name__}; expected an object with `type`")], where)
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in MODULES:
        raise GraderError(
            [Problem("type", f"{kind!r}{_did_you_mean(kind, MODULES)}; known: {', '.join(MODULES)}")], where
        )
    model: type[GraderSpec] = module_of(kind).Spec
    try:
        spec = model.model_validate(dict(value))
    except ValidationError as error:
        raise GraderError([_problem(found, model) for found in error.errors()], where) from None
    return spec if spec.name else spec.model_copy(update={"name": kind})


def _problem(found: Any, model: type[GraderSpec]) -> Problem:
    path = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return Problem(path, f"no such field{_did_you_mean(path, model.model_fields)}")
    if found["type"] == "missing":
        return Problem(path, "is missing")
    return Problem(path, found["msg"].removeprefix("Value error, "))


def _did_you_mean(word: Any, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""

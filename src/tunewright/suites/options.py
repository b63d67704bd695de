"""What a suite is told, checked: every mistake with its place, what was probably meant and what may stand there.

reads    plain values: the options of a recipe or a command line, or a part of a suite's YAML file
makes    a frozen pydantic model, or one `SuiteError` that tells all mistakes
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from tunewright.errors import RecipeError, RecipeProblem
from tunewright.recipe.document import Document, KeyPath, dotted
from tunewright.recipe.explain import nearest, shown
from tunewright.recipe.faults import Fault, find_faults, validate

Model = TypeVar("Model", bound=BaseModel)


class Options(BaseModel):
    """Base of what a suite can be told: frozen, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SuiteError(RecipeError):
    """A suite's file or options that cannot be used. Holds all their problems, in the order of the file."""

    def __init__(self, problems: Sequence[RecipeProblem]):
        super().__init__(problems)
        self.seen = f"{len(problems)} problem{'s' if len(problems) != 1 else ''} in the suite"
        self.args = (self.render(),)

    def as_json(self) -> dict[str, object]:
        """Return the problems as data, for `--json`."""
        return {**super().as_json(), "error": "SuiteError"}


def read_options(model: type[Model], options: Mapping[str, Any], where: str) -> Model:
    """Return `options` as a `model`. `where` names them in errors: `suite extraction`.

    Raises:
        SuiteError: an unknown key, one that is missing, or a wrong value.
    """
    return read_part(model, dict(options), Document(where, value=dict(options)))


def read_part(model: type[Model], raw: dict[str, Any], document: Document, path: KeyPath = ()) -> Model:
    """Return `raw`, which stands at `path` of `document`, as a `model`.

    Raises:
        SuiteError: as for `read_options`, with line and column where the document has them.
    """
    problems = [_problem(fault, model, document, path) for fault in find_faults(model, raw)]
    if problems:
        raise SuiteError(problems)
    found: Model = validate(model, raw)
    return found


def _problem(fault: Fault, model: type[BaseModel], document: Document, base: KeyPath) -> RecipeProblem:
    path = (*base, *fault.path)
    name, above = dotted(path), dotted(path[:-1])
    place = f" in `{above}`" if above else ""
    if fault.type == "unknown":
        known = list(_model_at(model, fault.path[:-1]).model_fields)
        return document.problem(
            document.key_mark(path), name, f"unknown key `{path[-1]}`{place}",
            suggestion=nearest(str(path[-1]), known), expected="one of " + ", ".join(known),
        )  # fmt: skip
    if fault.type == "missing":
        return document.problem(
            document.key_mark(path[:-1]), name, f"`{path[-1]}` is missing{place}", expected=fault.expected
        )
    value = document.get(path)
    return document.problem(
        document.value_mark(path), name, f"`{name}` is {shown(value)}",
        suggestion=nearest(value, fault.options) if isinstance(value, str) else None, expected=fault.expected,
    )  # fmt: skip


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    """Return the model of the mapping at `path`: the models of suites are mappings in mappings and lists."""
    for step in path:
        field = model.model_fields.get(str(step))
        inside = _parts(field.annotation) if field else []
        model = next((part for part in inside if isinstance(part, type) and issubclass(part, BaseModel)), model)
    return model


def _parts(annotation: Any) -> list[Any]:
    """Return every type that a type is made of."""
    return [annotation, *(part for inner in get_args(annotation) for part in _parts(inner))]

"""Where a grader comes from: an object, a file, or `module:name` of a Python callable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import MAX_TOLD_CHARS, is_file
from tunewright.errors import DataError, RecipeError, RecipeProblem, UserError
from tunewright.graders.protocol import Grader
from tunewright.graders.spec import Context, GraderError, GraderSpec, Problem, module_of, parse
from tunewright.recipe.document import parse as parse_yaml

MAX_FILE_BYTES = 2 << 20  # the source of a Python grader may have 256 kB, and a multi grader several

FORMS = "a .json or .yaml file of a grader, or module:name of a Python callable"


def load(spec: Mapping[str, Any] | Path | str, context: Context | None = None, **options: Any) -> Grader:
    """Return the grader that `spec` describes; see `protocol.load_grader`."""
    return build(read_spec(spec), context or Context(**options))


def build(spec: GraderSpec, context: Context) -> Grader:
    """Return the grader of a checked spec."""
    grader: Grader = module_of(spec.type).from_spec(spec, context)
    return grader


def normalised(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return `spec` checked and with every default filled in; see `protocol.validate`."""
    return parse(_unwrapped(spec)).model_dump(mode="json", by_alias=True, exclude_none=True)


def read_spec(spec: Mapping[str, Any] | Path | str) -> GraderSpec:
    """Return a grader's checked spec.

    Raises:
        GraderError: something in it is wrong. DataError: the file is not there, too large or broken.
        UserError: a text that is neither file nor `module:name`.
    """
    if isinstance(spec, Mapping):
        return parse(_unwrapped(spec))
    path = Path(spec)
    if is_file(path) or path.suffix in (".json", ".yaml", ".yml"):
        return parse(_unwrapped(read_file(path)), str(path))
    if ":" in str(spec):
        return parse({"type": "callable", "target": str(spec)}, str(spec))
    raise UserError("names no grader", where=str(spec), expected=FORMS)


def _unwrapped(value: Any) -> Any:
    """Return the grader inside `{"grader": …}`, as the body of a request to OpenAI's API has it."""
    if isinstance(value, Mapping) and "type" not in value and isinstance(value.get("grader"), Mapping):
        return value["grader"]
    return value


def read_file(path: Path) -> Any:
    """Return the plain values of a grader's file.

    Raises:
        DataError: not there, or too large. GraderError: broken.
    """
    if not is_file(path):
        raise DataError("no such file", where=str(path)[:MAX_TOLD_CHARS], expected=FORMS)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"a file of {path.stat().st_size} bytes", where=str(path), expected=f"at most {MAX_FILE_BYTES}")
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else _yaml(text, path)
    except (ValueError, RecursionError) as error:
        raise GraderError([Problem("", f"broken: {error}")], str(path)) from None


def _yaml(text: str, path: Path) -> Any:
    """Read as recipes are: no tags, and no anchors that multiply."""
    try:
        document = parse_yaml(text, str(path))
    except RecipeError as error:
        raise GraderError([_as_problem(problem) for problem in error.problems], str(path)) from None
    if document.problems:
        raise GraderError([_as_problem(problem) for problem in document.problems], str(path))
    return document.value


def _as_problem(problem: RecipeProblem) -> Problem:
    return Problem(f"line {problem.line}" if problem.line else "", problem.seen)

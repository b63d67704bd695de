"""From a recipe file to a `Recipe`, or to one error that tells all its mistakes.

reads    recipe.yaml, and the arguments of `--set`
makes    a `Recipe` whose stages are validated, resolved and linked

    text ─► document (values + places) ─► --set ─► header, stages ─► links between stages ─► Recipe
            broken YAML ends here          └─ problems of all of these are collected, and raised together
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tunewright.errors import RecipeError, RecipeProblem
from tunewright.recipe import document as doc
from tunewright.recipe.document import Document, KeyPath
from tunewright.recipe.evaluation_sets import with_evaluation_sets
from tunewright.recipe.explain import nearest, shown
from tunewright.recipe.faults import Part, check, validate
from tunewright.recipe.links import Draft, Draftings, find_problems
from tunewright.recipe.overrides import apply_overrides
from tunewright.recipe.sections import EXAMPLES, SECTIONS, Header, Recipe, resolve

MAX_BYTES: Final = 1 << 20


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read the recipe at `path`, apply `overrides` (the arguments of `--set`), and return it resolved.

    Paths of files come back relative to the current folder, or absolute when they lie outside of it.

    Raises:
        RecipeError: with every problem of the recipe, each with its place, what was probably meant, what may stand
            there, and an example.
    """
    return parse_recipe(read_text(path), str(path), folder_of(path), overrides)


def folder_of(path: Path) -> Path:
    """Return where the relative paths of a recipe start: its folder; the current one for `<(…)` and `/dev/stdin`."""
    return path.parent if path.is_file() and not path.is_relative_to("/dev") else Path()


def parse_recipe(text: str, file: str, folder: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Return the recipe that `text` holds. `file` is its name in errors, `folder` is where its relative paths start.

    Raises:
        RecipeError: as for `load_recipe`.
    """
    document = doc.parse(text, file)
    _require_mapping(document)
    apply_overrides(document, overrides)
    header = Part(Header, {key: value for key, value in document.value.items() if key != "stages"})
    drafts, problems = _drafts(document)
    problems += check(header, document)
    for draft in drafts:
        problems += check(draft.part(), document) if draft.kind else []
    problems += find_problems(Draftings(document, folder, drafts))
    if problems := _told_once(document.problems, problems):
        raise RecipeError(problems)
    return _build(header, drafts)


def _build(header: Part, drafts: list[Draft]) -> Recipe:
    head: Header = validate(Header, header.raw)
    stages = []
    for draft in drafts:
        kind = str(draft.kind)
        stages.append((kind, resolve(kind, validate(SECTIONS[kind], draft.raw), head)))
    return Recipe(**head.model_dump(), stages=tuple(with_evaluation_sets(stages)))


def _told_once(unreadable: list[RecipeProblem], problems: list[RecipeProblem]) -> list[RecipeProblem]:
    """Return all problems, without those that another has told: the same path there, or a value nobody could read."""
    places = {problem.where for problem in unreadable}
    told = {(problem.where, problem.path): problem for problem in reversed(problems) if problem.where not in places}
    return [*unreadable, *reversed(told.values())]


# ── the file ────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_text(path: Path) -> str:
    """Return the text of a recipe file.

    Raises:
        RecipeError: no such file, a folder, not readable, or not UTF-8; the last with line and column.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _no_file(path, "there is no such file", nearest(path.name, _recipes_in(path.parent))) from None
    except (IsADirectoryError, NotADirectoryError):
        raise _no_file(path, "this is a folder, not a recipe", next(iter(_recipes_in(path)), None)) from None
    except OSError as error:
        raise _no_file(path, f"cannot be read ({error.strerror})", None) from None
    if len(data) > MAX_BYTES:
        seen = f"more than {MAX_BYTES >> 20} MiB"
        raise RecipeError([RecipeProblem(str(path), 0, 0, "", seen, expected="a recipe: a text of some kilobytes")])
    return _decode(data, str(path))


def _no_file(path: Path, seen: str, suggestion: str | None) -> RecipeError:
    expected = "the path of a recipe; `tw init` writes a new one"
    return RecipeError([RecipeProblem(str(path), 0, 0, "", seen, suggestion, expected)])


def _recipes_in(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir() if file.suffix in {".yaml", ".yml"})
    except OSError:
        return []


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8", errors="replace")
        line, column = doc.place_of(before, len(before))
        seen = f"not UTF-8: byte {error.object[error.start]:#04x}"
        raise RecipeError(
            [RecipeProblem(file, line, column, "", seen, expected="a text file saved as UTF-8")]
        ) from None


def _require_mapping(document: Document) -> None:
    if isinstance(document.value, dict):
        return
    if document.value is None:
        mark, seen = doc.Mark(document.file), "the recipe is empty"
    else:
        mark, seen = document.value_mark(()), f"the recipe is {shown(document.value)}"
    expected = "`recipe`, `model` and `stages`; `tw init` writes a commented one"
    example = "\n".join([EXAMPLES["recipe"], EXAMPLES["model"], EXAMPLES["stages"]])
    raise RecipeError([document.problem(mark, "", seen, expected=expected, example=example)])


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _drafts(document: Document) -> tuple[list[Draft], list[RecipeProblem]]:
    """Return the stages as they were written, and what is wrong with their list."""
    items = document.value.get("stages")
    if not isinstance(items, list) or not items:
        return [], [_no_stages(document)]
    drafts, problems = [], []
    for index, item in enumerate(items):
        draft, problem = _draft(document, item, ("stages", index))
        drafts.append(draft)
        problems += [problem] if problem else []
    return drafts, problems


def _no_stages(document: Document) -> RecipeProblem:
    given = "stages" in document.value
    return document.problem(
        document.value_mark(("stages",)) if given else document.key_mark(()),
        "stages",
        f"`stages` is {shown(document.value['stages'])}" if given else "`stages` is missing",
        expected="a list of stages, each `- kind: {…}`",
        example=EXAMPLES["stages"],
    )


def _draft(document: Document, item: Any, path: KeyPath) -> tuple[Draft, RecipeProblem | None]:
    """Return one stage, and what is wrong with its outside: its shape and its kind."""
    if not isinstance(item, dict) or len(item) != 1:
        written = next(iter(item)) if isinstance(item, dict) and item else str(item)
        return Draft(None, written, {}, path), _bad_shape(document, item, path)
    [(written, section)] = item.items()
    place = (*path, written)
    if section is not None and not isinstance(section, dict):
        return Draft(None, written, {}, place), _no_section(document, written, section, place)
    kind = written if written in SECTIONS else nearest(written, SECTIONS)
    raw = section or {}
    name = raw.get("id")
    draft = Draft(kind, name if isinstance(name, str) and name else written, raw, place)
    return draft, None if kind == written else _unknown_kind(document, written, kind, place)


def _bad_shape(document: Document, item: Any, path: KeyPath) -> RecipeProblem:
    seen = f"a stage is {shown(item)}"
    if isinstance(item, dict):
        first, *others = item or [""]
        seen = f"a stage with {len(item)} keys: {', '.join(item)}" if item else "a stage without a kind"
        if others and first in SECTIONS and not any(other in SECTIONS for other in others):
            seen += f"; the fields of `{first}` stand further in"
    return document.problem(
        document.value_mark(path),
        doc.dotted(path),
        seen,
        suggestion=nearest(item, SECTIONS) if isinstance(item, str) else None,
        expected=f"one key, the kind of the stage ({', '.join(SECTIONS)}), and its fields below it",
        example=EXAMPLES["data"],
    )


def _no_section(document: Document, written: str, section: Any, place: KeyPath) -> RecipeProblem:
    return document.problem(
        document.value_mark(place),
        written,
        f"`{written}` is {shown(section)}",
        expected="a mapping: the fields of the stage",
        example=EXAMPLES.get(nearest(written, SECTIONS) or "data"),
    )


def _unknown_kind(document: Document, written: str, kind: str | None, place: KeyPath) -> RecipeProblem:
    return document.problem(
        document.key_mark(place),
        written,
        f"unknown stage `{doc.shorten(written)}`",
        suggestion=kind,
        expected="one of " + ", ".join(SECTIONS),
        example=EXAMPLES.get(kind or "data"),
    )

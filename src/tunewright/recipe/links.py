"""What one part of a recipe says about another: references, models, files, and the rules between fields.

All of it is checked on the document as it was written, so that a misspelt key in a stage does not hide the reference
to nothing beside it. Each rule is a function `(stage, recipe) -> problems`; `RULES` lists them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin

from tunewright.errors import RecipeProblem
from tunewright.models.find import ALIASES, may_be_model
from tunewright.recipe.data_sections import ENDINGS
from tunewright.recipe.document import Document, KeyPath, dotted, shorten
from tunewright.recipe.explain import example_for, members, nearest
from tunewright.recipe.faults import Part
from tunewright.recipe.sections import EXAMPLES, MAKES, PARTS, SECTIONS, Ref, Section
from tunewright.suites import METRICS

BRING_ROWS = ("reasoning-gym",)  # suites that make rows themselves


@dataclass(frozen=True)
class Draft:
    """A stage as it was written, before it is validated.

    `kind` is None where nobody can tell what was meant; references to such a stage are not held against the recipe.
    """

    kind: str | None
    id: str
    raw: dict[str, Any]
    path: KeyPath

    @property
    def targets(self) -> list[str]:
        """What a reference to this stage may say: its id, or `id.part` for each of its parts."""
        parts = PARTS.get(self.kind or "", ())
        return [f"{self.id}.{part}" for part in parts] or [self.id]

    def part(self) -> Part:
        """Return this stage as a part to be checked against its model."""
        assert self.kind is not None
        return Part(SECTIONS[self.kind], self.raw, self.path, self.kind, self.id)


@dataclass
class Draftings:
    """All stages of a recipe, its document, and the folder that its relative paths start from."""

    document: Document
    folder: Path
    drafts: list[Draft] = field(default_factory=list)

    def above(self, draft: Draft) -> list[Draft]:
        """Return the stages before `draft`."""
        return self.drafts[: self.drafts.index(draft)]

    def problem(self, draft: Draft, inner: KeyPath, seen: str, **more: str | None) -> RecipeProblem:
        """Return a problem of the value at `inner` in `draft`."""
        mark = self.document.value_mark(draft.path + inner)
        return self.document.problem(mark, dotted((draft.id, *inner)), seen, **more)


Rule = Callable[[Draft, Draftings], Iterator[RecipeProblem]]


def find_problems(recipe: Draftings) -> list[RecipeProblem]:
    """Return what the parts of a recipe say about each other that cannot be."""
    known = [draft for draft in recipe.drafts if draft.kind is not None]
    return [*_header_model(recipe), *(problem for draft in known for rule in RULES for problem in rule(draft, recipe))]


# ── references ──────────────────────────────────────────────────────────────────────────────────────────────────────


def reference_fields(section: type[Section]) -> dict[str, Ref]:
    """Return the fields of a section that name earlier stages, with what those must make."""
    return {name: ref for name, info in section.model_fields.items() if (ref := _ref(info.annotation, info.metadata))}


def _ref(annotation: Any, metadata: list[Any]) -> Ref | None:
    if found := next((item for item in metadata if isinstance(item, Ref)), None):
        return found
    if get_origin(annotation) is Annotated:
        return _ref(get_args(annotation)[0], list(get_args(annotation)[1:]))
    inside = get_args(annotation) if get_origin(annotation) in (tuple, list) else members(annotation)
    return next((ref for part in inside if part is not annotation and (ref := _ref(part, []))), None)


def _references(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    for name, ref in reference_fields(SECTIONS[str(draft.kind)]).items():
        for inner, value in _texts(draft.raw.get(name), (name,)):
            problem = _reference_problem(value, ref, draft, inner, recipe)
            if problem is not None:
                yield problem


def _texts(value: Any, inner: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield inner, value
    elif isinstance(value, list):
        yield from ((place, text) for index, item in enumerate(value) for place, text in _texts(item, (*inner, index)))


def _reference_problem(value: str, ref: Ref, draft: Draft, inner: KeyPath, recipe: Draftings) -> RecipeProblem | None:
    """Return what is wrong with `value` as a reference of the kind `ref`, or None."""
    above = recipe.above(draft)
    right = [target for stage in above if MAKES.get(stage.kind or "") == ref.makes for target in stage.targets]
    if ref.or_model and ("/" in value or value.endswith(".gguf")):
        return None
    name, _, part = value.partition(".")
    stage = next((stage for stage in above if stage.id == name), None)
    unclear = stage is not None and stage.kind is None
    if value in right or unclear or (ref.or_model and stage is None and _is_model(value)):
        return None
    return recipe.problem(
        draft,
        inner,
        _why(value, part, stage, draft, recipe, ref),
        suggestion=_meant_reference(value, stage if not part else None, right, ref),
        expected=_expected(ref, right),
        example=EXAMPLES.get(str(draft.kind)),
    )


def _meant_reference(value: str, whole: Draft | None, right: list[str], ref: Ref) -> str | None:
    """Return what a wrong reference probably meant. `whole` is the stage it names without saying which part."""
    if whole is not None and set(whole.targets) <= set(right):
        return " or ".join(whole.targets)
    sole = right[0] if len(right) == 1 and not ref.or_model else None
    return nearest(value, [*right, *ALIASES] if ref.or_model else right) or sole


def _why(value: str, part: str, stage: Draft | None, draft: Draft, recipe: Draftings, ref: Ref) -> str:
    if stage is None:
        later = [other.id for other in recipe.drafts if other is not draft and other not in recipe.above(draft)]
        if value.partition(".")[0] in later:
            return f"`{value}` names a stage that stands below this one; a stage reads only what stands above it"
        return f"`{value}` names no stage above" + (", and no model" if ref.or_model else "")
    if MAKES[str(stage.kind)] != ref.makes:
        return (
            f"`{stage.id}` is a `{stage.kind}` stage and makes {_made(MAKES[str(stage.kind)])}, not {_made(ref.makes)}"
        )
    parts = ", ".join(stage.targets)
    if stage.targets == [stage.id]:
        return f"`{value}`: the stage `{stage.id}` has no parts"
    return f"`{stage.id}` has no part `{part}`" if part else f"`{stage.id}` has several parts: {parts}"


def _made(artifact: str) -> str:
    return {"adapter": "an adapter", "comparison": "a comparison"}.get(artifact, artifact)


def _expected(ref: Ref, right: list[str]) -> str:
    what = f"a stage above that makes {_made(ref.makes)}"
    what += f": {', '.join(right)}" if right else " (there is none)"
    return what + (f"; or {MODEL_FORMS}" if ref.or_model else "")


# ── models ──────────────────────────────────────────────────────────────────────────────────────────────────────────

MODEL_FORMS = f"a model: an alias ({', '.join(ALIASES)}), a folder, a .gguf file, or owner/name on the hub"


def _is_model(name: str) -> bool:
    try:
        return may_be_model(name)
    except OSError:  # longer than a file name can be
        return False


def model_problem(name: str) -> tuple[str, str | None] | None:
    """Return why `name` cannot be a model and what was probably meant, or None when it may be one."""
    if _is_model(name):
        return None
    return f"`{name}` is no known model", nearest(name, ALIASES)


def _header_model(recipe: Draftings) -> Iterator[RecipeProblem]:
    name = recipe.document.get(("model",))
    if isinstance(name, str) and (found := model_problem(name)):
        mark = recipe.document.value_mark(("model",))
        yield recipe.document.problem(
            mark, "model", found[0], suggestion=found[1], expected=MODEL_FORMS, example=EXAMPLES["model"]
        )


def _plain_model(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    section = SECTIONS[str(draft.kind)]
    name = draft.raw.get("model")
    if "model" not in section.model_fields or "model" in reference_fields(section) or not isinstance(name, str):
        return
    if found := model_problem(name):
        yield recipe.problem(
            draft, ("model",), found[0], suggestion=found[1], expected=MODEL_FORMS, example=EXAMPLES["model"]
        )


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


FILE_SOURCES: Final = {"jsonl": "a JSON-lines file", "parquet": "a Parquet file", "csv": "a CSV or TSV file"}


def _row_files(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """Check the files that rows are read from, and write their paths anew: from the current folder, or absolute."""
    if draft.kind != "data":
        return
    yield from _misnamed_types(draft, recipe)
    for holder, key, inner, what in _named_files(draft.raw):
        file = os.path.normpath(os.path.abspath(recipe.folder / holder[key]))
        seen = _why_no_source(file)
        if not seen:
            holder[key] = from_here(file)
            continue
        yield recipe.problem(
            draft,
            inner,
            f"the file `{from_here(file)}` {seen}",
            suggestion=_neighbour(Path(file), holder[key]),
            expected=f"{what}; its path is taken from the folder of the recipe",
        )


def _misnamed_types(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """A file whose name says that it is of another type than the source: CSV is no JSON lines."""
    sources = draft.raw.get("sources")
    for index, source in enumerate(sources if isinstance(sources, list) else []):
        if not isinstance(source, dict) or not isinstance(source.get("path"), str):
            continue
        written, ending = source.get("type"), Path(source["path"]).suffix.lower()
        if written in FILE_SOURCES and ENDINGS.get(ending, written) != written:
            yield recipe.problem(
                draft,
                ("sources", index, "type"),
                f"`type: {written}` reads {FILE_SOURCES[written]}, and `{shorten(source['path'])}` ends with {ending}",
                suggestion=f"type: {ENDINGS[ending]}",
                expected="the type that the file is of",
            )


def _named_files(raw: dict[str, Any]) -> Iterator[tuple[Any, Any, KeyPath, str]]:
    """Yield what holds a path, its key there, its place in the stage, and what the file should be."""
    sources, apart = raw.get("sources"), raw.get("decontaminate")
    for index, source in enumerate(sources if isinstance(sources, list) else []):
        if isinstance(source, dict) and source.get("type") in FILE_SOURCES and isinstance(source.get("path"), str):
            yield source, "path", ("sources", index, "path"), FILE_SOURCES[source["type"]]
    against = apart.get("against") if isinstance(apart, dict) else None
    for index, path in enumerate(against if isinstance(against, list) else []):
        if isinstance(path, str):
            yield against, index, ("decontaminate", "against", index), "a file of evaluation rows"


def _suite_file(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """Check that a suite is one: built in, a file, or `module:name`; write a file's path anew, as for sources."""
    where: KeyPath = ("dev", "suite") if draft.kind == "sft" else ("suite",)
    holder = draft.raw.get("dev") if draft.kind == "sft" else draft.raw
    suite = holder.get("suite") if isinstance(holder, dict) and draft.kind in ("evaluate", "sft") else None
    if not isinstance(holder, dict) or not isinstance(suite, str) or suite in METRICS or ":" in suite:
        return
    if not suite.endswith((".yaml", ".yml")):
        yield recipe.problem(
            draft,
            where,
            f"there is no suite `{suite}`",
            suggestion=nearest(suite, METRICS),
            expected=f"one of {', '.join(METRICS)}; a .yaml file from the folder of the recipe; or module:name",
        )
        return
    file = os.path.normpath(os.path.abspath(recipe.folder / suite))
    seen = _why_no_source(file)
    if not seen:
        holder["suite"] = from_here(file)
        return
    yield recipe.problem(
        draft,
        where,
        f"the file `{from_here(file)}` {seen}",
        suggestion=_neighbour(Path(file), suite),
        expected="a suite's file; its path is taken from the folder of the recipe",
    )


def _own_rows(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """A built-in suite that brings no rows of its own is told which to answer."""
    suite = draft.raw.get("suite")
    if draft.kind != "evaluate" or draft.raw.get("rows") is not None or not isinstance(suite, str):
        return
    if suite not in METRICS or suite in BRING_ROWS:
        return
    mark = recipe.document.key_mark(draft.path)
    yield recipe.document.problem(
        mark,
        f"{draft.id}.rows",
        f"`rows` is missing in `{draft.id}`",
        expected="the id of a stage above that makes rows",
        example=EXAMPLES["evaluate"],
    )


def _why_no_source(file: str) -> str:
    """Return why a path is none of a file that rows can be read from, or "" where it is one."""
    if not os.path.isfile(file):
        return "is a folder" if os.path.isdir(file) else "is not there"
    try:
        from_here(file).encode()
    except UnicodeEncodeError:  # rows name their source, and rows are UTF-8
        return "has a name that is not UTF-8, or lies in a folder that has: rename it"
    return ""


def from_here(file: str) -> str:
    """Return an absolute path relative to the current folder, or as it is when it lies outside."""
    here = Path.cwd()
    return Path(file).relative_to(here).as_posix() if Path(file).is_relative_to(here) else file


def _neighbour(file: Path, written: str) -> str | None:
    if not os.path.isdir(file.parent):
        return None
    name = nearest(file.name, (other.name for other in sorted(file.parent.iterdir()) if other.is_file()))
    return (Path(written).parent / name).as_posix() if name else None


# ── rules between fields ────────────────────────────────────────────────────────────────────────────────────────────


def _unique_id(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    if all(stage.id != draft.id for stage in recipe.above(draft)):
        return
    mark = (
        recipe.document.value_mark((*draft.path, "id")) if draft.raw.get("id") else recipe.document.key_mark(draft.path)
    )
    yield recipe.document.problem(
        mark,
        f"{draft.id}.id",
        f"a second stage is called `{draft.id}`",
        expected="an `id` of its own for every stage; it defaults to the kind",
        example=f"- {draft.kind}: {{id: {draft.kind}-2, …}}",
    )


def _length(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """`sft` trains for steps or for epochs."""
    if draft.kind != "sft":
        return
    given = [name for name in ("steps", "epochs") if draft.raw.get(name) is not None]
    if len(given) == 1:
        return
    seen = "`steps` and `epochs` are both given" if given else "neither `steps` nor `epochs` is given"
    place = recipe.document.value_mark((*draft.path, "epochs")) if given else recipe.document.key_mark(draft.path)
    yield recipe.document.problem(
        place,
        f"{draft.id}.epochs" if given else draft.id,
        seen,
        expected="one of the two",
        example=example_for(("sft",)),
    )


def _shots(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """Worked examples come from somewhere."""
    shots = draft.raw.get("shots")
    if draft.kind != "evaluate" or not isinstance(shots, int) or shots <= 0 or draft.raw.get("shots_from") is not None:
        return
    rows = [target for stage in recipe.above(draft) for target in stage.targets if target.endswith(".train")]
    yield recipe.problem(
        draft,
        ("shots",),
        f"{shots} worked examples are asked for, but `shots_from` does not say from which rows",
        expected="`shots_from`: rows of a stage above",
        example=f"shots_from: {rows[0] if rows else 'data.train'}",
    )


def _two_sides(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """A comparison has two sides, scored by the same suite."""
    if draft.kind != "compare":
        return
    baseline, candidate = draft.raw.get("baseline"), draft.raw.get("candidate")
    if isinstance(candidate, str) and baseline == candidate:
        yield recipe.problem(
            draft,
            ("candidate",),
            f"`{candidate}` would be compared with itself",
            expected="two different `evaluate` stages",
            example=EXAMPLES["compare"],
        )
    beside = draft.raw.get("beside")
    for other in (baseline, *(beside if isinstance(beside, list) else [])):
        yield from _same_questions(draft, recipe, other, candidate)


def _same_questions(draft: Draft, recipe: Draftings, baseline: Any, candidate: Any) -> Iterator[RecipeProblem]:
    """Both sides are scored by one suite, and answer the same rows."""
    suites = [_suite(name, recipe.above(draft)) for name in (baseline, candidate)]
    if None not in suites and suites[0] != suites[1]:
        yield recipe.problem(
            draft,
            ("candidate",),
            f"`{baseline}` is scored by {suites[0]}, `{candidate}` by {suites[1]}",
            expected="two stages with the same suite",
        )
    limits = [_limit(name, recipe.above(draft)) for name in (baseline, candidate)]
    if None not in limits and limits[0] != limits[1]:
        yield recipe.problem(
            draft,
            ("candidate",),
            f"`{baseline}` answers {limits[0]}, `{candidate}` {limits[1]}",
            expected="two stages that answer the same rows: pairs are compared",
        )


def _limit(name: Any, among: list[Draft]) -> str | None:
    """Return what the `evaluate` stage called `name` answers, in words; None where that is a matter of another rule."""
    stage = next((stage for stage in among if stage.id == name and stage.kind == "evaluate"), None)
    if stage is None:
        return None
    limit = stage.raw.get("limit")
    return "all rows" if limit is None else f"the first {limit} rows"


def _suite(name: Any, among: list[Draft]) -> str | None:
    """Return the suite of the `evaluate` stage called `name`, or None where that is a matter of another rule."""
    stage = next((stage for stage in among if stage.id == name and stage.kind == "evaluate"), None)
    suite = stage.raw.get("suite") if stage else None
    return suite if isinstance(suite, str) and suite in METRICS else None


def _has_fixed_metrics(name: Any, among: list[Draft]) -> bool:
    """True if the metrics of that `evaluate` stage are those of its suite's table; options may change them."""
    stage = next((stage for stage in among if stage.id == name), None)
    suite = _suite(name, among)
    return suite is not None and bool(METRICS[suite]) and not (stage and stage.raw.get("options"))


def _metric(draft: Draft, recipe: Draftings) -> Iterator[RecipeProblem]:
    """The metric that is required is one that the suite measures: its own, or the candidate's."""
    require = draft.raw.get("require")
    metric = require.get("metric") if isinstance(require, dict) else None
    scored = draft.raw.get("candidate") if draft.kind == "compare" else draft.id
    among = [*recipe.above(draft), draft]
    suite = _suite(scored, among)
    if suite is None or not isinstance(metric, str) or metric in METRICS[suite]:
        return
    if not _has_fixed_metrics(scored, among):
        return
    yield recipe.problem(
        draft,
        ("require", "metric"),
        f"`{metric}` is no metric of the suite {suite}",
        suggestion=nearest(metric, METRICS[suite]),
        expected="one of " + ", ".join(METRICS[suite]),
        example=EXAMPLES[f"{draft.kind}.require"],
    )


RULES: tuple[Rule, ...] = (
    _unique_id,
    _references,
    _plain_model,
    _row_files,
    _suite_file,
    _own_rows,
    _length,
    _shots,
    _two_sides,
    _metric,
)

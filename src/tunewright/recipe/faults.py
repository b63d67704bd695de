"""A part of a recipe against its model: every problem with place, suggestion, expected type and example.

Pydantic decides what is wrong. What is said about it is made from the field itself (`explain.py`), so that none of
pydantic's own terms reach the reader.

    raw section ─► find_faults: path + unknown, missing or wrong ─► check: RecipeProblem
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from tunewright.errors import RecipeProblem
from tunewright.recipe import clashes
from tunewright.recipe.clashes import Clash
from tunewright.recipe.document import Document, KeyPath, dotted, shorten
from tunewright.recipe.explain import (
    Entry,
    as_yaml,
    entries,
    example_for,
    is_section,
    meant,
    members,
    nearest,
    options,
    shown,
    tag_of,
    tags,
    types_at,
    words,
)


@dataclass(frozen=True)
class Part:
    """A part of a recipe document: the header, or the section of one stage.

    `path` is where it stands in the file, `kind` the path of its schema (empty for the header), `name` how a person
    addresses it: the stage's id.
    """

    model: type[BaseModel]
    raw: dict[str, Any]
    path: KeyPath = ()
    kind: str = ""
    name: str = ""

    def address(self, inner: KeyPath) -> str:
        """Return the path of something in this part as `--set` takes it."""
        return dotted(((self.name,) if self.name else ()) + inner)

    def schema_path(self, inner: KeyPath) -> tuple[str, ...]:
        """Return the path of something in this part in the schema: kind for id, 0 for every index."""
        steps = tuple("0" if isinstance(step, int) else step for step in inner)
        return (self.kind, *steps) if self.kind else steps


@dataclass(frozen=True)
class Fault:
    """One thing that pydantic found: `path` in the part, and what may stand there."""

    path: KeyPath
    type: Literal["unknown", "missing", "wrong", "clash"]
    expected: str = ""
    options: tuple[str, ...] = ()
    clash: Clash | None = None


def check(part: Part, document: Document) -> list[RecipeProblem]:
    """Return every problem of a part against its model."""
    explain = {"unknown": _unknown, "missing": _missing, "wrong": _wrong, "clash": _clash}
    return [explain[fault.type](fault, part, document) for fault in find_faults(part.model, part.raw)]


def validate(model: type[BaseModel], raw: dict[str, Any]) -> Any:
    """Return `raw` as a `model`. Strict, in JSON's types: the text "3" is no number, and `no` is no false."""
    return model.model_validate_json(json.dumps(raw), strict=True)


def find_faults(model: type[BaseModel], raw: dict[str, Any]) -> list[Fault]:
    """Return what is wrong with `raw`, one fault a path.

    Pydantic looks no further where the `type` of a mapping is misspelt, and not at fields together where a key is
    unknown; there the nearest type is taken for the rest, and the key left out.
    """
    try:
        validate(model, raw)
    except ValidationError as error:
        faults = _distinct(_faults(model, error))
        mended = _mend(raw, faults)
        return faults if mended is None else _distinct([*faults, *find_faults(model, mended)])
    return []


def _faults(model: type[BaseModel], error: ValidationError) -> Iterator[Fault]:
    for found in error.errors(include_url=False, include_input=False):
        path, annotation, metadata = _locate(model, (), found["loc"])
        choices = tuple(options(annotation))
        match found["type"]:
            case "extra_forbidden":
                yield Fault(path, "unknown")
            case "missing":
                yield Fault(path, "missing", words(annotation, metadata), choices)
            case clashes.CLASH:
                for clash in found["ctx"]["clashes"]:
                    yield Fault((*path, clash.field), "clash", clash.expected, clash=clash)
            case "union_tag_not_found":
                yield Fault((*path, "type"), "missing", "one of " + ", ".join(choices), choices)
            case "union_tag_invalid":
                yield Fault((*path, "type"), "wrong", "one of " + ", ".join(choices), choices)
            case _:
                yield Fault(path, "wrong", words(annotation, metadata), choices)


def _distinct(faults: Iterable[Fault]) -> list[Fault]:
    """Keep one fault a path; a wrong value whose inside is wrong is told by its inside."""
    found = {fault.path: fault for fault in reversed(list(faults))}
    inner = {path[:end] for path in found for end in range(len(path))}
    return [fault for path, fault in found.items() if not (fault.type == "wrong" and path in inner)]


def _mend(raw: dict[str, Any], faults: list[Fault]) -> dict[str, Any] | None:
    """Return a copy of `raw` with every misspelt `type` put right and no unknown key, or None when there is neither."""
    mended = None
    for fault in faults:
        if fault.type != "unknown" and (fault.type != "wrong" or fault.path[-1:] != ("type",)):
            continue
        target = mended = copy.deepcopy(raw) if mended is None else mended
        for step in fault.path[:-1]:
            target = target[step]  # type: ignore[index]  # an index where a list stands
        if fault.type == "unknown":
            del target[fault.path[-1]]  # type: ignore[arg-type]  # an unknown key is a word
        elif right := nearest(str(target["type"]), fault.options):
            target["type"] = right
        else:
            return None
    return mended


def _locate(annotation: Any, metadata: Sequence[Any], loc: Sequence[str | int]) -> tuple[KeyPath, Any, Sequence[Any]]:
    """Follow pydantic's `loc` through a type; return the path a person sees, and the type that stands there.

    A `loc` also holds the tags of unions and the names of alternatives; those are no steps.
    """
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
    if not loc:
        return (), annotation, metadata
    head, rest = loc[0], loc[1:]
    if is_section(annotation):
        field = annotation.model_fields.get(head)
        return _step(head, _locate(field.annotation, field.metadata, rest) if field else ((), str, ()))
    if get_origin(annotation) in (tuple, list, dict):
        return _step(head, _locate(get_args(annotation)[0 if isinstance(head, int) else 1], (), rest))
    if tag := tags(annotation).get(str(head)):
        return _locate(tag, (), rest)
    return _alternative(annotation, metadata, loc)


def _step(head: str | int, below: tuple[KeyPath, Any, Sequence[Any]]) -> tuple[KeyPath, Any, Sequence[Any]]:
    path, annotation, metadata = below
    return (head, *path), annotation, metadata


def _alternative(
    annotation: Any, metadata: Sequence[Any], loc: Sequence[str | int]
) -> tuple[KeyPath, Any, Sequence[Any]]:
    inside = [
        member for member in members(annotation) if is_section(member) or get_origin(member) in (tuple, list, dict)
    ]
    if not inside:
        return (), annotation, metadata
    only = len(members(annotation)) == 1
    if only or len(loc) > 1:  # an optional value has no name in `loc`; one of several alternatives has
        return _locate(inside[0], metadata, loc if only else loc[1:])
    return (), annotation, metadata


# ── what is said ────────────────────────────────────────────────────────────────────────────────────────────────────


def _place(part: Part, inner: KeyPath) -> str:
    address = part.address(inner)
    return f"in `{address}`" if address else "at the top of the recipe"


def _unknown(fault: Fault, part: Part, document: Document) -> RecipeProblem:
    *steps, key = fault.path
    above, parent = tuple(steps), part.schema_path(tuple(steps))
    around = [entry for entry in entries() if entry.path[:-1] == parent]
    model = _model_here(around, document.get((*part.path, *above)))
    other = next((entry for entry in around if entry.name == key), None)  # right for another `type` of this mapping
    entry = None if other else meant(parent, str(key), model)
    suggestion = _readable(entry, part, above) if entry else None
    siblings = dict.fromkeys(entry.name for entry in around if model in (None, entry.owner))
    return document.problem(
        document.key_mark(part.path + fault.path),
        part.address(fault.path),
        f"unknown key `{shorten(str(key))}` {_place(part, above)}" + (f" of type {tag_of(model)}" if other else ""),
        suggestion=f"{part.address((*above, 'type'))}: {tag_of(other.owner)}" if other else suggestion,
        expected=types_at(entry.path) if entry else "one of " + ", ".join(siblings),
        example=example_for(entry.path if entry else parent),
    )


def _model_here(around: list[Entry], value: Any) -> type[BaseModel] | None:
    """Return the model of a mapping that may be of several types, or None where its `type` does not tell."""
    owners = list(dict.fromkeys(entry.owner for entry in around))
    if len(owners) == 1:
        return owners[0]
    tag = value.get("type") if isinstance(value, dict) else None
    return next((owner for owner in owners if tag_of(owner) == tag), None)


def _readable(entry: Entry, part: Part, above: KeyPath) -> str:
    """Return the path of an entry as it would be written here: this stage's id, the index at hand."""
    if not part.kind or entry.path[0] != part.kind:
        return ".".join(entry.path)
    inner = [step if step != "0" or index >= len(above) else above[index] for index, step in enumerate(entry.path[1:])]
    return part.address(tuple(inner))


def _missing(fault: Fault, part: Part, document: Document) -> RecipeProblem:
    *above, key = fault.path
    return document.problem(
        document.key_mark(part.path + tuple(above)),
        part.address(fault.path),
        f"`{key}` is missing {_place(part, tuple(above))}",
        expected=fault.expected,
        example=example_for(part.schema_path(fault.path)),
    )


def _wrong(fault: Fault, part: Part, document: Document) -> RecipeProblem:
    value = document.get(part.path + fault.path)
    return document.problem(
        document.value_mark(part.path + fault.path),
        part.address(fault.path),
        f"`{part.address(fault.path)}` is {shown(value)}",
        suggestion=nearest(value, fault.options) if isinstance(value, str) else None,
        expected=fault.expected,
        example=example_for(part.schema_path(fault.path)),
    )


def _clash(fault: Fault, part: Part, document: Document) -> RecipeProblem:
    assert fault.clash is not None
    *above, _ = fault.path
    field, value = fault.clash.instead or ("", "")
    return document.problem(
        document.key_mark(part.path + fault.path),
        part.address(fault.path),
        fault.clash.seen,
        suggestion=f"{part.address((*above, field))}: {value}" if field else None,
        expected=fault.expected,
        example=f"{above[-1] if above else part.kind}: {as_yaml(fault.clash.example)}",
    )

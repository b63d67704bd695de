"""What the schema of a recipe says, in a person's words, and what was probably meant where a recipe differs from it.

    entries()     every path of a recipe with its type, default and help: suggestions, docs and examples come from it
    words(...)    a type as a person says it: "a whole number, at least 1"
    check(...)    a part of a recipe against its model: every problem with place, suggestion, expected type and example

Pydantic decides what is wrong; what is said about it is made here from the field itself, so that none of its own
terms reach the reader.
"""

from __future__ import annotations

import copy
import difflib
import json
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tunewright.errors import RecipeProblem
from tunewright.recipe.document import Document, KeyPath, dotted, shorten
from tunewright.recipe.sections import EXAMPLES, NAME_PATTERN, SECTIONS, Header, Ref, Section

# What other trainers call our fields: TRL, PEFT and axolotl, from their configuration references.
OTHER_WORDS: Final = {
    "lr": "learning_rate",
    "r": "rank",
    "lora_r": "rank",
    "target_modules": "targets",
    "lr_scheduler_type": "schedule",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "micro_batch_size": "batch_size",
    "max_length": "max_tokens",
    "sequence_len": "max_tokens",
    "base_model": "model",
}
CLOSE: Final = 0.6  # difflib's own default for "a good match"


# ── types in words ──────────────────────────────────────────────────────────────────────────────────────────────────


def is_section(annotation: Any) -> bool:
    """True if `annotation` is one of our models."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type without None; a plain type is its own only one."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) if part is not type(None) for member in _kept(part))
    return (annotation,)


def _kept(part: Any) -> tuple[Any, ...]:
    # An alternative keeps its annotation (a Ref), but a union inside a union is flattened.
    inner = members(part)
    return (part,) if len(inner) == 1 else inner


def tags(annotation: Any) -> dict[str, type[Section]]:
    """Return the models of a union that is told apart by `type`, by that word; empty for any other type."""
    models = [member for member in members(annotation) if is_section(member) and "type" in member.model_fields]
    return {_tag(model): model for model in models}


def options(annotation: Any) -> list[str]:
    """Return the words a value of this type must be one of; empty when it is free."""
    found = [
        str(option) for member in members(annotation) if get_origin(member) is Literal for option in get_args(member)
    ]
    return found or list(tags(annotation))


def words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Return a type with its bounds as a person says it."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return words(inner, [*metadata, *more])
    reference = next((item for item in metadata if isinstance(item, Ref)), None)
    if reference is not None:
        return _reference_words(reference)
    if found := tags(annotation):
        return "one of " + ", ".join(
            f"{{type: {tag}}}" if _alone(model) else f"{{type: {tag}, …}}" for tag, model in found.items()
        )
    alternatives = members(annotation)
    if set(alternatives) == {int, float}:
        alternatives = (float,)
    return ", ".join([" or ".join(_one(member) for member in alternatives), *_bounds(metadata)])


def _alone(model: type[Section]) -> bool:
    return set(model.model_fields) == {"type"}


def _reference_words(reference: Ref) -> str:
    made = {"rows": "rows", "adapter": "an adapter", "scores": "scores"}[reference.makes]
    return f"the id of a stage above that makes {made}" + (", or a model" if reference.or_model else "")


_PLAIN: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _one(member: Any) -> str:
    if member in _PLAIN:
        return _PLAIN[member]
    if get_origin(member) is Annotated:
        return words(member)
    if get_origin(member) is Literal:
        choices = [str(choice) for choice in get_args(member)]
        return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)
    if get_origin(member) in (tuple, list):
        return f"a list ({words(get_args(member)[0])})"
    if get_origin(member) is dict:
        return "a mapping of text to text"
    return "a mapping with " + ", ".join(member.model_fields)


def _bounds(metadata: Sequence[Any]) -> list[str]:
    """Return the bounds that pydantic keeps beside a type, in words."""
    said = {
        "gt": "above {}",
        "ge": "at least {}",
        "lt": "below {}",
        "le": "at most {}",
        "min_length": "{} or more of them",
    }
    found = []
    for item in metadata:
        found += [
            text.format(getattr(item, name)) for name, text in said.items() if getattr(item, name, None) is not None
        ]
        if NAME_PATTERN in (getattr(item, "pattern", None) or ""):
            found.append("small letters, digits, - and _, a letter first")
    return found


def shown(value: Any) -> str:
    """Return a value as a message names it."""
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, str):
        return f'the text "{shorten(value)}"'
    return json.dumps(value)


# ── all paths ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Entry:
    """One key that a recipe may hold. A list is entered by index 0: `data.sources.0.path`."""

    path: tuple[str, ...]
    owner: type[BaseModel]
    field: FieldInfo

    @property
    def name(self) -> str:
        """The key itself."""
        return self.path[-1]

    @property
    def type(self) -> str:
        """What may stand there, in words."""
        return words(self.field.annotation, self.field.metadata)

    @property
    def help(self) -> str:
        """What the field says of itself."""
        return self.field.description or ""

    @property
    def default(self) -> str | None:
        """The default as YAML, or None when the key must be given."""
        return None if self.field.is_required() else as_yaml(self.field.get_default(call_default_factory=True))


def as_yaml(value: Any) -> str:
    """Return a default as it would stand in a recipe, on one line."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_yaml(item) for item in value) + "]"
    if isinstance(value, str):
        return value or '""'
    return f"{value:g}" if isinstance(value, float) else json.dumps(value)


def walk(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Yield every key of `model` and of the models inside it, in the order of the file."""
    for name, field in model.model_fields.items():
        yield Entry((*prefix, name), model, field)
        for steps, inner in models_below(field.annotation):
            yield from walk(inner, (*prefix, name, *steps))


def models_below(annotation: Any) -> Iterator[tuple[tuple[str, ...], type[Section]]]:
    """Yield the models that a type holds, each with the steps that lead to it."""
    for member in members(annotation):
        if is_section(member):
            yield (), member
        elif get_origin(member) in (tuple, list):
            yield from ((("0", *steps), model) for steps, model in models_below(get_args(member)[0]))


@cache
def entries() -> tuple[Entry, ...]:
    """Return every key of a recipe: the header's, then each stage's, under the stage's kind."""
    head = list(walk(Header))
    return (*head, *(entry for kind, section in SECTIONS.items() for entry in walk(section, (kind,))))


def at(path: tuple[str, ...]) -> Entry | None:
    """Return the first entry at `path`."""
    return next((entry for entry in entries() if entry.path == path), None)


# ── did you mean ────────────────────────────────────────────────────────────────────────────────────────────────────


def nearest(name: str, among: Iterable[str], cutoff: float = CLOSE) -> str | None:
    """Return the word of `among` that looks most like `name`, or None when none does."""
    close = difflib.get_close_matches(name, list(dict.fromkeys(among)), n=1, cutoff=cutoff)
    return close[0] if close else None


def meant(parent: tuple[str, ...], key: str, model: type[BaseModel] | None = None) -> Entry | None:
    """Return the entry that an unknown `key` under `parent` was probably meant to be, over all paths of a recipe.

    `model` is what stands at `parent`, where several may.

    A misspelt neighbour wins over the same word in another place, unless they look alike by far less: a key in its
    own mapping gets 0.25 more than its likeness in [0, 1], one in the same stage 0.1.
    """
    name = key.rpartition(".")[2] or key
    name = OTHER_WORDS.get(name, name)
    fitting = (entry for entry in entries() if entry.path[:-1] != parent or model in (None, entry.owner))
    scored = [(_likeness(entry, parent, name), -len(entry.path), entry) for entry in fitting]
    score, _, best = max(scored, key=lambda item: item[:2])
    return best if score > 0 else None


def _likeness(entry: Entry, parent: tuple[str, ...], name: str) -> float:
    alike = difflib.SequenceMatcher(None, name.lower(), entry.name).ratio()
    if alike < CLOSE:
        return 0.0
    if entry.path[:-1] == parent:
        return alike + 0.25
    return alike + (0.1 if parent and entry.path[0] == parent[0] else 0.0)


def example_for(path: tuple[str, ...]) -> str | None:
    """Return a line that is right at `path`: the one written for it, else its default in place, else its stage's."""
    if (name := ".".join(path)) in EXAMPLES:
        return EXAMPLES[name]
    entry = at(path)
    if entry and (value := _typical(entry)):
        return _nested(path, f"{entry.name}: {value}")
    return next((EXAMPLES[key] for end in range(len(path), 0, -1) if (key := ".".join(path[:end])) in EXAMPLES), None)


def _nested(path: tuple[str, ...], line: str) -> str:
    """Put the mappings of `path` around `line`, out to the nearest list or stage."""
    for part in reversed(path[1:-1]):
        if part == "0":
            break
        line = f"{part}: {{{line}}}"
    return line


def _typical(entry: Entry) -> str | None:
    if entry.default not in (None, "null", '""', "[]", "{}"):
        return entry.default
    return next(iter(options(entry.field.annotation)), None)


# ── a part of a recipe against its model ────────────────────────────────────────────────────────────────────────────


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
    type: Literal["unknown", "missing", "wrong"]
    expected: str = ""
    options: tuple[str, ...] = ()


def check(part: Part, document: Document) -> list[RecipeProblem]:
    """Return every problem of a part against its model."""
    explain = {"unknown": _unknown, "missing": _missing, "wrong": _wrong}
    return [explain[fault.type](fault, part, document) for fault in find_faults(part.model, part.raw)]


def validate(model: type[BaseModel], raw: dict[str, Any]) -> Any:
    """Return `raw` as a `model`. Strict, in JSON's types: the text "3" is no number, and `no` is no false."""
    return model.model_validate_json(json.dumps(raw), strict=True)


def find_faults(model: type[BaseModel], raw: dict[str, Any]) -> list[Fault]:
    """Return what is wrong with `raw`, one fault a path.

    Pydantic looks no further where the `type` of a mapping is misspelt; there the nearest type is taken for the rest.
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
    """Return a copy of `raw` with every misspelt `type` put right, or None when there is none."""
    mended = None
    for fault in faults:
        if fault.type != "wrong" or fault.path[-1:] != ("type",):
            continue
        target = mended = copy.deepcopy(raw) if mended is None else mended
        for step in fault.path[:-1]:
            target = target[step]  # type: ignore[index]  # an index where a list stands
        if not (right := nearest(str(target["type"]), fault.options)):
            return None
        target["type"] = right
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
        f"unknown key `{shorten(str(key))}` {_place(part, above)}" + (f" of type {_tag(model)}" if other else ""),
        suggestion=f"{part.address((*above, 'type'))}: {_tag(other.owner)}" if other else suggestion,
        expected=_types_at(entry.path) if entry else "one of " + ", ".join(siblings),
        example=example_for(entry.path if entry else parent),
    )


def _types_at(path: tuple[str, ...]) -> str:
    types = dict.fromkeys(entry.type for entry in entries() if entry.path == path)
    return next(iter(types)) if len(types) == 1 else "one of " + ", ".join(types)


def _model_here(around: list[Entry], value: Any) -> type[BaseModel] | None:
    """Return the model of a mapping that may be of several types, or None where its `type` does not tell."""
    owners = list(dict.fromkeys(entry.owner for entry in around))
    if len(owners) == 1:
        return owners[0]
    tag = value.get("type") if isinstance(value, dict) else None
    return next((owner for owner in owners if _tag(owner) == tag), None)


def _tag(model: type[BaseModel] | None) -> str:
    return str(get_args(model.model_fields["type"].annotation)[0]) if model and "type" in model.model_fields else ""


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

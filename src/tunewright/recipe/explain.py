"""What the schema of a recipe says, in a person's words, and what was probably meant where a recipe differs from it.

entries()     every path of a recipe with its type, default and help: suggestions, docs and examples come from it
words(...)    a type as a person says it: "a whole number, at least 1"
meant(...)    the entry that an unknown key was probably meant to be
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tunewright.recipe.document import shorten
from tunewright.recipe.sections import EXAMPLES, NAME_PATTERN, SECTIONS, Header, Ref, Section

# What other trainers call our fields: TRL, PEFT, axolotl and LLaMA-Factory, from their configuration references.
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
    "eaft_alpha": "power",
    "top_entropy_quantile": "quantile",
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
    return {tag: member for member in members(annotation) if is_section(member) and (tag := tag_of(member))}


def tag_of(model: type[BaseModel] | None) -> str:
    """Return the word that `type` must be for this model; empty for a model without one, or with a choice."""
    choices = get_args(model.model_fields["type"].annotation) if model and "type" in model.model_fields else ()
    return str(choices[0]) if len(choices) == 1 else ""


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
        bounds = [bound for item in more for bound in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return words(inner, [*metadata, *bounds])
    reference = next((item for item in metadata if isinstance(item, Ref)), None)
    if reference is not None:
        return _reference_words(reference)
    if found := tags(annotation):
        return "one of " + ", ".join(
            f"{{type: {tag}}}" if _alone(model) else f"{{type: {tag}, …}}" for tag, model in found.items()
        )
    alternatives = members(annotation)
    told = [_one(member) for member in alternatives]
    between = ", or " if any(", " in text for text in told) else " or "
    return ", ".join([between.join(told), *_bounds(metadata)])


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
        inside = [part for part in get_args(member) if part is not Ellipsis]
        count = f" of {len(inside)}" if get_origin(member) is tuple and Ellipsis not in get_args(member) else ""
        return f"a list{count} ({words(inside[0])})"
    if get_origin(member) is dict:
        return "a mapping of text to text" if get_args(member)[1] is str else "a mapping"
    if kinds := options(member.model_fields["type"].annotation) if "type" in member.model_fields else []:
        return f"a mapping with `type` ({', '.join(kinds)}) and the fields of that type"
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
        return f'the text "{shorten(without_secrets(value))}"'
    return json.dumps(value)


def without_secrets(url: str) -> str:
    """Return a URL with its user, password and query as `***`; any other text as it is."""
    return re.sub(r"^(https?://)[^/]*@", r"\1***@", url).partition("?")[0] if re.match(r"https?://", url) else url


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
        value = value.model_dump(mode="json", exclude_none=True)
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


def types_at(path: tuple[str, ...]) -> str:
    """Return what may stand at `path`, in words; mappings of several types may ask for different things there."""
    types = dict.fromkeys(entry.type for entry in entries() if entry.path == path)
    return next(iter(types)) if len(types) == 1 else "one of " + ", ".join(types)


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
    inside = [path, path[:-1]] if len(path) > 2 else [path]  # a mapping's own example shows its `type` too
    if written := next((EXAMPLES[name] for part in inside if (name := ".".join(part)) in EXAMPLES), None):
        return written
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

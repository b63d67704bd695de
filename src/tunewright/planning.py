"""What a run will do, known before anything runs: every stage with its inputs and its fingerprint.

reads    the recipe; the identities of the models and sources that it names
makes    a list of `Planned`, in the recipe's order

`KINDS` is the one place that knows which function a stage kind is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final

from tunewright.artifacts.fingerprint import differing_fields, fingerprint
from tunewright.artifacts.record import Record
from tunewright.models.find import model_identity
from tunewright.models.precision import resolve_precision
from tunewright.recipe.links import reference_fields
from tunewright.recipe.sections import (
    DataSection,
    DryRunSection,
    EvaluateSection,
    Recipe,
    SftSection,
    StageSection,
)
from tunewright.sources.read import data_identities
from tunewright.suites.identity import suite_identity

KINDS: dict[str, str] = {
    "check": "tunewright.stages.check.stage",
    "probe": "tunewright.stages.probe.stage",
    "data": "tunewright.stages.data.stage",
    "evaluate": "tunewright.stages.evaluate.stage",
    "dry_run": "tunewright.stages.dry_run.stage",
    "sft": "tunewright.stages.sft.stage",
    "compare": "tunewright.stages.compare.stage",
}
"""stage kind -> the module that holds a function of that name, and its CODE_VERSION"""

NO_IDENTITY: dict[str, Any] = {
    "id": True,
    "save_every": True,
    "engine": True,
    "trackers": True,
    "gradient_checkpointing": True,
    "endpoint": {
        "api_key_env", "limit_field", "concurrency", "timeout_seconds", "price", "budget_usd", "budget_tokens"
    },
    "server": {"python", "concurrency"},
}  # fmt: skip
"""fields that do not change a result: a name, how often to save, who does it, what to compute twice, where metrics go,
how to reach whom"""


COMPARED_WITH: Final = ("held_out", "trained_on", "suites", "decontaminate", "against")


@dataclass(frozen=True)
class Planned:
    """A stage before it runs: what it takes, and what it will be."""

    index: int
    kind: str
    section: StageSection
    references: dict[str, tuple[str, ...]]
    """field -> the earlier stages it names (`id` or `id.part`)"""
    inputs: dict[str, str]
    """reference -> fingerprint of that stage"""
    external: dict[str, str]
    code_version: int
    fingerprint: str = ""
    recipe: Recipe | None = None
    """the whole recipe, for a `check`, which looks at all of it"""

    @property
    def id(self) -> str:
        """The stage's id."""
        return self.section.id

    @property
    def folder_name(self) -> str:
        """`<index>-<id>`."""
        return f"{self.index}-{self.id}"

    @property
    def input_ids(self) -> set[str]:
        """The ids of the stages it reads."""
        return {reference.split(".")[0] for reference in self.inputs}

    def identity(self) -> dict[str, Any]:
        """What the fingerprint is taken of."""
        return {
            "kind": self.kind,
            "code_version": self.code_version,
            "section": identity_of(self.section),
            "inputs": self.inputs,
            "external": self.external,
        }

    def rows_identity(self) -> dict[str, Any]:
        """What the fingerprint is taken of that later stages know this one by.

        What rows are only compared with changes a verdict, and no row: one more evaluation trains nothing again.
        """
        found = self.identity()
        if not isinstance(self.section, DataSection) or self.section.decontaminate.action == "remove":
            return found
        compared = {ref for name in COMPARED_WITH for ref in self.references.get(name, ())}
        return {
            **found,
            "section": {key: value for key, value in found["section"].items() if key not in COMPARED_WITH},
            "inputs": {ref: mark for ref, mark in self.inputs.items() if ref not in compared},
            "external": {
                key: mark for key, mark in self.external.items() if key.partition(".")[0] not in COMPARED_WITH
            },
        }

    def seed(self, recipe: Recipe) -> int:
        """Return the stage's seed, which may be 0; the recipe's where the stage has none."""
        own: int | None = getattr(self.section, "seed", None)
        return recipe.seed if own is None else own


def plan(recipe: Recipe) -> list[Planned]:
    """Return all stages with their fingerprints. Needs the models' and sources' identities, but runs nothing.

    Raises:
        ModelError, DataError: something the recipe points at is not there.
    """
    planned: list[Planned] = []
    for index, (kind, section) in enumerate(recipe.stages, 1):
        known = {stage.id: fingerprint(stage.rows_identity()) for stage in planned}
        references = _references(section, set(known))
        stage = Planned(
            index=index,
            kind=kind,
            section=section,
            references=references,
            inputs={ref: known[ref.split(".")[0]] for refs in references.values() for ref in refs},
            external=_of_recipe(recipe) if kind == "check" else _external(section, references),
            code_version=import_module(KINDS[kind]).CODE_VERSION,
            recipe=recipe if kind == "check" else None,
        )
        planned.append(replace(stage, fingerprint=fingerprint(stage.identity())))
    return planned


def _references(section: StageSection, ids: set[str]) -> dict[str, tuple[str, ...]]:
    """Return the references that name earlier stages; a field that names a model instead is none."""
    found = {}
    for name in reference_fields(type(section)):
        value = getattr(section, name)
        texts = (value,) if isinstance(value, str) else tuple(value or ())
        stages = tuple(text for text in texts if text.split(".")[0] in ids)
        if stages:
            found[name] = stages
    return found


def _external(section: StageSection, references: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the identities of what comes from outside the run: models, precision, sources."""
    found: dict[str, str] = {}
    model = getattr(section, "model", None)
    if model is not None and "model" not in references:
        found["model"] = model_identity(model)
    if hasattr(section, "precision"):
        found["precision"] = resolve_precision(section.precision)
    if isinstance(section, EvaluateSection):
        found |= suite_identity(section.suite, section.options)
    if isinstance(section, SftSection) and section.dev is not None:
        found |= suite_identity(section.dev.suite, section.dev.options)
    if isinstance(section, DryRunSection):
        found |= suite_identity("", {"grader": section.grader, "answers": section.answers})
    if isinstance(section, DataSection):
        found |= data_identities(section)
        for number, own in enumerate(section.suites or ()):
            found |= {f"suites.{number}.{name}": mark for name, mark in suite_identity(own.suite, own.options).items()}
    return found


def _of_recipe(recipe: Recipe) -> dict[str, str]:
    """Return what a `check` depends on: the sections of all other stages, the header, and what they name outside.

    A recipe's name and its hypothesis change nothing that runs.
    """
    header = recipe.model_dump(mode="json", exclude={"recipe", "hypothesis", "stages"})
    others = [(kind, section) for kind, section in recipe.stages if kind != "check"]
    stages = [[kind, section.id, identity_of(section)] for kind, section in others]
    found = {"recipe": fingerprint({**header, "stages": stages})}
    ids = set(recipe.ids())
    for _, section in others:
        external = _external(section, _references(section, ids))
        found |= {f"{section.id}.{name}": value for name, value in external.items()}
    return found


def identity_of(section: StageSection) -> dict[str, Any]:
    """Return the fields of a section that change its result: not its name, not a path, not how often to save."""
    value = _without(section.model_dump(mode="json"))
    for source in value.get("sources", ()):
        source.pop("path", None)
    if isinstance(section, DataSection):
        value["decontaminate"].pop("against")
    return value


def _without(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section as JSON without the fields that change no result."""
    kept = {}
    for key, value in section.items():
        left_out = NO_IDENTITY.get(key)
        if isinstance(left_out, set) and isinstance(value, Mapping):
            kept[key] = {name: inner for name, inner in value.items() if name not in left_out}
        elif left_out is not True:
            kept[key] = value
    return kept


def differences(record: Record, stage: Planned) -> list[str]:
    """Return what differs between a finished stage and a planned one, field by field: `steps: 12 -> 4`."""
    old = {
        "section": _without(record.section),
        "inputs": {ref: value.fingerprint for ref, value in record.inputs.items()},
        "external": record.external,
        "code_version": record.code_version,
    }
    new = {**stage.identity(), "section": _without(stage.section.model_dump(mode="json"))}
    new.pop("kind")
    found = [text.removeprefix("section.") for text in differing_fields(old, new)]
    return [f"{text.split(':')[0]} is new" if text.startswith("inputs.") else text for text in found]

"""Evaluations without a recipe, for `tw eval` and `tw tune`: a model as it is typed, a section, rows; scores on disk.

The folder of an evaluation is called after what it is made of (model, rows, settings, suite, code), and its record is
written last. So the same command takes what is there, and goes on where a killed one stopped.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunewright.artifacts.files import make_folder, read_json, write_json, write_jsonl
from tunewright.cli.references import FoundModel, find_model
from tunewright.errors import DataError, UserError
from tunewright.recipe.scaffold import quoted

if TYPE_CHECKING:
    from tunewright.artifacts.checkpoint import Adapter, Trained
    from tunewright.artifacts.dataset import ChatRow, Rows
    from tunewright.artifacts.scores import Scores
    from tunewright.artifacts.verdict import Verdict
    from tunewright.recipe.sections import EvaluateSection

NO_URL = "http://named.by.the.argument/v1"
DONE = "scores.json"  # written last: no such file, not done


@dataclass(frozen=True)
class Evaluated:
    """One model's scores, and what the gates said."""

    name: str
    folder: Path
    scores: Scores
    verdicts: list[Verdict]


def section_of(suite: str, limit: int | None, overrides: Sequence[str]) -> EvaluateSection:
    """Return the `evaluate` section that the command line stands for.

    Raises:
        RecipeError: a `--set` that no such section can have, with what was probably meant.
        UserError: worked examples, which only a recipe has rows for.
    """
    from tunewright.recipe.load import parse_recipe

    _refuse_shots(overrides)
    text = (
        "recipe: eval\nmodel: ./model\nseed: 7\nstages:\n"
        "  - data: {sources: [{type: bfcl}]}\n  - evaluate: {rows: data.test}\n"
    )
    told = [f"suite={quoted(suite)}", *([f"limit={limit}"] if limit else []), *overrides]
    if any(override.startswith("endpoint.") for override in overrides):  # URL and model come from the argument
        told[:0] = ["backend=openai", f'endpoint={{url: "{NO_URL}", model: model}}']
    recipe = parse_recipe(text, "tw eval", Path(), [f"evaluate.{override}" for override in told])
    section: EvaluateSection = recipe.stages[1][1]
    return section


def _refuse_shots(overrides: Sequence[str]) -> None:
    for override in overrides:
        name, _, value = override.partition("=")
        if name.strip() in ("shots", "shots_from") and value.strip() != "0":
            raise UserError(
                "worked examples are drawn from the rows of a recipe's stage, and no recipe is here",
                where=f"--set {override}", expected="no worked examples",
                fix="write a recipe whose `evaluate` says `shots` and `shots_from`, and `tw run` it",
            )  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A model to evaluate, as the stage takes it, and where its worked examples come from if it has any."""

    section: EvaluateSection
    trained: Trained | Adapter | None
    identity: str
    shots_from: Rows | None = None


def target_of(text: str, section: EvaluateSection) -> Target:
    """Return what a person means by a model: something to load, an adapter on it, or an endpoint.

    Raises:
        ModelError, RunFolderError: there is no such model. UserError: an endpoint without a model's name.
    """
    from tunewright.models.find import model_identity

    if re.match(r"^https?://", text):
        return _endpoint(text, section)
    if section.endpoint is not None and section.endpoint.url == NO_URL:
        raise UserError(
            "it is no endpoint, and `--set endpoint.…` was given", where=text, expected="https://host/v1#MODEL"
        )
    model = find_model(text)
    identity = model_identity(model.base)
    trained = adapter_of(model, identity) if model.adapter else None
    changed = section.model_copy(update={"model": model.base})
    return Target(changed, trained, f"{identity} + {trained.adapter_sha256}" if trained else identity)


def _endpoint(text: str, section: EvaluateSection) -> Target:
    from tunewright.backends.http import checked_url
    from tunewright.recipe.sections import Endpoint

    url, _, name = text.partition("#")
    url = checked_url(url)  # first: it may hold a password, which no folder's name and no message is to hold
    if not name.strip():
        raise UserError("the URL does not say which model", where=text, expected=f"{url}#MODEL")
    told = section.endpoint.model_dump() if section.endpoint else {}
    endpoint = Endpoint(**{**told, "url": url, "model": name})
    changed = section.model_copy(update={"model": None, "backend": "openai", "endpoint": endpoint})
    return Target(changed, None, text)


def adapter_of(model: FoundModel, identity: str) -> Adapter:
    """Return the adapter of `model` as stages take it; `identity` is that of its base.

    Raises:
        DataError: there are no weights in its folder.
    """
    from tunewright.artifacts.checkpoint import Adapter
    from tunewright.artifacts.fingerprint import sha256_file

    assert model.adapter is not None
    weights = model.adapter / "adapter_model.safetensors"
    if not weights.is_file():
        raise DataError("no such file", where=str(weights), expected="an adapter as PEFT saves it")
    return Adapter(model.base, model.base_identity or identity, model.adapter, sha256_file(weights))


def evaluate_model(
    text: str, section: EvaluateSection, data: list[ChatRow] | None, output: Path, allow: Sequence[str] = ()
) -> Evaluated:
    """Return the scores of one model: those that lie there already, or new ones; `allow` are gates that may fail.

    Raises:
        What the stage raises.
    """
    return evaluate_target(text, target_of(text, section), data, output / slug(section.suite), allow=allow)


def evaluate_target(
    name: str,
    found: Target,
    data: list[ChatRow] | None,
    output: Path,
    backend: Any = None,
    allow: Sequence[str] = (),
) -> Evaluated:
    """As `evaluate_model`, below `output`; `backend` answers where the caller has opened it already.

    Raises:
        RunFolderError: another process carries out the same evaluation. And what the stage raises.
    """
    from tunewright.artifacts.rundir import lock_folder
    from tunewright.artifacts.scores import Scores
    from tunewright.artifacts.verdict import Verdict

    folder = make_folder(output / f"{slug(name)}-{mark_of(found, data)[:8]}")
    done = folder / DONE
    if not done.is_file():
        print(f"  {name}: {folder}", file=sys.stderr)
        with lock_folder(folder, "this evaluation", "the same command afterwards takes what it made"):
            return carry_out(name, found, data, folder, backend, allow)
    told = read_json(done)
    print(f"  {name}: taken from {folder}", file=sys.stderr)
    verdicts = [Verdict(**verdict) for verdict in told["verdicts"]]
    return Evaluated(name, folder, Scores.load(folder, told["scores"]), verdicts)


def carry_out(
    text: str,
    found: Target,
    data: list[ChatRow] | None,
    folder: Path,
    backend: Any = None,
    allow: Sequence[str] = (),
) -> Evaluated:
    """Evaluate in `folder`; what an earlier attempt left there is gone on with. Its record is written last."""
    from tunewright.artifacts.context import RunContext
    from tunewright.stages.evaluate.stage import evaluate as evaluate_stage

    run = RunContext(stage=text, allow=tuple(allow))
    rows, shots_from = _rows_file(data, folder), found.shots_from
    scores = evaluate_stage(rows, found.section, folder, run, found.trained, shots_from=shots_from, backend=backend)
    verdicts = [verdict.model_dump(mode="json") for verdict in run.verdicts]
    write_json(
        folder / DONE,
        {
            "model": text,
            "identity": found.identity,
            "section": found.section.model_dump(mode="json"),
            "verdicts": verdicts,
            "scores": scores.model_dump(mode="json"),
        },
    )
    return Evaluated(text, folder, scores, run.verdicts)


class _Lazy:
    """A backend that is opened when it is first asked."""

    def __init__(self, found: Target, held: contextlib.ExitStack):
        self.found, self.held = found, held
        self.opened: Any = None

    def __getattr__(self, name: str) -> Any:
        if self.opened is None:
            self.opened = self.held.enter_context(_open(self.found))
        return getattr(self.opened, name)


@contextlib.contextmanager
def shared_backend(found: Target) -> Iterator[Any]:
    """Give one backend for several evaluations of a model; it is opened when it is first asked."""
    with contextlib.ExitStack() as held:
        yield _Lazy(found, held)


def _open(found: Target) -> contextlib.AbstractContextManager[Any]:
    from tunewright.chat.render import Renderer
    from tunewright.models.find import model_folder
    from tunewright.stages.evaluate.answers import opened

    section = found.section
    ref = found.trained.base_model if found.trained else str(section.model)
    if section.backend != "hf":
        return opened(ref, None, None, section, found.trained)
    folder = model_folder(ref)
    return opened(ref, folder, Renderer.from_folder(folder, section.template_kwargs), section, found.trained)


def _rows_file(data: list[ChatRow] | None, folder: Path) -> Rows | None:
    from tunewright.artifacts.dataset import Rows

    if data is None:
        return None
    write_jsonl(folder / "rows.jsonl", (row.model_dump(mode="json") for row in data))
    return Rows(path=folder / "rows.jsonl")


def mark_of(found: Target, data: list[ChatRow] | None) -> str:
    """Return the fingerprint of an evaluation: equal ones give equal scores, and share a folder."""
    from tunewright.artifacts.fingerprint import fingerprint, sha256_file
    from tunewright.models.precision import resolve_precision
    from tunewright.planning import identity_of
    from tunewright.stages.evaluate.stage import CODE_VERSION
    from tunewright.suites.identity import suite_identity

    return fingerprint(
        {
            "code_version": CODE_VERSION,
            "section": {**identity_of(found.section), "model": None},
            "model": found.identity,
            "suite": suite_identity(found.section.suite, found.section.options),
            "precision": resolve_precision(found.section.precision),
            "rows": None if data is None else [row.model_dump(mode="json") for row in data],
            **({"shots": sha256_file(found.shots_from.path)} if found.shots_from else {}),
        }
    )


def slug(text: str) -> str:
    """Return a text as a folder's name."""
    return re.sub(r"[^\w.-]+", "-", text.split("://")[-1]).strip("-.")[-60:] or "model"

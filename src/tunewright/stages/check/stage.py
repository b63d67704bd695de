"""Stage `check`: everything that can be known before a run is paid for, in one place and in seconds.

reads    the whole recipe, its models' tokenizers and embeddings, the first rows of its sources; running servers that
         the section names; rows that stages above have made, for the cost of training on them
writes   check.json with every measurement, and the verdicts of all parts

It stands where it likes: planning hands it the recipe, so it needs no other stage. `tw check RECIPE` calls the same
function. A part is one function from the recipe to verdicts; `check` calls them in turn.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from tunewright.artifacts.checked import Checked
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Rows
from tunewright.artifacts.files import make_folder, write_json
from tunewright.artifacts.verdict import Verdict
from tunewright.chat.render import Renderer
from tunewright.errors import ModelError
from tunewright.models.devices import this_device
from tunewright.models.find import tokenizer_folder
from tunewright.recipe.sections import CheckSection, DataSection, EvaluateSection, Recipe, SftSection
from tunewright.sources.filters.build import build_filter
from tunewright.sources.read import AnySource, read_source
from tunewright.stages.check.answers import judge_references
from tunewright.stages.check.drill import check_stack
from tunewright.stages.check.labels import Limits, judge_rows
from tunewright.stages.check.money import begun_trial, check_money
from tunewright.stages.check.parity import judge_parity
from tunewright.stages.check.template import EMBEDDINGS, calls_tools, judge_template
from tunewright.stages.check.weights import judge_weights

CODE_VERSION = 3


def check(
    section: CheckSection, out: Path, run: RunContext, recipe: Recipe, rows: Mapping[str, Rows] | None = None
) -> Checked:
    """Look at everything that a recipe will use, before it is used.

    Args:
        section: the recipe's `check:` block.
        out: folder of this stage.
        run: takes the verdicts.
        recipe: all of it, resolved.
        rows: what the stages above have made, by reference (`data.train`).

    Raises:
        ModelError: a model or its template cannot be used. DataError: a row that is none, or cannot be rendered.
        EnvironmentProblem: a server that `serving` names does not answer.
    """
    began, measured = time.perf_counter(), dict[str, Any]()
    make_folder(out)
    rows, device = rows or {}, this_device()
    with begun_trial(recipe, rows, device):
        run.judge(*check_format(recipe, section, measured))
        if not any(verdict.stops for verdict in run.verdicts):  # what is dear to find out waits for what is cheap
            run.judge(*check_stack(recipe))
            run.judge(*check_money(recipe, rows, device=device))
    measured["verdicts"] = [verdict.model_dump(mode="json") for verdict in run.verdicts]
    write_json(out / "check.json", measured)
    entries = measured["format"]
    return Checked(
        folder=out,
        rows=sum(source["rows"] for one in entries for source in one.get("labels", ())),
        prompts_sha256=next((one["prompts_sha256"] for one in entries if "prompts_sha256" in one), ""),
        views=tuple(dict.fromkeys(view["name"] for one in entries for view in one.get("parity", ()))),
        seconds=time.perf_counter() - began,
    )


# ── format ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Training:
    """A model, the rows it is trained on and the stages that ask it. `data` is None where nothing is trained."""

    model: str
    data: DataSection | None
    trains_embeddings: bool
    evaluations: tuple[EvaluateSection, ...]


def check_format(recipe: Recipe, section: CheckSection, measured: dict[str, Any]) -> list[Verdict]:
    """Return the verdicts on template, weights, labels and parity of every training of the recipe.

    Raises: as `check`.
    """
    verdicts = list[Verdict]()
    entries = measured["format"] = list[dict[str, Any]]()
    trains = any(kind == "sft" for kind, _ in recipe.stages)

    @cache
    def first_rows(data_id: str) -> list[ChatRow]:
        return list(_rows(data_sections(recipe)[data_id], section.limit))

    for training in trainings(recipe):
        folder = tokenizer_folder(training.model)
        entry: dict[str, Any] = {"model": training.model}
        entries.append(entry)
        rows = first_rows(training.data.id) if training.data else []
        of_template = judge_template(
            folder, entry, trains_embeddings=training.trains_embeddings, calls_tools=calls_tools(rows)
        )
        verdicts += of_template
        try:
            if trains:  # who only asks a server need not be able to load the model here
                verdicts.append(judge_weights(folder, entry))
            verdicts += _judge_rows(training, folder, rows, section, entry)
        except ModelError:  # what the template cannot do has been said
            if not any(verdict.stops for verdict in of_template):
                raise
    if not any(verdict.stops for verdict in verdicts):  # a template that cannot write an answer has been told
        verdicts += _judge_answers(recipe, first_rows, measured)
    return verdicts


def _judge_rows(
    training: Training, folder: Path, rows: list[ChatRow], section: CheckSection, entry: dict[str, Any]
) -> list[Verdict]:
    if training.data is None or not rows:
        return []
    return [
        *judge_rows(folder, rows, entry, _limits(training.data, folder)),
        *judge_parity(folder, training.model, rows, training.evaluations, section.serving, entry),
    ]


def _judge_answers(
    recipe: Recipe, first_rows: Callable[[str], list[ChatRow]], measured: dict[str, Any]
) -> list[Verdict]:
    """Return the verdicts on the references of every `data` stage that is asked, as each model that is asked says them.

    Raises: as `judge_references`.
    """
    data = data_sections(recipe)
    base = {one.id: str(one.model) for kind, one in recipe.stages if kind == "sft"}
    asks = defaultdict[tuple[str, str], list[EvaluateSection]](list)
    for one in _evaluations(recipe):
        rows = str(one.rows).partition(".")[0]
        if one.model is not None and rows in data:
            asks[base.get(one.model, one.model), rows].append(one)
    verdicts = list[Verdict]()
    for (model, rows), evaluations in asks.items():
        verdicts += judge_references(tokenizer_folder(model), first_rows(rows), evaluations, measured)
    return verdicts


def trainings(recipe: Recipe) -> list[Training]:
    """Return every pair of a model and rows that the recipe trains; where it trains nothing, what its rows are for."""
    data = data_sections(recipe)
    found: dict[tuple[str, str], Training] = {}
    for sft in (section for kind, section in recipe.stages if kind == "sft"):
        rows = sft.rows.partition(".")[0]
        asks = tuple(one for one in _evaluations(recipe) if one.model in (sft.id, sft.model))
        before = found.get((str(sft.model), rows), Training(str(sft.model), data.get(rows), True, ()))
        found[before.model, rows] = replace(
            before,
            trains_embeddings=before.trains_embeddings and _trains_embeddings(sft),
            evaluations=tuple({one.id: one for one in (*before.evaluations, *asks)}.values()),
        )
    if not found:
        for rows, section in data.items():
            found[rows, ""] = Training(str(section.model), section, False, tuple(_evaluations(recipe)))
    return list(found.values())


def data_sections(recipe: Recipe) -> dict[str, DataSection]:
    """Return the `data` stages by id."""
    return {section.id: section for kind, section in recipe.stages if kind == "data"}


def _evaluations(recipe: Recipe) -> Iterator[EvaluateSection]:
    return (section for kind, section in recipe.stages if kind == "evaluate")


def _trains_embeddings(sft: SftSection) -> bool:
    targets = sft.lora.targets
    return not isinstance(targets, str) and any(part in name for name in targets for part in EMBEDDINGS)


def _rows(data: DataSection, limit: int) -> Iterator[ChatRow]:
    """Yield the first rows of each source, behind the filters of the section."""
    for source in data.sources:
        yield from islice(_filtered(source, data), limit)


def _filtered(source: AnySource, data: DataSection) -> Iterator[ChatRow]:
    rows = (row for row in read_source(source) if isinstance(row, ChatRow))
    for one in data.filters:
        row_filter = build_filter(one)
        rows = (row for row in row_filter(rows) if isinstance(row, ChatRow))
    return rows


def _limits(data: DataSection, folder: Path) -> Limits:
    """Return how long the rows of a `data` stage may be."""
    context = Renderer.from_folder(folder).context_length
    limits = [limit for limit in (data.max_tokens, context) if limit is not None]
    return Limits(min(limits, default=None), data.overlong != "error", data.overlong == "drop_tools")

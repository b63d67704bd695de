"""`tw tune inference`: which temperature, top-p, system text, template settings and length suit a model best?

tw tune inference RUN[:STAGE]          an evaluate stage of a run: its model, its suite and its rows
tw tune inference MODEL SUITE --rows   any model, as for `tw eval`

Half of the rows (whole groups) choose the settings, the other half says what they are worth, with an interval; settings
are never chosen on it. The search goes on with the same command.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunewright.artifacts.files import make_folder, write_json
from tunewright.artifacts.rundir import find_run
from tunewright.cli.references import MODEL_FORMS, ROWS_FORMS, find_rows, rows_at
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import RunFolderError, UserError
from tunewright.reports import words

if TYPE_CHECKING:
    from tunewright.artifacts.comparison import PairedTest
    from tunewright.artifacts.dataset import ChatRow
    from tunewright.cli.evaluating import Evaluated, Target
    from tunewright.cli.tuning import Search, Settings, Space

TRIALS = 20
SEED = 7  # the default of a recipe
HEAD = ("settings", "dev", "test", "95% interval")
RIGHT = (1, 2)
FORMS = "RUN[:STAGE] of an evaluate stage, or MODEL SUITE"


class What(StrEnum):
    """What can be tuned."""

    INFERENCE = "inference"


def tune(
    what: Annotated[What, typer.Argument(metavar="inference", help="what to tune", show_default=False)],
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN[:STAGE] | MODEL SUITE", help=f"an evaluate stage, or a model ({MODEL_FORMS}) and a suite"
        ),
    ],
    rows: Annotated[str | None, typer.Option("--rows", help=ROWS_FORMS)] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="only the first so many rows")] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="settings to try")] = TRIALS,
    space: Annotated[
        Path | None,
        typer.Option(
            "--space", help="a YAML file: temperature: [0, 1], top_p: […], system: […], template_kwargs: […], …"
        ),
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="a field of `evaluate`: repeats=4")] = None,
    output: Annotated[Path, typer.Option("--output", help="folder that searches are kept in")] = Path("tunes"),
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Search inference settings on a dev split, and report what they are worth on the test split."""
    from tunewright.cli.tuning import halves, read_space

    found, data = _asked(target, rows, limit, set_ or ())
    dev, test = halves(data, SEED)
    told = search(target[0], found, dev, test, read_space(space), trials, output)
    if json_output:
        print_json(told)
    else:
        _print(told)


def _asked(
    target: Sequence[str], rows: str | None, limit: int | None, overrides: Sequence[str]
) -> tuple[Target, list[ChatRow]]:
    """Return the model with its section, and all rows.

    Raises:
        UserError, RunFolderError: what is named is not there.
    """
    from tunewright.cli.evaluating import section_of, target_of
    from tunewright.stages.evaluate.stage import asked_rows
    from tunewright.suites.protocol import find_suite

    if len(target) == 1:
        return _of_run(target[0], rows, limit, overrides)
    if len(target) != 2:
        raise UserError(f"{len(target)} arguments", where="tw tune inference", expected=FORMS)
    found = target_of(target[0], section_of(target[1], limit, overrides))
    if rows is not None:
        return found, list(find_rows(rows))[:limit]
    return found, asked_rows(None, find_suite(found.section.suite, found.section.options), found.section)


def _of_run(text: str, rows: str | None, limit: int | None, overrides: Sequence[str]) -> tuple[Target, list[ChatRow]]:
    from tunewright.artifacts.checkpoint import Trained
    from tunewright.cli.evaluating import Target
    from tunewright.models.find import model_identity
    from tunewright.recipe.sections import EvaluateSection
    from tunewright.stages.evaluate.stage import asked_rows
    from tunewright.suites.protocol import find_suite

    run_text, _, stage = text.rpartition(":") if ":" in text else (text, "", "")
    run = find_run(run_text)
    records = [record for record in run.records() if record.kind == "evaluate" and stage in ("", record.id)]
    if not records:
        raise RunFolderError("no such evaluate stage is done", where=run.name, expected=FORMS)
    if overrides:
        raise UserError(
            "a run's stage says its settings", where="--set", fix="name MODEL SUITE instead, or leave it out"
        )
    section = EvaluateSection(**records[-1].section)
    ids = run.stage_ids()
    trained = run.artifact(str(section.model)) if section.model in ids else None
    assert trained is None or isinstance(trained, Trained)
    base = trained.base_model if trained else str(section.model)
    identity = model_identity(base) + (f" + {trained.adapter_sha256}" if trained else "")
    if rows is not None:
        data = list(find_rows(rows))
    elif section.rows is not None:
        data = list(find_rows(f"{run_text}:{section.rows}"))
    else:
        data = asked_rows(None, find_suite(section.suite, section.options), section)
    examples = rows_at(run, str(section.shots_from)) if section.shots else None
    plain = section.model_copy(update={"model": base, "limit": None})
    return Target(plain, trained, identity, examples), data[: limit or section.limit]


def search(
    name: str, found: Target, dev: list[ChatRow], test: list[ChatRow], space: Space, trials: int, output: Path
) -> dict[str, Any]:
    """Search on `dev`, report on `test`; return what is printed, and write it to result.json."""
    from tunewright.artifacts.fingerprint import fingerprint
    from tunewright.cli.evaluating import mark_of, shared_backend, slug
    from tunewright.cli.tuning import Search, averaged
    from tunewright.stages.compare.stage import compare_scores
    from tunewright.suites.protocol import find_suite

    suite = find_suite(found.section.suite, found.section.options)
    if suite.mode == "log_probs":  # nothing is drawn, and nothing is written
        space = space.model_copy(update={"temperature": None, "top_p": None, "max_new_tokens": ()})
    if space.is_empty:
        raise UserError(
            "there is nothing to search", where="--space", expected="settings that change this suite's answers"
        )
    higher = next((one.higher_is_better for one in suite.metrics if one.name == suite.main_metric), True)
    mark = fingerprint([mark_of(found, [*dev, *test]), space.model_dump(mode="json")])[:8]
    folder = make_folder(output / f"{slug(name)}-{mark}")
    with shared_backend(found) as backend:
        searching = Search(found, dev, space, folder, SEED, backend)
        best = searching.run(trials, higher)
        before = searching.evaluated("test", {}, test)
        after = searching.evaluated("test", best, test) if best else before
    sides = [averaged(one.scores.rows()) for one in (before, after)]
    tests = compare_scores(*sides, seed=SEED, lower_is_better=before.scores.lower_is_better)
    told = _told(searching, best, before, after, tests)
    write_json(folder / "result.json", told)
    return {**told, "folder": str(folder)}


def _told(
    searching: Search, best: Settings, before: Evaluated, after: Evaluated, tests: Sequence[PairedTest]
) -> dict[str, Any]:
    metric = before.scores.main_metric
    dev = {str(sorted(settings.items())): value for settings, value in searching.trials}
    deciding = next(test for test in tests if test.metric == metric)
    return {
        "metric": metric,
        "settings": best,
        "before": _side({}, dev, before),
        "after": _side(best, dev, after),
        "test": deciding.model_dump(mode="json"),
        "trials": [{"settings": settings, "dev": value} for settings, value in searching.trials],
        "dev_rows": len(searching.dev),
        "test_rows": before.scores.num_rows,
    }


def _side(settings: Settings, dev: dict[str, float], one: Evaluated) -> dict[str, Any]:
    metric = next(m for m in one.scores.summary if m.metric == one.scores.main_metric)
    return {
        "settings": settings,
        "dev": dev[str(sorted(settings.items()))],
        "test": metric.value,
        "interval": [metric.low, metric.high],
        "folder": str(one.folder),
    }


def _print(told: dict[str, Any]) -> None:
    sides = [told["before"]] if not told["settings"] else [told["before"], told["after"]]
    lines = [
        [
            ", ".join(f"{key}: {value!r}" for key, value in side["settings"].items()) or "as it is",
            words.significant(side["dev"]),
            words.significant(side["test"]),
            " to ".join(words.significant(end) for end in side["interval"]),
        ]
        for side in sides
    ]
    print_table(HEAD, lines, RIGHT)
    test = told["test"]
    rows = f"{words.plural(told['dev_rows'], 'dev row')}, {words.plural(told['test_rows'], 'test row')}"
    if not told["settings"]:
        print_text(f"{words.metric_label(told['metric'])}, {rows}: nothing beats the settings as they are on dev.")
        return
    difference = f"{test['difference']:+.3g}, 95% interval {test['interval'][0]:.3g} to {test['interval'][1]:.3g}"
    advice = "use them" if test["verdict"] == "better" else "keep the settings as they are"
    print_text(
        f"{words.metric_label(told['metric'])}, {rows}: {difference}, {words.p_value(test['p_value'])}; "
        f"{test['verdict']} on the test rows: {advice}.\n"
        "The dev value is that of the best of many trials and so too good; the test value is not."
    )

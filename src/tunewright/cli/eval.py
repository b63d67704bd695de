"""`tw eval MODEL [MODEL…] SUITE`: score models with a suite, side by side, without a recipe.

reads    models, rows, a suite
writes   a folder of scores for each model, which `tw compare` reads; the same command again takes what is there

The first model is the baseline: every other is tested against it, paired by row. What a recipe's `evaluate` section can
say is set with `--set`, by its names: `--set temperature=0.7`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunewright.cli.evaluating import Evaluated, evaluate_model, section_of
from tunewright.cli.references import MODEL_FORMS, ROWS_FORMS, find_rows
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import GateFailed, UserError, printable
from tunewright.reports import words

if TYPE_CHECKING:
    from tunewright.artifacts.comparison import PairedTest
    from tunewright.artifacts.scores import MetricSummary

SEED = 7  # the default of a recipe
HEAD = ("model", "metric", "value", "95% interval", "against the first", "95% interval", "p", "verdict")
RIGHT = (2, 4, 6)


def eval(
    models_and_suite: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL [MODEL]... SUITE",
            help=f"a model: {MODEL_FORMS}, or an endpoint as https://host/v1#model. Suite: built in, a .yaml file, or "
            "module:name",
        ),
    ],
    rows: Annotated[str | None, typer.Option("--rows", help=f"{ROWS_FORMS}; none for suites with their own")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="only the first so many rows")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="a field of `evaluate`: temperature=0.7")] = None,
    output: Annotated[Path, typer.Option("--output", help="folder that scores are kept in")] = Path("evals"),
    allow: Annotated[list[str] | None, typer.Option("--allow", help="go on though this gate failed")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Score models with a suite, side by side. Ends with exit code 1 if a gate failed."""
    *models, suite = models_and_suite
    if not models:
        raise UserError("no suite was named", where=f"tw eval {suite}", fix=f"tw eval {suite} tool-calls --rows bfcl")
    if len(set(models)) < len(models):
        raise UserError("a model is named twice", where="tw eval", expected="each of them once")
    base = section_of(suite, limit, set_ or ())
    data = list(find_rows(rows)) if rows else None
    found = [evaluate_model(text, base, data, output, allow or ()) for text in models]
    _hold(found, allow or ())
    tests = [against_first(found[0], other) for other in found[1:]]
    if json_output:
        print_json(_as_json(found, tests))
        return
    lines = [line for at, one in enumerate(found) for line in _lines(one, tests[at - 1] if at else [])]
    print_table(HEAD if tests else HEAD[:4], lines, RIGHT)
    print_text("\n".join(_footnotes(found)))


# ── what is told ────────────────────────────────────────────────────────────────────────────────────────────────────


def _hold(found: Sequence[Evaluated], allow: Sequence[str]) -> None:
    """Say what the gates said; stop at FAILED.

    Raises:
        GateFailed: a gate failed and was not allowed.
    """
    for one in found:
        for verdict in one.verdicts:
            if verdict.status != "PASSED":
                told = f"  {verdict.status} {verdict.name} ({one.name}): {verdict.measured}"
                print(printable(told), file=sys.stderr)
            if verdict.status == "FAILED" and verdict.name not in allow:
                raise GateFailed(
                    f"gate {verdict.name} FAILED: {verdict.measured}",
                    where=f"{one.name}: {one.folder / 'scores.jsonl'}",
                    expected=verdict.bound,
                    fix=f"{verdict.remedy}; or go on knowingly with --allow {verdict.name}",
                )


def against_first(first: Evaluated, other: Evaluated) -> list[PairedTest]:
    """Return the paired tests of one model against the first, p-values corrected over their metrics."""
    from tunewright.stages.compare.stage import compare_scores

    lower = first.scores.lower_is_better
    return compare_scores(first.scores.rows(), other.scores.rows(), seed=SEED, lower_is_better=lower)


def _lines(one: Evaluated, tests: Sequence[PairedTest]) -> list[list[str]]:
    of_metric = {test.metric: test for test in tests}
    lines = []
    for at, metric in enumerate([*one.scores.summary, *one.scores.pass_k]):
        line = [one.name if at == 0 else "", words.metric_label(metric.metric), *_value(metric)]
        lines.append([*line, *_difference(of_metric.get(metric.metric))])
    width = len(HEAD) if tests else 4
    return [[*line, *[""] * (len(HEAD) - len(line))][: max(width, 4)] for line in lines]


def _value(metric: MetricSummary) -> list[str]:
    rate = metric.higher_is_better and 0 <= metric.low <= metric.high <= 1
    unit = words.Unit(rate)
    return [unit.value(metric.value), unit.interval(metric.low, metric.high)]


def _difference(test: PairedTest | None) -> list[str]:
    if test is None:
        return []
    p_value = words.p_value(test.p_value).removeprefix("p ").removeprefix("= ")
    unit = words.unit_of(test)
    return [unit.difference(test.difference), unit.interval(*test.interval), p_value, test.verdict]


def _footnotes(found: Sequence[Evaluated]) -> list[str]:
    first = found[0].scores
    unscored = sum(one.scores.unscored for one in found)
    cost = sum(one.scores.cost_usd for one in found)
    told = [f"{words.plural(first.num_rows, 'row')}; intervals: {first.intervals}"]
    told += (
        ["p-values are of tests paired by row, Holm-corrected over the metrics of a model"] if len(found) > 1 else []
    )
    told += [f"{words.plural(unscored, 'answer')} without a score"] if unscored else []
    told += [f"{cost:.4f} USD"] if cost else []
    told += [f"scores: {one.folder}" for one in found]
    if len(found) > 1:
        told.append(f"more: tw compare {' '.join(str(one.folder) for one in found)}")
    return told


def _as_json(found: Sequence[Evaluated], tests: Sequence[Sequence[PairedTest]]) -> dict[str, Any]:
    return {
        "baseline": found[0].name,
        "models": [
            {
                "model": one.name,
                "folder": str(one.folder),
                "scores": one.scores.model_dump(mode="json"),
                "verdicts": [verdict.model_dump(mode="json") for verdict in one.verdicts],
                "against_first": [test.model_dump(mode="json") for test in (tests[at - 1] if at else [])],
            }
            for at, one in enumerate(found)
        ],
    }

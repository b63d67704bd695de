"""`tw compare A B`: is B better than A, paired by row? The tests of the stage `compare`, on any two score files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from tunewright.artifacts.comparison import PairedTest
from tunewright.artifacts.files import read_jsonl
from tunewright.artifacts.rundir import RUNS, find_run
from tunewright.artifacts.scores import ScoreRow, Scores
from tunewright.cli.tables import print_json, print_table
from tunewright.errors import EXIT_GATE, DataError, RunFolderError
from tunewright.reports import words
from tunewright.suites import MAIN_METRIC

CONFIDENCE = 0.95
SEED = 7  # the default of a recipe: the same permutations as its compare stage

FORMS = "recipe/number:stage (tour/3:before), the folder of an evaluate stage, or a scores.jsonl file"
HEAD = ("metric", "A → B", "difference", "95% interval", "p", "gained", "lost", "least shown", "n", "verdict")
RIGHT = (5, 6, 8)
WHOLE = (9,)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"the baseline: {FORMS}")],
    b: Annotated[str, typer.Argument(metavar="B", help="the candidate, in the same forms")],
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Compare two scored models, paired by row. Ends with exit code 1 if B is worse in the main metric."""
    from tunewright.stages.compare.stage import compare_scores  # brings scipy: --help does not pay for it

    tests = compare_scores(read_scores(a), read_scores(b), confidence=CONFIDENCE, seed=SEED)
    main = main_of(tests)
    if json_output:
        listed = [test.model_dump(mode="json") for test in tests]
        found = {"main_metric": main.metric, "verdict": main.verdict, "confidence": CONFIDENCE, "tests": listed}
        print_json({"baseline": a, "candidate": b, **found})
    else:
        print_table(HEAD, [_cells(test) for test in tests], RIGHT, WHOLE)
        print(f"B is {main.verdict}: {words.change(main)} ({words.evidence(main, CONFIDENCE)})."
              if main.verdict != "not shown" else f"Not shown: {words.power_sentence(main)}")  # fmt: skip
    if main.verdict == "worse":
        raise typer.Exit(EXIT_GATE)


def main_of(tests: list[PairedTest]) -> PairedTest:
    """Return the test that decides: of the suite's main metric, or the first where no suite has these metrics."""
    return next((test for test in tests if test.metric in MAIN_METRIC.values()), tests[0])


def read_scores(text: str) -> Iterator[ScoreRow]:
    """Yield the scored rows that `text` names.

    Raises:
        RunFolderError: nothing there; says the forms.
        DataError: a line is not a scored row; names it.
    """
    path = scores_file(text)
    for number, row in read_jsonl(path):
        try:
            yield ScoreRow(**row)
        except (ValidationError, TypeError) as error:
            detail = str(error).splitlines()[:3]
            raise DataError(
                f"not a scored row: {' '.join(detail)}",
                where=f"{path}:{number}",
                expected="a line of an evaluate stage's scores.jsonl",
            ) from None


def scores_file(text: str) -> Path:
    """Return the scores.jsonl that a person means."""
    for path in (Path(text), RUNS / text):
        if path.is_file():
            return path
        if (path / "scores.jsonl").is_file():
            return path / "scores.jsonl"
    run_text, colon, stage = text.rpartition(":")
    if not colon:
        raise RunFolderError(f"no scores in {text!r}", expected=FORMS, fix="`tw show RUN` lists a run's stages")
    run = find_run(run_text)
    if not isinstance(run.artifact(stage), Scores):
        raise RunFolderError(f"stage {stage!r} scored nothing", where=run.name, expected="the id of an evaluate stage")
    return run.stage_folder(stage) / "scores.jsonl"


def _cells(test: PairedTest) -> list[str]:
    return [
        words.metric_label(test.metric),
        f"{words.percent(test.baseline)} → {words.percent(test.candidate)}",
        words.points(test.difference),
        words.interval(*test.interval),
        words.p_value(test.p_value).removeprefix("p ").removeprefix("= "),
        words.count(test.gained),
        words.count(test.lost),
        words.points(test.least_detectable).lstrip("+"),
        words.count(test.num_rows),
        test.verdict,
    ]

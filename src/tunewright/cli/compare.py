"""`tw compare A B [MORE…]`: is B better than A, paired by row? The tests of the stage `compare`, on any score files.

reads    scores of evaluate stages, and the logs of lm-evaluation-harness and Inspect

With MORE, every pair of systems is compared too, corrected for their number.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from tunewright.artifacts.comparison import Change, PairedTest, PairOfSystems
from tunewright.artifacts.files import read_json, read_jsonl
from tunewright.artifacts.record import read_record
from tunewright.artifacts.rundir import RUNS, find_run
from tunewright.artifacts.scores import ScoreRow, Scores, read_score_row
from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import EXIT_GATE, DataError, RunFolderError, UserError
from tunewright.reports import words
from tunewright.suites import MAIN_METRIC, METRICS

CONFIDENCE = 0.95
SEED = 7  # the default of a recipe: the same permutations as its compare stage

FORMS = (
    "recipe/number:stage (tour/3:before), the folder of an evaluate stage, a scores.jsonl file, a samples_*.jsonl of "
    "lm-evaluation-harness, or an .eval log of Inspect"
)
HEAD = ("metric", "A → B", "difference", "95% interval", "p", "gained", "lost", "least shown", "n", "verdict")
RIGHT = (5, 6, 8)
WHOLE = (9,)
MATRIX_HEAD = ("systems", "difference", "95% interval", "p", "n", "verdict")
MOST_CHANGES = 6  # printed; --json has all
LOWER_IS_BETTER = METRICS["perplexity"]  # of rows by themselves; an evaluation says it of its own metrics


@dataclass(frozen=True)
class Side:
    """What one argument names: its rows, for a log of another tool a hash of each row's prompt, and for an evaluation
    of ours its result, which knows what the metrics mean.
    """

    name: str
    rows: list[ScoreRow]
    prompts: dict[str, str] = field(default_factory=dict)
    scores: Scores | None = None


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"the baseline: {FORMS}")],
    b: Annotated[str, typer.Argument(metavar="B", help="the candidate, in the same forms")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[MORE]...", help="further systems")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="for logs of other tools: the field of a question whose value is its group")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Compare scored models, paired by row. Ends with exit code 1 if B is worse than A in the main metric."""
    # Bring scipy: --help does not pay for it.
    from tunewright.stages.compare.changes import changes
    from tunewright.stages.compare.matrix import matrix_of
    from tunewright.stages.compare.pairs import pair_by_row, paired
    from tunewright.stages.compare.stage import compare_scores

    sides = [read_side(text, cluster) for text in (a, b, *(more or ()))]
    _refuse_same_names(sides)
    _note_other_prompts(sides)
    told = _result_of(sides)
    lower = told.lower_is_better if told else LOWER_IS_BETTER
    tests = compare_scores(sides[0].rows, sides[1].rows, confidence=CONFIDENCE, seed=SEED, lower_is_better=lower)
    main = main_of(tests, told)
    matrix = matrix_of({side.name: side.rows for side in sides}, main.metric, CONFIDENCE, SEED, lower)
    changed = changes(paired(main.metric, pair_by_row(sides[0].rows, sides[1].rows), lower))
    if json_output:
        found = {"main_metric": main.metric, "verdict": main.verdict, "confidence": CONFIDENCE}
        listed = {"tests": tests, "matrix": matrix, "changes": changed}
        dumped = {name: [item.model_dump(mode="json") for item in items] for name, items in listed.items()}
        print_json({"baseline": a, "candidate": b, **found, **dumped})
    else:
        _print(tests, main, matrix, changed)
    if main.verdict == "worse":
        raise typer.Exit(EXIT_GATE)


def _refuse_same_names(sides: Sequence[Side]) -> None:
    if len(sides) > 2 and len({side.name for side in sides}) < len(sides):
        raise UserError("a system is named twice", where="tw compare", expected="each of them once")


def _note_other_prompts(sides: Sequence[Side]) -> None:
    """Say on stderr where logs of other tools asked the same questions with other prompts: a template, shots."""
    for other in sides[1:]:
        first: Mapping[str, str] = sides[0].prompts
        differ = sum(prompt != first.get(key, prompt) for key, prompt in other.prompts.items())
        if differ:
            count = words.plural(differ, "question")
            told = f"note: {count} asked with another prompt in {other.name} than in {sides[0].name}"
            print(f"{told}: the difference may be of the prompt", file=sys.stderr)


def _result_of(sides: Sequence[Side]) -> Scores | None:
    """Return the result that says what the metrics mean: the candidate's, as in a recipe, else that of any side."""
    return next((side.scores for side in (sides[1], sides[0], *sides[2:]) if side.scores is not None), None)


def main_of(tests: list[PairedTest], told: Scores | None = None) -> PairedTest:
    """Return the test that decides: of the main metric that `told` says, else of a built-in suite's, else the first."""
    own = [told.main_metric or MAIN_METRIC.get(told.suite)] if told else []
    return next((test for test in tests if test.metric in (own or MAIN_METRIC.values())), tests[0])


def read_side(text: str, cluster: str | None = None) -> Side:
    """Return the scored rows that `text` names; `cluster` is a field of the questions of another tool's log.

    Raises:
        RunFolderError: nothing there; says the forms. Or what the evaluation said of its metrics cannot be read.
        DataError: a line is not a scored row; names it.
        MissingExtra: see `read_score_log`.
    """
    from tunewright.sources.score_logs import is_score_log, read_score_log

    path = scores_file(text)
    if is_score_log(path):
        log = read_score_log(path, cluster)
        return Side(text, log.rows, log.prompts)
    if cluster is not None:
        raise UserError(
            f"{text} has its groups already", where="--cluster", expected="only for logs of other tools",
            fix="leave it out: rows are grouped by their `group`",
        )  # fmt: skip
    rows = [read_score_row(row, f"{path}:{number}") for number, row in read_jsonl(path)]
    return Side(text, rows, scores=_result_at(path))


def _result_at(path: Path) -> Scores | None:
    """Return the result of the evaluation that wrote the file; None of a file that lies by itself.

    Raises:
        RunFolderError, DataError: it is there and cannot be read.
    """
    from tunewright.cli.evaluating import DONE

    folder = path.parent
    if path.name != "scores.jsonl":
        return None
    record = read_record(folder)
    if record is not None and record.kind == Scores.kind:
        return Scores.load(folder, record.result)
    if not (folder / DONE).is_file():
        return None
    told = read_json(folder / DONE)
    if not isinstance(told, dict) or not isinstance(told.get("scores"), dict):
        raise DataError("no result of an evaluation", where=str(folder / DONE), fix="give the `tw eval` command again")
    return Scores.load(folder, told["scores"])


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


def _print(
    tests: Sequence[PairedTest], main: PairedTest, matrix: Sequence[PairOfSystems], changed: Sequence[Change]
) -> None:
    unit = words.unit_of(main)
    print_table(HEAD, [_cells(test) for test in tests], RIGHT, WHOLE)
    print(f"B is {main.verdict}: {words.change(main)} ({words.evidence(main, CONFIDENCE)})."
          if main.verdict != "not shown" else f"Not shown: {words.power_sentence(main)}")  # fmt: skip
    print(f"{main.test}, {words.plural(main.num_rows, 'row')} in {words.plural(main.num_groups, 'group')}"
          f"{_unscored(main)}; p-values are Holm-corrected over the metrics.")  # fmt: skip
    if matrix:
        print(f"\nevery pair in {words.metric_label(main.metric)}, p-values Holm-corrected over the pairs:")
        print_table(MATRIX_HEAD, [_matrix_cells(pair, unit) for pair in matrix], (4,), (5,))
    if changed:
        lines = [_change_line(change, unit) for change in changed[:MOST_CHANGES]]
        print_text("\n".join(["", "most changed rows:", *lines]))


def _unscored(test: PairedTest) -> str:
    return f", {words.count(test.unscored)} more unscored on a side" if test.unscored else ""


def _change_line(change: Change, unit: words.Unit) -> str:
    unit = words.Unit(True) if change.by == "failure" else unit  # of a failure class they are shares of the rows
    moved = f"{unit.value(change.baseline)} → {unit.value(change.candidate)}"
    ids = ", ".join((change.better if change.gained >= change.lost else change.worse)[:3])
    return f"  {change.by} {change.value}: {moved}, {change.gained} better, {change.lost} worse ({ids})"


def _matrix_cells(pair: PairOfSystems, unit: words.Unit) -> list[str]:
    return [
        f"{pair.first} → {pair.second}",
        unit.difference(pair.difference),
        unit.interval(*pair.interval),
        words.p_value(pair.p_value).removeprefix("p ").removeprefix("= "),
        words.count(pair.num_rows),
        pair.verdict,
    ]


def _cells(test: PairedTest) -> list[str]:
    unit = words.unit_of(test)
    return [
        words.metric_label(test.metric),
        f"{unit.value(test.baseline)} → {unit.value(test.candidate)}",
        unit.difference(test.difference),
        unit.interval(*test.interval),
        words.p_value(test.p_value).removeprefix("p ").removeprefix("= "),
        words.count(test.gained),
        words.count(test.lost),
        unit.difference(test.least_detectable).lstrip("+"),
        words.count(test.num_rows),
        test.verdict,
    ]

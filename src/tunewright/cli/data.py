"""`tw data`: look at files of rows, and make better ones of them. Any of JSON lines, Parquet and CSV, in any format.

tw data stats FILES                                   what they are: format, groups, turns, lengths, duplicates
tw data prune FILES --filter F … --output OUT.jsonl    filters one by one; what each took, why, and examples
tw data merge FILES --output OUT.jsonl                one file of several
tw data split FILES --test 0.2 --output FOLDER         train.jsonl and test.jsonl, whole groups each, and if one leaks
tw data sample FILES --limit 100 --output OUT.jsonl    an even draw
tw data diff BEFORE AFTER                             which rows came, went and changed: by id, else by content
tw data overlap TRAIN TESTS                           training rows that give evaluation rows away
tw data rank FILES --test 0.2 --output FOLDER          ranking rows, of BEIR's, TREC's or MS MARCO's files
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunewright.artifacts.files import write_jsonl
from tunewright.cli.check import verdict_lines
from tunewright.cli.data_filter import FILTER_FORMS, filter_of
from tunewright.cli.data_tables import print_diff, print_overlaps, print_pruned, print_stats
from tunewright.cli.tables import print_json, print_text
from tunewright.errors import EXIT_GATE, UserError
from tunewright.recipe.scaffold import shell_word
from tunewright.reports import words

if TYPE_CHECKING:
    from tunewright.artifacts.verdict import Verdict
    from tunewright.stages.data.shape import Reading

DEFAULT_FILTERS = ("quality", "duplicates", "near_duplicates")


class Action(StrEnum):
    """What to do with rows."""

    STATS = "stats"
    PRUNE = "prune"
    MERGE = "merge"
    SPLIT = "split"
    SAMPLE = "sample"
    DIFF = "diff"
    OVERLAP = "overlap"
    RANK = "rank"


PRINTING = (Action.STATS, Action.DIFF, Action.OVERLAP)


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    paths: list[Path]
    reading: Reading
    filters: list[str]
    output: Path | None
    test: float
    limit: int
    seed: int
    processes: int | None
    by_position: bool
    as_json: bool

    def place(self, *, folder: bool = False) -> Path:
        """Return where to write: a file, or a folder.

        Raises:
            UserError: nobody said, or there is something else.
        """
        if self.output is None:
            kind = "FOLDER" if folder else "FILE"
            raise UserError("no place to write to", where="tw data", fix=f"add --output {kind}")
        if self.output.is_dir() and not folder:
            fix = f"--output {shell_word(str(self.output / 'rows.jsonl'))}"
            raise UserError("this is a folder", where=str(self.output), expected="the file to write", fix=fix)
        written = [self.output / f"{side}.jsonl" for side in ("train", "test")] if folder else [self.output]
        inputs = {path.resolve() for path in self.paths}
        if both := next((path for path in written if path.resolve() in inputs), None):
            raise UserError("the output is one of the inputs", where=str(both), fix="choose another --output")
        return self.output

    def no_place(self, action: Action) -> None:
        """Raise UserError if a place to write to is named for what only prints."""
        if self.output is not None:
            raise UserError(
                f"`{action}` writes no file, it prints", where="--output", expected="no --output",
                fix="send what it prints to a file: … > FILE; with --json as one JSON object",
            )  # fmt: skip

    def held_out(self) -> float:
        """Return what to hold out.

        Raises:
            UserError: neither a share below 1 nor a number of rows.
        """
        if not 0 < self.test < 1 and not (self.test >= 1 and self.test.is_integer()):
            raise UserError(
                f"{self.test:g}", where="--test", expected="a share above 0 and below 1, or a whole number, at least 1"
            )
        return self.test


def data(
    action: Annotated[Action, typer.Argument(metavar="|".join(Action), help="what to do", show_default=False)],
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="files of rows: .jsonl, .parquet, .csv, .tsv")],
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help=f"prune: {FILTER_FORMS}; default: {', '.join(DEFAULT_FILTERS)}")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="the file to write; for split and rank the folder")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="the format of the records; auto finds it")] = "auto",
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", help="where a field stands when it has another name: prompt=question"),
    ] = None,
    test: Annotated[float, typer.Option("--test", help="split, rank: a share below 1, or a number of rows")] = 0.2,
    limit: Annotated[int, typer.Option("--limit", min=1, help="sample: how many rows")] = 100,
    seed: Annotated[int, typer.Option("--seed", help="split, sample, rank: which rows")] = 7,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="prune: how many; default: one a core")
    ] = None,
    by_position: Annotated[
        bool, typer.Option("--by-position", help="rank: judgements number the queries by position, as Cranfield's")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Look at files of rows, filter, split and compare them. Ends with exit code 1 if test rows stand in train."""
    from tunewright.stages.data.shape import Reading

    reading = Reading(_columns(columns or []), format)
    asked = Asked(
        files,
        reading,
        list(filters or DEFAULT_FILTERS),
        output,
        test,
        limit,
        seed,
        processes,
        by_position,
        json_output,
    )
    if action in PRINTING:
        asked.no_place(action)
    _ACTIONS[action](asked)


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    split = [pair.partition("=") for pair in pairs]
    wrong = next((pair for pair, (field, _, column) in zip(pairs, split, strict=True) if not (field and column)), None)
    if wrong is not None:
        raise UserError(f"{wrong!r}", where="--column", expected="FIELD=COLUMN, as in prompt=question")
    return {field: column for field, _, column in split}


# ── what there is to do ─────────────────────────────────────────────────────────────────────────────────────────────


def _stats(asked: Asked) -> None:
    from tunewright.sources.files import look
    from tunewright.stages.data.shape import stats

    found = {str(path): look(path, asked.reading.columns) for path in asked.paths}
    told = {"formats": found, **stats(asked.reading.rows(asked.paths))}
    print_json(told) if asked.as_json else print_stats(told)


def _prune(asked: Asked) -> None:
    from tunewright.stages.data.prune import prune

    done = prune(
        asked.paths, [filter_of(text) for text in asked.filters], asked.place(),
        columns=asked.reading.columns, format=asked.reading.format, processes=asked.processes,
    )  # fmt: skip
    print_json(done.model_dump(mode="json")) if asked.as_json else print_pruned(done)


def _merge(asked: Asked) -> None:
    from tunewright.stages.data.shape import merge

    twice, times = Counter(path.resolve() for path in asked.paths).most_common(1)[0]
    if times > 1:
        raise UserError(f"{twice.name} is named {times} times", where="tw data merge", fix="name each file once")
    counts, duplicates = merge(asked.paths, asked.place(), asked.reading)
    rows = sum(counts.values())
    _told({"output": str(asked.output), "rows": rows, "duplicates": duplicates, "files": counts}, asked)


def _split(asked: Asked) -> None:
    from tunewright.stages.data.shape import split

    counts, verdicts = split(asked.paths, asked.held_out(), asked.seed, asked.place(folder=True), asked.reading)
    _judged(counts, verdicts, asked)


def _sample(asked: Asked) -> None:
    from tunewright.stages.data.shape import as_json, sample

    drawn = sample((row for _, row in asked.reading.distinct(asked.paths)), asked.limit, asked.seed)
    rows = [as_json(row) for row in drawn]
    if asked.output is not None:
        write_jsonl(asked.place(), rows)
        _told({"output": str(asked.output), "rows": len(rows)}, asked)
    elif asked.as_json:
        print_json({"rows": rows})
    else:
        print("\n".join(map(json.dumps, rows)))  # ASCII: every character is kept, and none is obeyed by a terminal


def _diff(asked: Asked) -> None:
    from tunewright.stages.data.shape import diff

    if len(asked.paths) != 2:
        raise UserError(words.plural(len(asked.paths), "file"), where="tw data diff", expected="two: BEFORE AFTER")
    before, after = asked.paths
    found = diff(before, after, asked.reading)
    print_json(asdict(found)) if asked.as_json else print_diff(found)


def _overlap(asked: Asked) -> None:
    from tunewright.gates.data import decontaminated
    from tunewright.sources.overlap import EvaluationIndex, Overlap

    train, *tests = asked.paths
    if not tests:
        raise UserError("no evaluation rows were named", where="tw data overlap", expected="TRAIN TESTS")
    index = EvaluationIndex({str(path): asked.reading.rows([path]) for path in tests})
    index.leave_out_templates_of(asked.reading.rows([train]))
    found: list[Overlap] = []
    other_tasks = 0
    for row in asked.reading.rows([train]):
        found.extend(index.overlaps(row))
        other_tasks += index.same_words_other_task(row)
    verdict = decontaminated(found, len(index), other_tasks=other_tasks)
    if asked.as_json:
        print_json({"verdict": verdict.model_dump(mode="json"), "pairs": [asdict(pair) for pair in found]})
    else:
        print_overlaps(verdict, found)
    if found:
        raise typer.Exit(EXIT_GATE)


def _rank(asked: Asked) -> None:
    from tunewright.sources.ranking.build import RankingOptions
    from tunewright.stages.data.rank import rank

    options = RankingOptions(seed=asked.seed, by_position=asked.by_position)
    _judged(*rank(asked.paths, asked.place(folder=True), options, asked.held_out()), asked)


def _judged(counts: dict[str, int], verdicts: list[Verdict], asked: Asked) -> None:
    """Say what was written, and what the gates find in it; what they stop at ends with exit code 1."""
    if asked.as_json:
        print_json(
            {"output": str(asked.output), **counts, "verdicts": [one.model_dump(mode="json") for one in verdicts]}
        )
    else:
        _told({"output": str(asked.output), **counts}, asked)
        print_text("\n".join(verdict_lines(verdicts)))
    if any(verdict.stops for verdict in verdicts):
        raise typer.Exit(EXIT_GATE)


def _told(value: dict[str, Any], asked: Asked) -> None:
    if asked.as_json:
        print_json(value)
        return
    print_text("  ".join(f"{name} {item}" for name, item in value.items() if not isinstance(item, dict)))
    for name, count in value.get("files", {}).items():
        print_text(f"  {name}: {words.count(count)}")
    sys.stdout.flush()


_ACTIONS: dict[Action, Callable[[Asked], None]] = {
    Action.STATS: _stats,
    Action.PRUNE: _prune,
    Action.MERGE: _merge,
    Action.SPLIT: _split,
    Action.SAMPLE: _sample,
    Action.DIFF: _diff,
    Action.OVERLAP: _overlap,
    Action.RANK: _rank,
}

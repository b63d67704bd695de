"""Stage `data`: read rows, filter, render and measure them, refuse or drop what does not fit, split by group.

reads    the sources of the section; the tokenizer of its model; the evaluation rows that train is compared with
writes   train.jsonl, test.jsonl, samples.json (three train rows as pieces with their mask, for reports), and the
         verdicts rows_left, groups_disjoint, answers_end_with_end_of_turn, every_row_trains, decontaminated; where the
         last is not PASSED, overlaps.json with the pairs; where there are filters, filters.json and the verdict
         filters_kept_most
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunewright.artifacts.context import RunContext
from tunewright.artifacts.dataset import ChatRow, Dataset, Rows, SourceCount
from tunewright.artifacts.files import make_folder, write_json, write_jsonl
from tunewright.chat.fewer_tools import with_fewer_tools
from tunewright.chat.render import Renderer
from tunewright.chat.show import marked_rows
from tunewright.errors import DataError, ModelError
from tunewright.gates.rows import answers_end_with_end_of_turn, every_row_trains, groups_disjoint, rows_left
from tunewright.models.find import tokenizer_folder
from tunewright.progress import task
from tunewright.recipe.sections import DataSection
from tunewright.stages.data.decontamination import GIVEN_AWAY, EvaluationSets, compare_with_evaluation
from tunewright.stages.data.filtering import as_json, read_filtered
from tunewright.stages.data.measure import MeasuredRow, measure, token_stats
from tunewright.stages.data.split import held_out_groups

CODE_VERSION = 7
FILTERS = "filters.json"
OVERLONG = "longer than max_tokens"
NUM_SAMPLES = 3


def data(
    section: DataSection,
    out: Path,
    run: RunContext,
    held_out: Mapping[str, Rows] | None = None,
    trained_on: Mapping[str, Rows] | None = None,
) -> Dataset:
    """Make train and test rows from the sources of `section`.

    Rows keep the order of their sources. A row is never cut: it fits, or it is dropped and counted, or loses tools that
    it does not call and is only trained on, or the stage stops.

    Args:
        section: the recipe's `data:` block.
        out: folder of this stage.
        run: takes the verdicts.
        held_out: name -> rows that are evaluated, and that train must not give away.
        trained_on: name -> rows that are trained on beside these, and must not give the test rows away.

    Raises:
        DataError: a row is wrong or too long, two rows have one id, the test split is larger than the data, or nothing
            is left to split.
        ModelError: no model named, its template refuses a row or gives no exact mask.
        UserError, MissingExtra: a filter, a function or a suite is not there, or lacks its library.
    """
    renderer = Renderer.from_folder(tokenizer_folder(_model(section)))
    sets = EvaluationSets(section, held_out or {}, trained_on or {})
    read = read_filtered(section, make_folder(out))
    measured, limit = _measured(read.rows, renderer), _limit(section, renderer)
    fitting, long = _fit(measured, limit, section.overlong)
    test_groups = _held_out(fitting, section, len(long))
    shortened = list[MeasuredRow]()
    if section.overlong == "drop_tools" and limit is not None:
        shortened, long = _shortened(long, limit, renderer, test_groups)
    place = {item.row.id: at for at, item in enumerate(measured)}
    rows = sorted([*fitting, *shortened], key=lambda item: place[item.row.id])
    train = [item for item in rows if item.row.group not in test_groups]
    test = [item for item in rows if item.row.group in test_groups]
    overlong = [(item.row.source, OVERLONG) for item in long]
    found = compare_with_evaluation([item.row for item in train], [item.row for item in test], sets)
    train, given_away = _without(train, found.removed)
    kept = [item for item in rows if item.row.id not in found.removed]
    counts = _counts(kept, [*read.dropped, *overlong, *given_away], {item.row.id for item in shortened})
    _write(out, train, test, renderer)
    _judge(run, train, test, counts, renderer)
    run.judge(found.verdict(out))
    if read.steps:
        write_json(out / FILTERS, as_json(read.steps))
        run.judge(read.verdict())
    return Dataset(
        folder=out,
        train_rows=len(train),
        test_rows=len(test),
        train_groups=len(_groups(train)),
        test_groups=len(_groups(test)),
        sources=counts,
        train_tokens=token_stats(train),
        test_tokens=token_stats(test),
    )


def _model(section: DataSection) -> str:
    if section.model is None:
        raise ModelError("no model is named, so rows cannot be measured", where="data.model", fix="give `model:`")
    return section.model


def _measured(rows: Sequence[ChatRow], renderer: Renderer) -> list[MeasuredRow]:
    measured = []
    with task("rendering rows", total=len(rows)) as progress:
        for row in rows:
            measured.append(measure(row, renderer))
            progress.advance()
    return measured


def _limit(section: DataSection, renderer: Renderer) -> int | None:
    """Return the longest row allowed, in tokens; None where neither recipe nor model sets a limit."""
    limits = [limit for limit in (section.max_tokens, renderer.context_length) if limit is not None]
    return min(limits, default=None)


def _fit(rows: Sequence[MeasuredRow], limit: int | None, overlong: str) -> tuple[list[MeasuredRow], list[MeasuredRow]]:
    """Return the rows that fit, and those that do not."""
    if limit is None:
        return list(rows), []
    long = [item for item in rows if item.num_tokens > limit]
    if long and overlong == "error":
        raise _overlong_error(long, limit)
    return [item for item in rows if item.num_tokens <= limit], long


def _held_out(fitting: Sequence[MeasuredRow], section: DataSection, num_long: int) -> set[str]:
    """Return the groups to hold out, of rows that fit as they are."""
    try:
        return held_out_groups([item.row.group for item in fitting], section.split.test, section.seed or 0)
    except DataError as error:
        if not num_long:
            raise
        longer = f"{error.seen}; {num_long} more are longer than `max_tokens`, or the context, and are not held out"
        raise DataError(longer, where=error.where, expected=error.expected, fix=error.fix) from None


def _shortened(
    long: Sequence[MeasuredRow], limit: int, renderer: Renderer, held_out: Collection[str]
) -> tuple[list[MeasuredRow], list[MeasuredRow]]:
    """Return the rows that fit with fewer tools, to train on, and those that are too long even so.

    Nothing is held out with fewer tools than it had: rows of a group that is held out stay too long.
    """
    shortened, left = list[MeasuredRow](), list[MeasuredRow]()
    for item in long:
        shorter = None if item.row.group in held_out else with_fewer_tools(item.row, limit, renderer)
        if shorter is None:
            left.append(item)
        else:
            shortened.append(measure(shorter, renderer))
    return shortened, left


def _overlong_error(long: Sequence[MeasuredRow], limit: int) -> DataError:
    longest = max(long, key=lambda item: item.num_tokens)
    others = f"; {len(long)} rows are too long, this is the longest" if len(long) > 1 else ""
    return DataError(
        f"{longest.num_tokens:,} tokens{others}",
        where=f"{longest.row.source} row {longest.row.id}",
        expected=f"at most {limit:,} tokens (`max_tokens`, or the model's context)",
        fix="`overlong: drop` leaves such rows out and counts them; they are never cut"
        + ("; `drop_tools` takes tools that they do not call" if longest.row.tools else ""),
    )


def _without(rows: Sequence[MeasuredRow], ids: Collection[str]) -> tuple[list[MeasuredRow], list[tuple[str, str]]]:
    """Return the rows but for those of `ids`, and (source, reason) of these."""
    left = [item for item in rows if item.row.id not in ids]
    return left, [(item.row.source, GIVEN_AWAY) for item in rows if item.row.id in ids]


def _counts(
    rows: Sequence[MeasuredRow], dropped: Sequence[tuple[str, str]], shortened: Collection[str]
) -> list[SourceCount]:
    kept = Counter(item.row.source for item in rows)
    fewer = Counter(item.row.source for item in rows if item.row.id in shortened)
    names = dict.fromkeys([*kept, *(name for name, _ in dropped)])
    reasons = {name: Counter(reason for other, reason in dropped if other == name) for name in names}
    return [
        SourceCount(
            source=name,
            read=kept[name] + why.total(),
            kept=kept[name],
            dropped=dict(why),
            shortened=fewer[name],
        )
        for name, why in reasons.items()
    ]


def _write(out: Path, train: Sequence[MeasuredRow], test: Sequence[MeasuredRow], renderer: Renderer) -> None:
    write_jsonl(out / "train.jsonl", (_as_json(item.row) for item in train))
    write_jsonl(out / "test.jsonl", (_as_json(item.row) for item in test))
    samples = marked_rows([item.row for item in train[:NUM_SAMPLES]], renderer)
    shown = {
        "template_sha256": renderer.template_sha256,
        "tools_in_template": renderer.tools_in_template,
        "rows": [{"id": row_id, "pieces": pieces} for row_id, pieces in samples],
    }
    write_json(out / "samples.json", shown)


def _as_json(row: ChatRow) -> dict[str, Any]:
    value = row.model_dump(mode="json")
    return value if row.tools is not None else {key: item for key, item in value.items() if key != "tools"}


def _judge(
    run: RunContext,
    train: Sequence[MeasuredRow],
    test: Sequence[MeasuredRow],
    counts: Sequence[SourceCount],
    renderer: Renderer,
) -> None:
    num_read = sum(count.read for count in counts)
    dropped = sum(sum(count.dropped.values()) for count in counts)
    run.judge(
        rows_left(len(train), len(test), num_read, dropped),
        groups_disjoint(_groups(train), _groups(test)),
        answers_end_with_end_of_turn({item.row.id: item.last_trained for item in train}, renderer.stop_token_ids),
        every_row_trains({item.row.id: item.num_trained for item in train}),
    )


def _groups(rows: Iterable[MeasuredRow]) -> set[str]:
    return {item.row.group for item in rows}

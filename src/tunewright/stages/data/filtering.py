"""Sources through the filters of a recipe: what stays, what each filter took, and what was read of each source.

Files go in pieces to the processes, or to Ray, which parse them; of other sources the rows are made here. What is done
lies in a folder beside the result, so a run that was killed goes on.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.processes import num_cores
from tunewright.artifacts.verdict import Verdict
from tunewright.errors import DataError
from tunewright.gates.data import filters_kept_most
from tunewright.recipe.sections import DataSection
from tunewright.sources.dropped import TOO_LARGE, Dropped
from tunewright.sources.filters.duplicates import EXACT, NEAR
from tunewright.sources.read import AnySource, FileSource, data_identities, read_source, source_name
from tunewright.stages.data.chunks import Chunk, Origin, Piece, numbered, pieces_of, pieces_of_rows
from tunewright.stages.data.passes import Pass
from tunewright.stages.data.prune import Step, keep_or_empty, segments_of, sift_all, steps_of

WORK: Final = ".filtering"
ALONE_BYTES: Final = 16 << 20
"""Less than this one process reads and filters by itself, before others would have started."""


@dataclass(frozen=True)
class Filtered:
    """What came of the sources."""

    rows: list[ChatRow]
    dropped: list[tuple[str, str]]
    """(source, reason) of each row that was left out"""
    steps: list[Step]

    def verdict(self) -> Verdict:
        """Judge what the filters took."""
        removed: Counter[str] = Counter()
        for step in self.steps:
            removed[step.filter] += step.rows_in - step.rows_kept
        return filters_kept_most(removed, self.steps[0].rows_in if self.steps else 0)


def read_filtered(section: DataSection, out: Path) -> Filtered:
    """Return the rows of all sources, in their order, that every filter lets through.

    Args:
        section: its sources, filters, engine, and what to do with rows that are too large.
        out: the folder of the stage; what is done lies under it until all is.

    Raises:
        DataError: a row is wrong or too large, two rows have one id, a source is empty, or nothing is left.
        MissingExtra: a filter lacks its library, or Ray is not installed. UserError: a function is not there.
    """
    work = out / WORK
    settings = section.model_dump(mode="json", include={"sources", "filters", "overlong"})
    keep_or_empty(work, {**settings, "identities": data_identities(section)})
    left_out: list[tuple[str, str]] = []
    total = sum(Path(source.path).stat().st_size for source in section.sources if isinstance(source, FileSource))
    workers = num_cores() if total > ALONE_BYTES or section.engine == "ray" else 1
    segments = segments_of(section.filters, "error" if section.overlong == "error" else "drop")
    passes, _ = sift_all(_chunks(section, left_out), segments, work, total, workers, section.engine)
    _refuse_empty(section, passes[0], left_out)
    steps = steps_of(passes)
    rows = list(_rows(passes[-1]))
    if not rows:
        raise _nothing_left(steps, left_out)
    found = Filtered(rows, [*left_out, *_removed(passes)], steps)
    shutil.rmtree(work)
    return found


def _chunks(section: DataSection, left_out: list[tuple[str, str]]) -> Iterator[Chunk]:
    """Yield all sources in pieces; what a source itself leaves out goes to `left_out`."""
    return numbered(_pieces(source, section.overlong, left_out) for source in section.sources)


def _pieces(source: AnySource, overlong: str, left_out: list[tuple[str, str]]) -> tuple[Origin, Iterator[Piece]]:
    name = source_name(source)
    if isinstance(source, FileSource):
        origin = Origin(str(Path(source.path)), source=name, columns=source.columns, format=source.format)
        return origin, pieces_of(Path(source.path), source.type)
    return Origin(name, source=name, ours=True), pieces_of_rows(_kept(source, overlong, left_out))


def _kept(source: AnySource, overlong: str, left_out: list[tuple[str, str]]) -> Iterator[ChatRow]:
    for item in read_source(source):
        if not isinstance(item, Dropped):
            yield item
        elif item.error is not None and overlong == "error":
            raise item.error
        else:
            left_out.append((source_name(source), item.reason))


def _rows(last: Pass) -> Iterator[ChatRow]:
    for chunk in last.chunks():
        for line in (chunk.lines or b"").split(b"\n"):
            if line:
                yield ChatRow.model_construct(**json.loads(line))


# ── what was left out ───────────────────────────────────────────────────────────────────────────────────────────────


def _refuse_empty(section: DataSection, first: Pass, left_out: Sequence[tuple[str, str]]) -> None:
    read = {str(counts["source"]) for counts in first.counts() if counts["read"]} | {name for name, _ in left_out}
    empty = next((source_name(source) for source in section.sources if source_name(source) not in read), None)
    if empty is not None:
        raise DataError("no row in it", where=empty, expected="one JSON object a line, or one record a row")


def _nothing_left(steps: Sequence[Step], left_out: Sequence[tuple[str, str]]) -> DataError:
    taken = ", ".join(f"{step.filter} took {step.rows_in - step.rows_kept}" for step in steps)
    return DataError(
        f"no row is left: {taken or f'{len(left_out)} were left out as they were read'}", where="data.filters",
        expected="rows to split", fix="`tw data prune` shows what each filter takes, with examples",
    )  # fmt: skip


def _removed(passes: Sequence[Pass]) -> Iterator[tuple[str, str]]:
    """Yield (source, reason) of every row that a filter took, or that was too large."""
    for done in passes:
        for counts in done.counts():
            yield from [(str(counts["source"]), TOO_LARGE)] * int(counts["dropped"])
            for tally in counts["steps"]:
                for reason, count in tally["removed"].items():
                    yield from [(str(counts["source"]), reason)] * count
        yield from _alike(done)


def _alike(done: Pass) -> Iterator[tuple[str, str]]:
    sources = done.sources()
    reasons = [
        reason for section, reason in ((done.segment.exact, EXACT), (done.segment.near, NEAR)) if section is not None
    ]
    for reason, removals in zip(reasons, done.removals, strict=True):
        places = np.searchsorted(done.offsets, removals.rows, side="right") - 1
        yield from ((sources[int(place)], reason) for place in places)


def as_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return the steps as filters.json holds them."""
    return [step.model_dump(mode="json") for step in steps]

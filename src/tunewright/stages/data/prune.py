"""Rows through filters, one after the other, in several processes and in flat memory; and what each filter did.

reads    files of rows
writes   one file of chat rows; while it works, a folder `.NAME.work` beside it

Filters that look at rows one by one run on chunks, in processes; those that compare rows end a segment, and look at
the keys that the processes left on disk (`alike.py`). A killed run goes on with the same command: a chunk that is
done is not done again. Rows keep their order, and the result is the same with any number of processes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.files import is_special, make_folder, read_json, replacing, require_file, write_json
from tunewright.artifacts.processes import num_cores
from tunewright.errors import DataError, UserError
from tunewright.progress import Task, task
from tunewright.recipe.data_sections import DuplicatesFilter, Filter, NearDuplicatesFilter
from tunewright.sources.dropped import TOO_LARGE
from tunewright.sources.filters.build import compares_rows, filter_identities
from tunewright.sources.filters.duplicates import EXACT, NEAR
from tunewright.stages.data.chunks import Chunk, read_chunks
from tunewright.stages.data.engines import LOCAL, taken
from tunewright.stages.data.passes import Pass, Removals, check_ids, find_exact, find_near
from tunewright.stages.data.sieve import EXAMPLES, Segment, Sieve, place_of

CODE_VERSION: Final = 3


class Example(BaseModel):
    """A row that a filter took."""

    model_config = ConfigDict(frozen=True)

    id: str
    reason: str
    detail: str
    text: str


class Step(BaseModel):
    """What one filter did."""

    model_config = ConfigDict(frozen=True)

    filter: str
    rows_in: int
    rows_kept: int
    changed: int = 0
    removed: dict[str, int] = {}
    examples: list[Example] = []


class Pruned(BaseModel):
    """What became of the rows of some files."""

    model_config = ConfigDict(frozen=True)

    inputs: list[str]
    output: str
    rows_read: int
    rows_dropped: dict[str, int]
    rows_kept: int
    steps: list[Step]
    seconds: float
    reused_chunks: int


def prune(
    paths: Sequence[Path],
    filters: Sequence[Filter],
    output: Path,
    *,
    columns: Mapping[str, str] | None = None,
    format: str = "auto",
    processes: int | None = None,
    engine: str = LOCAL,
) -> Pruned:
    """Apply filters to the rows of some files, in order, and write what stays.

    Args:
        paths: JSON lines, Parquet or CSV.
        filters: sections, applied in this order.
        output: the file to write, JSON lines of chat rows.
        columns: as for a source.
        format: as for a source.
        processes: how many; default: one a core that this process may use.
        engine: local, or ray: the workers of a Ray cluster.

    Raises:
        DataError: a record is no row, or two rows have one id; names both. MissingExtra: a filter lacks its library.
        UserError: a custom function is not there, or the output is a device or a pipe.
    """
    started = time.perf_counter()
    _check_places(paths, output)
    segments = segments_of(filters)
    work = output.with_name(f".{output.name}.work")
    settings = {"columns": dict(columns or {}), "format": format}
    inputs = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    sections = [item.model_dump(mode="json") for item in filters]
    plan = {"inputs": inputs, "filters": sections, "identities": filter_identities(filters), **settings}
    keep_or_empty(work, plan)
    total = sum(path.stat().st_size for path in paths)
    workers = processes or num_cores()
    passes, reused = sift_all(read_chunks(paths, columns, format), segments, work, total, workers, engine)
    if not passes[0].total("read"):
        shutil.rmtree(work)
        raise DataError("no row in it", where=", ".join(map(str, paths)), expected="one JSON object a line")
    _write(passes[-1], output)
    result = _result(paths, output, passes, time.perf_counter() - started, reused)
    shutil.rmtree(work)
    return result


def _check_places(paths: Sequence[Path], output: Path) -> None:
    """Raise before anything is written: DataError for a file that is not there, UserError for what is no file."""
    for path in paths:
        require_file(path)
    if is_special(output):
        raise UserError(
            "this is a device or a pipe", where=str(output), expected="a file: what is done already lies beside it",
            fix="choose another --output",
        )  # fmt: skip


def segments_of(filters: Sequence[Filter], too_large: Literal["drop", "error"] = "drop") -> list[Segment]:
    """Cut a list of filters behind those that compare rows: each segment is one pass over the rows."""
    segments: list[Segment] = []
    rest = list(filters)
    while rest or not segments:
        checks = list(itertools.takewhile(lambda item: not compares_rows(item), rest))
        rest = rest[len(checks) :]
        exact = rest.pop(0) if rest and isinstance(rest[0], DuplicatesFilter) else None
        near = rest.pop(0) if rest and isinstance(rest[0], NearDuplicatesFilter) else None
        segments.append(Segment(len(segments), tuple(checks), exact, near, too_large))  # type: ignore[arg-type]  # told apart
    return segments


def keep_or_empty(work: Path, plan: Mapping[str, Any]) -> None:
    """Leave the folder with what is done already, or empty it where that was done for another plan."""
    mark = hashlib.sha256(json.dumps({"version": CODE_VERSION, **plan}, sort_keys=True).encode()).hexdigest()
    known = work / "plan.json"
    if not (known.is_file() and read_json(known) == mark):
        shutil.rmtree(work, ignore_errors=True)
        make_folder(work)
        write_json(known, mark)


# ── one pass ────────────────────────────────────────────────────────────────────────────────────────────────────────


def sift_all(
    chunks: Iterator[Chunk], segments: Sequence[Segment], work: Path, total: int, workers: int, engine: str
) -> tuple[list[Pass], int]:
    """Let chunks through all segments; return the passes, and how many chunks an earlier attempt had done.

    Args:
        chunks: of the input; the same ones at every attempt.
        segments: see `segments_of`.
        work: the folder where it is done.
        total: bytes of the input, for the progress.
        workers: processes, or cores of a Ray that is started for this.
        engine: local or ray.

    Raises:
        DataError: a record is no row, or two rows have one id; names both. MissingExtra: a filter lacks its library,
        or Ray is not installed. UserError: a custom function is not there.
    """
    for segment in segments:
        Sieve.of(segment)  # what is missing is told before a row is read
    passes: list[Pass] = []
    reused = 0
    for segment in segments:
        with task(f"filtering ({', '.join(item.type for item in segment.checks) or 'reading'})", total) as bar:
            some = passes[-1].chunks() if passes else chunks
            done, found = _sift(some, segment, work, workers, engine, bar)
        reused += found
        passes.append(_compared(Pass.of(work, segment, done)))
    return passes, reused


def _sift(
    chunks: Iterator[Chunk], segment: Segment, work: Path, workers: int, engine: str, bar: Task
) -> tuple[int, int]:
    """Take every chunk that is not done; return how many there are, and how many were done already."""
    counts = {"all": 0, "done": 0}

    def open_ones() -> Iterator[Chunk]:
        for chunk in chunks:
            counts["all"] += 1
            if place_of(work, segment.number, chunk.index).with_suffix(".json").is_file():
                counts["done"] += 1
                bar.advance(chunk.num_bytes)
            else:
                yield chunk

    with closing(taken(engine, open_ones(), segment, work, workers)) as answers:  # an error ends its processes
        for num_bytes, error in answers:
            if error is not None:
                raise error
            bar.advance(num_bytes)
    return counts["all"], counts["done"]


def _compared(done: Pass) -> Pass:
    """Find the rows of a pass that are alike, exactly first, and nearly among those that are left."""
    if done.segment.number == 0:
        check_ids(done)
    if done.segment.exact is not None:
        done.removals.append(find_exact(done))
    if done.segment.near is not None:
        done.removals.append(find_near(done))
    return done


def _write(last: Pass, output: Path) -> None:
    with replacing(output) as file:
        for chunk in last.chunks():
            file.write(chunk.lines or b"")
            file.write(b"\n" if chunk.lines else b"")


# ── what it did ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _result(paths: Sequence[Path], output: Path, passes: Sequence[Pass], seconds: float, reused: int) -> Pruned:
    dropped = passes[0].total("dropped")
    return Pruned(
        inputs=[str(path) for path in paths],
        output=str(output),
        rows_read=passes[0].total("read"),
        rows_dropped={TOO_LARGE: dropped} if dropped else {},
        rows_kept=passes[-1].rows_left(),
        steps=steps_of(passes),
        seconds=round(seconds, 3),
        reused_chunks=reused,
    )


def steps_of(passes: Sequence[Pass]) -> list[Step]:
    """Return what each filter did, in order."""
    return [step for done in passes for step in _steps(done)]


def _steps(done: Pass) -> Iterator[Step]:
    for place, section in enumerate(done.segment.checks):
        yield _checked_step(section.type, [counts["steps"][place] for counts in done.counts()])
    rows = done.num_rows
    for name, removals in zip(_compared_names(done.segment), done.removals, strict=True):
        yield _compared_step(name, rows, removals)
        rows -= removals.count


def _compared_names(segment: Segment) -> list[str]:
    return [item.type for item in (segment.exact, segment.near) if item is not None]


def _checked_step(name: str, tallies: Sequence[Mapping[str, Any]]) -> Step:
    removed: dict[str, int] = {}
    examples: list[Example] = []
    for tally in tallies:
        for reason, count in tally["removed"].items():
            removed[reason] = removed.get(reason, 0) + count
        for told in tally["examples"]:
            if sum(example.reason == told["reason"] for example in examples) < EXAMPLES:
                examples.append(Example(**told))
    rows_in = sum(tally["rows_in"] for tally in tallies)
    ordered = dict(sorted(removed.items(), key=lambda item: (-item[1], item[0])))
    return Step(
        filter=name, rows_in=rows_in, rows_kept=rows_in - sum(removed.values()), removed=ordered, examples=examples,
        changed=sum(tally["changed"] for tally in tallies),
    )  # fmt: skip


def _compared_step(name: str, rows_in: int, removals: Removals) -> Step:
    reason = EXACT if name == "duplicates" else NEAR
    examples = [Example(reason=reason, **told) for told in removals.examples]
    removed = {reason: removals.count} if removals.count else {}
    return Step(filter=name, rows_in=rows_in, rows_kept=rows_in - removals.count, removed=removed, examples=examples)

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
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.files import make_folder, read_json, write_json, writing
from tunewright.errors import DataError
from tunewright.progress import Task, task
from tunewright.recipe.data_sections import DuplicatesFilter, Filter, NearDuplicatesFilter
from tunewright.sources.dropped import TOO_LARGE
from tunewright.sources.filters.build import compares_rows
from tunewright.sources.filters.duplicates import EXACT, NEAR
from tunewright.stages.data.chunks import Chunk, read_chunks
from tunewright.stages.data.passes import Pass, Removals, check_ids, find_exact, find_near
from tunewright.stages.data.sieve import EXAMPLES, Segment, Sieve, place_of, start, take

CODE_VERSION: Final = 1


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
) -> Pruned:
    """Apply filters to the rows of some files, in order, and write what stays.

    Args:
        paths: JSON lines, Parquet or CSV.
        filters: sections, applied in this order.
        output: the file to write, JSON lines of chat rows.
        columns: as for a source.
        format: as for a source.
        processes: how many; default: one a core that this process may use.

    Raises:
        DataError: a record is no row, or two rows have one id; names both. MissingExtra: a filter lacks its library.
        UserError: a custom function is not there.
    """
    started = time.perf_counter()
    segments = segments_of(filters)
    work = _work_folder(output, paths, filters, columns or {}, format)
    for segment in segments:
        Sieve.of(segment, work, {}, "auto")  # what is missing is told before a row is read
    workers = processes or len(os.sched_getaffinity(0))
    passes: list[Pass] = []
    reused = 0
    for segment in segments:
        chunks = _inputs(paths, passes)
        total = sum(path.stat().st_size for path in paths if path.is_file())
        with task(f"filtering ({', '.join(item.type for item in segment.checks) or 'reading'})", total) as bar:
            done, found = _sift(chunks, segment, work, dict(columns or {}), format, workers, bar)
        reused += found
        passes.append(_compared(Pass.of(work, segment, done)))
    _refuse_nothing(passes[0], paths)
    with writing(output):
        _write(passes[-1], output)
    result = _result(paths, output, passes, time.perf_counter() - started, reused)
    shutil.rmtree(work)
    return result


def segments_of(filters: Sequence[Filter]) -> list[Segment]:
    """Cut a list of filters behind those that compare rows: each segment is one pass over the rows."""
    segments: list[Segment] = []
    rest = list(filters)
    while rest or not segments:
        checks = list(itertools.takewhile(lambda item: not compares_rows(item), rest))
        rest = rest[len(checks) :]
        exact = rest.pop(0) if rest and isinstance(rest[0], DuplicatesFilter) else None
        near = rest.pop(0) if rest and isinstance(rest[0], NearDuplicatesFilter) else None
        segments.append(Segment(len(segments), tuple(checks), exact, near))  # type: ignore[arg-type]  # told apart above
    return segments


def _work_folder(
    output: Path, paths: Sequence[Path], filters: Sequence[Filter], columns: Mapping[str, str], format: str
) -> Path:
    """Return the folder for what is done already; one that was made for other rows or filters is emptied."""
    plan = {
        "version": CODE_VERSION,
        "inputs": [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths if path.is_file()],
        "filters": [item.model_dump(mode="json") for item in filters],
        "columns": dict(columns),
        "format": format,
    }
    mark = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    work = output.with_name(f".{output.name}.work")
    known = work / "plan.json"
    if not (known.is_file() and read_json(known) == mark):
        shutil.rmtree(work, ignore_errors=True)
        make_folder(work)
        write_json(known, mark)
    return work


# ── one pass ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _inputs(paths: Sequence[Path], passes: Sequence[Pass]) -> Iterator[Chunk]:
    """Yield the chunks of the files, or of what the last pass left."""
    return read_chunks(paths) if not passes else passes[-1].chunks()


def _sift(
    chunks: Iterator[Chunk], segment: Segment, work: Path, columns: dict[str, str], format: str, workers: int, bar: Task
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

    arguments = (segment, work, columns, format)
    taken = _alone(open_ones(), arguments) if workers == 1 else _shared(open_ones(), arguments, workers)
    for num_bytes, error in taken:
        if error is not None:
            raise error
        bar.advance(num_bytes)
    return counts["all"], counts["done"]


def _alone(chunks: Iterator[Chunk], arguments: tuple[Any, ...]) -> Iterator[tuple[int, DataError | None]]:
    start(*arguments)
    return map(take, chunks)


def _shared(
    chunks: Iterator[Chunk], arguments: tuple[Any, ...], workers: int
) -> Iterator[tuple[int, DataError | None]]:
    """Share chunks among processes. No more than two a process are read ahead: a pool by itself would read all."""
    room, stopped = threading.Semaphore(2 * workers), threading.Event()
    failed: list[Exception] = []

    def fed() -> Iterator[Chunk]:  # runs in the pool's thread
        try:
            for chunk in chunks:
                room.acquire()
                if stopped.is_set():
                    return
                yield chunk
        except Exception as error:  # through the pool it would come back as its text alone
            failed.append(error)

    with multiprocessing.get_context("spawn").Pool(workers, start, arguments) as pool:
        try:
            for answer in pool.imap(take, fed()):
                room.release()
                yield answer
        finally:
            stopped.set()
            room.release()  # the pool waits for its thread, and that may wait for room
    if failed:
        raise failed[0]


def _compared(done: Pass) -> Pass:
    """Find the rows of a pass that are alike, exactly first, and nearly among those that are left."""
    if done.segment.number == 0:
        check_ids(done)
    if done.segment.exact is not None:
        done.removals.append(find_exact(done))
    if done.segment.near is not None:
        done.removals.append(find_near(done))
    return done


def _refuse_nothing(first: Pass, paths: Sequence[Path]) -> None:
    if not first.total("read"):
        raise DataError("no row in it", where=", ".join(map(str, paths)), expected="one JSON object a line")


def _write(last: Pass, output: Path) -> None:
    part = output.with_name(f".{output.name}.part")
    with part.open("wb") as file:
        for chunk in last.chunks():
            file.write(chunk.lines or b"")
            file.write(b"\n" if chunk.lines else b"")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, output)


# ── what it did ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _result(paths: Sequence[Path], output: Path, passes: Sequence[Pass], seconds: float, reused: int) -> Pruned:
    dropped = passes[0].total("dropped")
    return Pruned(
        inputs=[str(path) for path in paths],
        output=str(output),
        rows_read=passes[0].total("read"),
        rows_dropped={TOO_LARGE: dropped} if dropped else {},
        rows_kept=passes[-1].rows_left(),
        steps=[step for done in passes for step in _steps(done)],
        seconds=round(seconds, 3),
        reused_chunks=reused,
    )


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

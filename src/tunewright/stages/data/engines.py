"""Who takes the chunks of a pass: this process, several of this machine, or the workers of a Ray cluster.

All give the same rows: a chunk is a piece of the input, whoever takes it, and what comes of it is written under its
number. So a pass that was killed goes on, and even on another engine.

    local    a chunk goes to a process, which writes what comes of it
    ray      chunks go to Ray Data's tasks, and what comes of them back; only this machine needs the disk
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.processes import end_with_parent
from tunewright.errors import DataError, EnvironmentProblem, MissingExtra
from tunewright.stages.data.chunks import Chunk
from tunewright.stages.data.sieve import Segment, sift, start, take, write

Answer = tuple[int, DataError | None]
"""the bytes of a chunk that was taken, and what was wrong with it"""

LOCAL: Final = "local"
RAY: Final = "ray"
CHUNKS_A_WORKER: Final = 16
"""chunks that Ray is given at a time, for each of its cores: so many are held in memory at most"""


def taken(
    engine: str, chunks: Iterator[Chunk], segment: Segment, work: Path, workers: int
) -> Generator[Answer, None, None]:
    """Take every chunk, and yield an answer for each, in their order.

    Raises:
        MissingExtra: Ray is asked for, and not installed. What reading the chunks raises.
    """
    if engine == RAY:
        return _on_ray(chunks, segment, work, workers)
    return _alone(chunks, segment, work) if workers == 1 else _shared(chunks, segment, work, workers)


# ── this machine ────────────────────────────────────────────────────────────────────────────────────────────────────


def _alone(chunks: Iterator[Chunk], segment: Segment, work: Path) -> Generator[Answer, None, None]:
    start(segment, work)
    yield from map(take, chunks)


def _shared(chunks: Iterator[Chunk], segment: Segment, work: Path, workers: int) -> Generator[Answer, None, None]:
    """Share chunks among processes. No more than two a process are read ahead.

    An executor, not a `multiprocessing.Pool`: a pool that is ended while a chunk larger than a pipe's buffer is being
    sent waits for ever, and so does one of which a process was killed.
    """
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (segment, work))
    ahead: deque[Future[Answer]] = deque()
    try:
        for chunk in chunks:
            ahead.append(pool.submit(take, chunk))
            if len(ahead) >= 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool:
        raise _ended() from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(segment: Segment, work: Path) -> None:
    """Start a process: Ctrl-C is its parent's to answer, and it ends when its parent does.

    By itself it would not: the processes of an executor hold both ends of its queue, and never see it closed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
    start(segment, work)


def _ended() -> EnvironmentProblem:
    return EnvironmentProblem(
        "a process that filters rows was ended from outside",
        expected="all of them to live until the rows are through; memory that runs out is the usual cause",
        fix="run it again, it goes on where it was; with --processes 1 it holds the least memory",
    )


# ── Ray ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _on_ray(chunks: Iterator[Chunk], segment: Segment, work: Path, workers: int) -> Generator[Answer, None, None]:
    """Give chunks to Ray Data, a window of them at a time, and write what comes back."""
    data = _ray_data(workers)
    told = pickle.dumps(segment)
    window = CHUNKS_A_WORKER * workers
    while some := list(islice(chunks, window)):
        by_index = {chunk.index: chunk for chunk in some}
        table = data.from_items([{"chunk": pickle.dumps(chunk)} for chunk in some], override_num_blocks=len(some))
        done = table.map_batches(_sifted, batch_size=1, fn_kwargs={"told": told})
        for row in done.iter_rows():
            index, files, error = pickle.loads(row["sifted"])
            if error is None:
                write(work, segment.number, index, files)
            yield by_index[index].num_bytes, error


def _ray_data(workers: int) -> Any:
    """Return Ray Data, connected: to the cluster of RAY_ADDRESS, or one of this machine.

    Raises:
        MissingExtra: Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra.of(error, "ray") from None
    if not ray.is_initialized():
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **here)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours is there already
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray.data


def _sifted(batch: dict[str, Any], told: bytes) -> dict[str, Any]:
    """Take one chunk in a worker of Ray; the filters are built once a process."""
    return {"sifted": [pickle.dumps(sift(pickle.loads(packed), pickle.loads(told))) for packed in batch["chunk"]]}

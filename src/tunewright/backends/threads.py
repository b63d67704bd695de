"""From an event loop to a plain iterator: asynchronous work on a thread of its own, its results one after another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any

from tunewright.backends.protocol import Completion

Put = Callable[[Completion], None]
_END = object()


def on_a_thread(work: Callable[[Put], Coroutine[Any, Any, None]]) -> Iterator[list[Completion]]:
    """Run `work(put)` in an event loop on a thread of its own; yield what it puts, all that is there at a time.

    The caller may itself run in an event loop, and requests go on while it scores. What `work` raises is raised here,
    after everything that it had put. When the caller goes away, `work` is cancelled and its end awaited.
    """
    items: SimpleQueue[Any] = SimpleQueue()
    started, cancel = Event(), list[Callable[[], object]]()

    async def main() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        started.set()
        await work(items.put)

    def run() -> None:
        try:
            asyncio.run(main())
            items.put(_END)
        except BaseException as error:
            items.put(error)
        finally:
            started.set()

    thread = Thread(target=run, name="openai-backend", daemon=True)
    thread.start()
    try:
        yield from _until_end(items)
    finally:
        started.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed: it is done
            for call in cancel:
                call()
        thread.join()


def _until_end(items: SimpleQueue[Any]) -> Iterator[list[Completion]]:
    while True:
        batch, end = [items.get()], None
        with contextlib.suppress(Empty):
            while batch[-1] is not _END and not isinstance(batch[-1], BaseException):
                batch.append(items.get_nowait())
        if batch[-1] is _END or isinstance(batch[-1], BaseException):
            end = batch.pop()
        if batch:
            yield batch
        if isinstance(end, BaseException):
            raise end
        if end is _END:
            return

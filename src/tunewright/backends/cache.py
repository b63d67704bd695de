"""A cache of answers that were paid for: one SQLite file, shared by processes, whole after a kill.

The key is a hash over the model, the endpoint, the path and all of the request: prompt, tools and settings, a row's
seed included. Errors are never kept. The API key is in no request body, so it is in no key and no value.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import make_folder, writing
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.backends.wire import Answer, Usage
from tunewright.errors import DataError, EnvironmentProblem

BUSY_SECONDS = 30.0


def cache_key(endpoint: str, path: str, body: Mapping[str, Any]) -> str:
    """Return the key of a request. `endpoint` is what answers: a URL, or the identity of a model that we serve."""
    return fingerprint({"endpoint": endpoint.rstrip("/"), "path": path, "body": body})


class AnswerCache:
    """Answers by key, in a file that is made when missing. Safe to use from several threads and processes.

    Raises:
        DataError: the file is no cache, or damaged. EnvironmentProblem: the disk is full.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        make_folder(path.parent)
        with writing(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # prompts may be private
        with self._guarded():
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")  # in WAL mode a kill loses nothing
            self._db.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT NOT NULL)")

    def get(self, key: str) -> Answer | None:
        """Return the answer kept under `key`, or None."""
        with self._lock, self._guarded():
            row = self._db.execute("SELECT value FROM answers WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            value = json.loads(row[0])
            usage = Usage(*value["usage"]) if value["usage"] else None
            return Answer(value["text"], value["finish"], usage)

    def put(self, key: str, answer: Answer) -> None:
        """Keep `answer` under `key`; the first one stays."""
        usage = [answer.usage.prompt, answer.usage.completion, answer.usage.cached] if answer.usage else None
        value = json.dumps({"text": answer.text, "finish": answer.finish, "usage": usage})
        with self._lock, self._guarded():
            self._db.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Close the file; safe to call twice."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            fix = "free some space, or wait for the other process that uses it"
            raise EnvironmentProblem(f"the cache cannot be used: {error}", where=str(self.path), fix=fix) from None
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"not a cache of answers, or damaged: {error}", where=str(self.path),
                fix="move it away; it is made again, and its answers are asked for again",
            ) from None  # fmt: skip

"""A server that speaks the hub's protocol for one data set, to the real client: what `datasets` asks when it streams.

GET  /api/datasets/NAME[/revision/REV]         the commit, and the files
GET  /api/datasets/NAME/tree/COMMIT[/FOLDER]   a folder's files
POST /api/datasets/NAME/paths-info/COMMIT      some files
HEAD and GET /datasets/NAME/resolve/COMMIT/F   a file, whole or a range of it

With a token it answers only those who bring it. `asked` is what was asked, `tokens` what was brought.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse


@dataclass
class Hub:
    """The data set that is served: its commits, and where its branches and tags are."""

    name: str
    commits: Mapping[str, Mapping[str, bytes]]
    """commit -> path -> content"""
    refs: dict[str, str]
    token: str | None = None
    asked: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    sent_bytes: int = 0
    url: str = ""

    def commit(self, revision: str) -> str | None:
        """Return the commit that a branch, a tag or a commit names."""
        found = self.refs.get(revision, revision)
        return found if found in self.commits else None


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve a data set until the block ends."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answered()

    def do_HEAD(self) -> None:
        self._answered()

    def do_POST(self) -> None:
        self._answered()

    def log_message(self, *_: Any) -> None:
        pass

    def _answered(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        self.hub.asked.append(f"{self.command} {self.path}")
        brought = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        self.hub.tokens.add(brought)
        if self.hub.token is not None and brought != self.hub.token:
            self._refused(401, "GatedRepo" if brought else "RepoNotFound")
            return
        path = [unquote(part) for part in urlparse(self.path).path.strip("/").split("/")]
        name = self.hub.name.split("/")
        if path[: 2 + len(name)] == ["api", "datasets", *name]:
            self._api(path[2 + len(name) :], body)
        elif path[: 1 + len(name)] == ["datasets", *name] and path[1 + len(name)] == "resolve":
            self._file(path[2 + len(name)], "/".join(path[3 + len(name) :]))
        else:
            self._refused(404, "RepoNotFound")

    # ── the API ──

    def _api(self, rest: list[str], body: bytes) -> None:
        action, revision = rest[:2] if len(rest) > 1 else ("revision", "main")
        commit = self.hub.commit(revision)
        if commit is None:
            self._refused(404, "RevisionNotFound")
        elif action == "revision":
            files = [{"rfilename": path} for path in sorted(self.hub.commits[commit])]
            self._json({"id": self.hub.name, "sha": commit, "siblings": files, "private": False, "tags": []})
        elif action == "tree":
            self._tree(commit, "/".join(rest[2:]))
        elif action == "paths-info":
            wanted = self._paths(body)
            found = [self._entry(commit, path) for path in wanted]
            self._json([entry for entry in found if entry is not None])
        else:
            self._refused(404, "EntryNotFound")

    @staticmethod
    def _paths(body: bytes) -> list[str]:
        try:
            return [str(path) for path in json.loads(body)["paths"]]
        except ValueError:
            return parse_qs(body.decode()).get("paths", [])

    def _tree(self, commit: str, folder: str) -> None:
        prefix = f"{folder}/" if folder else ""
        recursive = "recursive=true" in self.path.lower()
        found: dict[str, Any] = {}
        for path in sorted(self.hub.commits[commit]):
            if path.startswith(prefix):
                first, _, below = path.removeprefix(prefix).partition("/")
                if below:
                    found.setdefault(
                        prefix + first, {"type": "directory", "path": prefix + first, "oid": "0", "size": 0}
                    )
                if not below or recursive:
                    found[path] = self._entry(commit, path)
        if folder and not found:
            self._refused(404, "EntryNotFound")
        else:
            self._json(list(found.values()))

    def _entry(self, commit: str, path: str) -> dict[str, Any] | None:
        content = self.hub.commits[commit].get(path)
        if content is None:
            return None
        return {"type": "file", "path": path, "oid": hashlib.sha1(content).hexdigest(), "size": len(content)}

    # ── files ──

    def _file(self, revision: str, path: str) -> None:
        commit = self.hub.commit(revision)
        content = self.hub.commits[commit].get(path) if commit else None
        if commit is None or content is None:
            self._refused(404, "EntryNotFound" if commit else "RevisionNotFound")
            return
        begin, end, status = 0, len(content), 200
        if wanted := self.headers.get("Range"):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            begin, end, status = int(first or 0), min(int(last or len(content)) + 1, len(content)), 206
        headers = {
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
            "X-Repo-Commit": commit,
            "Accept-Ranges": "bytes",
            "Content-Range": f"bytes {begin}-{end - 1}/{len(content)}",
        }
        if status == 200:
            del headers["Content-Range"]
        self._send(status, content[begin:end], "application/octet-stream", headers)
        self.hub.sent_bytes += (end - begin) if self.command == "GET" else 0

    # ── answers ──

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), "application/json", {})

    def _refused(self, status: int, code: str) -> None:
        self._send(status, json.dumps({"error": code}).encode(), "application/json", {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, kind: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # a client that streams may have had enough
                self.wfile.write(body)

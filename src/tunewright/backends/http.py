"""One POST that tells its failures apart, and the waits between attempts.

A failure knows three things: whether trying again can help, whether the request may have been answered (and billed)
unseen, and whether it is about this row or about the server. Error texts never hold the API key.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import time
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from tunewright.backends.wire import Answer, BadAnswer, read_answer
from tunewright.errors import UserError
from tunewright.recipe.explain import without_secrets
from tunewright.recipe.sections import PLAIN_URL

MAX_RESPONSE_BYTES = 32 << 20
MAX_TOLD_CHARS = 400
CONNECT_SECONDS = 10.0
SECRET_CHARS = 16  # no vendor gives a shorter key
TRY_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
ABOUT_THE_SERVER = {301, 302, 303, 307, 308, 401, 402, 403, 404, 405}
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|key|hf|gsk|xai)[-_][\w*-]{6,200}")


class Failure(Exception):
    """An attempt that gave no answer."""

    def __init__(
        self,
        seen: str,
        *,
        whose: Literal["row", "server"] = "server",
        again: bool = False,
        may_be_billed: bool = False,
        wait_seconds: float | None = None,
        status: int | None = None,
    ):
        super().__init__(seen)
        self.whose, self.again, self.may_be_billed = whose, again, may_be_billed
        self.wait_seconds, self.status = wait_seconds, status


@dataclass(frozen=True)
class Retries:
    """How often and how long to wait: full jitter, the ceiling doubling from attempt to attempt.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int = 6
    first_seconds: float = 0.5
    longest_seconds: float = 60.0

    def wait_seconds(self, attempt: int, told: float | None, chance: random.Random) -> float:
        """Return the wait after failed attempt number `attempt` (from 1): what the server told and a bit, or jitter."""
        ceiling = min(self.longest_seconds, self.first_seconds * 2 ** (attempt - 1))
        jitter = chance.uniform(0, ceiling)
        return jitter if told is None else told + min(jitter, 1.0)


@dataclass
class Poster:
    """Posts JSON to one server.

    Args:
        base_url: with the version, as `http://127.0.0.1:8000/v1`.
        api_key: sent as a bearer token; empty sends none.
        timeout_seconds: for one attempt as a whole, however the bytes drip.
        retries: how often to try.
    """

    base_url: str
    api_key: str = field(default="", repr=False)
    timeout_seconds: float = 120.0
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        self.base_url = checked_url(self.base_url)
        self._chance = random.Random()
        self._not_before = 0.0

    async def __aenter__(self) -> Poster:
        headers = {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        # A proxy of the environment is not for this machine.
        away = not is_loopback(self.base_url)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        self._client = httpx.AsyncClient(headers=headers, trust_env=away, limits=limits, timeout=timeout)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.aclose()

    async def wait_before(self, attempt: int, failure: Failure) -> None:
        """Wait before the next attempt. A wait that the server asked for holds for all requests."""
        seconds = self.retries.wait_seconds(attempt, failure.wait_seconds, self._chance)
        if failure.wait_seconds is not None:
            self._not_before = max(self._not_before, time.monotonic() + failure.wait_seconds)
        await asyncio.sleep(seconds)

    async def ask(self, path: str, body: dict[str, Any], names: dict[str, str] | None = None) -> Answer:
        """Send one request, once, and return its answer; `names` as in `read_answer`.

        Raises:
            Failure: no answer; says why, without the API key.
        """
        await asyncio.sleep(max(0.0, self._not_before - time.monotonic()))
        try:
            async with asyncio.timeout(self.timeout_seconds):
                status, headers, raw = await self._post(path, body)
        except TimeoutError:
            raise Failure(f"no answer within {self.timeout_seconds:g} s", again=True, may_be_billed=True) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Failure(self._clean(f"cannot connect: {error}"), again=True) from None
        except httpx.HTTPError as error:
            told = self._clean(f"the connection broke: {error or type(error).__name__}")
            raise Failure(told, again=True, may_be_billed=True) from None
        if status != 200:
            raise self._refusal(status, headers, raw)
        try:
            return self._storable(read_answer(json.loads(raw), names))
        except BadAnswer as error:
            raise self._bad_answer(error) from None
        except (ValueError, RecursionError):
            told = self._clean(f"the answer is no JSON: {_start(raw)!r}")
            raise Failure(told, again=True, may_be_billed=True) from None

    async def _post(self, path: str, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        request = {"content": data, "headers": {"Content-Type": "application/json"}}
        async with self._client.stream("POST", f"{self.base_url}{path}", **request) as response:  # type: ignore[arg-type]
            raw = bytearray()
            async for part in response.aiter_bytes():
                raw += part
                if len(raw) > MAX_RESPONSE_BYTES:
                    seen = f"an answer of more than {MAX_RESPONSE_BYTES >> 20} MiB"
                    raise Failure(seen, whose="row", may_be_billed=True)
            return response.status_code, response.headers, bytes(raw)

    def _refusal(self, status: int, headers: httpx.Headers, raw: bytes) -> Failure:
        told, code = _told(raw)
        seen = self._clean(f"HTTP {status}: {told}" if told else f"HTTP {status}")
        wait = retry_after(headers)
        again = status in TRY_AGAIN and code != "insufficient_quota"
        if again and wait is not None and wait > self.retries.longest_seconds:
            seen, again = f"{seen} (and to wait {wait:.0f} s)", False
        whose: Literal["row", "server"] = "server" if again or status in ABOUT_THE_SERVER | TRY_AGAIN else "row"
        return Failure(seen, whose=whose, again=again, wait_seconds=wait, status=status)

    def _bad_answer(self, error: BadAnswer) -> Failure:
        again = error.status is None or error.status in TRY_AGAIN
        told = self._clean(str(error))
        return Failure(told, whose="server" if again else "row", again=again, may_be_billed=True, status=error.status)

    def _storable(self, answer: Answer) -> Answer:
        """Return what may stand in scores, caches and reports: without the key, and without half characters.

        A short word is a local server's filler (`none`, `EMPTY`), which an answer may hold, and no secret.
        """
        filler = self.api_key.isalpha() and len(self.api_key) < SECRET_CHARS
        text = answer.text.encode("utf-8", "replace").decode()
        return replace(answer, text=text.replace(self.api_key, "***") if self.api_key and not filler else text)

    def _clean(self, text: str) -> str:
        return redacted(text, self.api_key)


def redacted(text: str, api_key: str) -> str:
    """Return `text` without the key, and without what looks like one."""
    if api_key:
        text = text.replace(api_key, "***")
    return _KEY_LIKE.sub("***", text)


def key_from(variable: str | None) -> str:
    """Return the API key in an environment variable, or "" for None.

    Raises:
        UserError: the variable is not set, or holds what no header may hold; never shows it.
    """
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            "the environment variable with the API key is not set", where=variable, fix=f"export {variable}=…"
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UserError("what is in it cannot be an API key", where=variable, expected="printable ASCII, no blanks")
    return key


def checked_url(url: str) -> str:
    """Return a server's URL without a slash at its end.

    Raises:
        UserError: not http(s), or with a password in it: that would stand in records.
    """
    if re.search(r"^https?://[^/]*@|[?]", url):
        raise UserError(
            "a URL with a user, a password or a query: records would hold it", where=without_secrets(url),
            expected="the plain URL", fix="put the key into an environment variable, and give the variable's name",
        )  # fmt: skip
    if not re.match(PLAIN_URL, url) or not _has_port(url):
        raise UserError(
            "no URL of a server", where=without_secrets(url)[:80],
            expected="https://host/v1 or http://127.0.0.1:8000/v1",
        )  # fmt: skip
    return url.rstrip("/")


def _has_port(url: str) -> bool:
    """False for a port, or an address, that no host can have."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """True if a server is on this machine, by its URL."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def retry_after(headers: httpx.Headers) -> float | None:
    """Return the seconds that a server asks to wait, or None. Reads seconds, milliseconds and dates (RFC 9110)."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text):
            return float(text) * scale
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError):
        return None
    return max(0.0, date.timestamp() - time.time())


def _told(raw: bytes) -> tuple[str, str | None]:
    """Return what the server says of its refusal, and its error code."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return _start(raw), None
    error = value.get("error", value.get("detail", value)) if isinstance(value, dict) else value
    if isinstance(error, dict):
        return str(error.get("message", error))[:MAX_TOLD_CHARS], str(error.get("code"))
    return str(error)[:MAX_TOLD_CHARS], None


def _start(raw: bytes) -> str:
    return raw[:200].decode("utf-8", "replace").strip()

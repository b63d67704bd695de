"""Backend `openai`: any server of OpenAI's protocol, on this machine or a vendor's.

Many requests are out at a time; failures that can pass are tried again; money is held back before it is spent; what was
paid for is kept in a cache. A row that failed for good comes back with `error`; a server that fails row after row, or
refuses everybody, ends the whole with one clean error. Either way what is done has been handed over before.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tunewright.backends.cache import AnswerCache, cache_key
from tunewright.backends.http import ABOUT_THE_SERVER, Failure, Poster, Retries, checked_url, key_from
from tunewright.backends.protocol import Completion, Prompt, Sampling
from tunewright.backends.spending import Budget, Prices, Spending
from tunewright.backends.threads import Put, on_a_thread
from tunewright.backends.tool_names import with_strict_names
from tunewright.backends.wire import Answer, Usage, body_hash, chat_body, completion_body
from tunewright.errors import DataError, EnvironmentProblem, UserError

MAX_FAILED_IN_A_ROW = 8  # then it is the server and not the rows
TEMPLATE_TOKENS = 64  # what a vendor's template may add to a prompt beyond one token a byte


@dataclass
class OpenAIBackend:
    """Generates with a server of OpenAI's protocol.

    Args:
        model: the name that the server knows it by.
        base_url: with the version, as `https://api.openai.com/v1`.
        api_key_env: the name of the environment variable with the key; None sends none.
        endpoint: `chat` sends messages and tools and lets the server render them; `completions` sends the token ids.
        to_text: for `completions` on servers that take no ids: ids to text.
        concurrency: how many requests are out at a time.
        timeout_seconds: for one attempt as a whole.
        retries: how often to try, and how long to wait.
        prices: USD per million tokens; what they are, the caller knows.
        budget: the most to spend over the life of this object.
        cache: a file of answers that were paid for; None keeps none.
        identity: what answers, for the cache, where the URL does not say it: a model's identity, on a port of its own.
        strict_names: send names of tools as vendors want them, without dots, and read them back (`tool_names.py`).
        limit_field: `max_tokens`, or `max_completion_tokens` where a vendor wants that.
    """

    model: str
    base_url: str
    api_key_env: str | None = None
    endpoint: Literal["chat", "completions"] = "chat"
    to_text: Callable[[Sequence[int]], str] | None = None
    concurrency: int = 8
    timeout_seconds: float = 120.0
    retries: Retries = field(default_factory=Retries)
    prices: Prices = field(default_factory=Prices)
    budget: Budget = field(default_factory=Budget)
    cache: Path | None = None
    identity: str = ""
    strict_names: bool = False
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def __post_init__(self) -> None:
        self.base_url = checked_url(self.base_url)
        if self.concurrency < 1 or self.timeout_seconds <= 0 or self.retries.attempts < 1:
            raise UserError("concurrency, timeout or attempts of nothing", where=self.base_url, expected="at least 1")
        self.spending = Spending(self.prices, self.budget)

    def prompt_hash(self, prompt: Prompt, sampling: Sampling) -> str:
        """Return the hash of what would be sent for `prompt`: `wire.prompt_hash` of the request itself."""
        return body_hash(self._request(prompt, sampling).body)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, done: AbstractSet[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `Backend.generate`. Completions come as the server answers; each has `text` and no token ids.

        Raises:
            BudgetReached: the next request could cost more than is left.
            UserError: the key is not set, or the server refuses the key, the model or the path.
            EnvironmentProblem: the server fails row after row.
        """
        todo = [prompt for prompt in prompts if prompt.id not in done]
        requests = [self._request(prompt, sampling) for prompt in todo]
        poster = Poster(self.base_url, key_from(self.api_key_env), self.timeout_seconds, self.retries)
        if not requests:
            return
        cache = AnswerCache(self.cache) if self.cache else None
        try:
            run = _Run(self, poster, cache, deque(requests))
            yield from on_a_thread(run.ask_all)
        finally:
            if cache:
                cache.close()

    @property
    def path(self) -> str:
        """The path of the endpoint, after the base URL."""
        return "/chat/completions" if self.endpoint == "chat" else "/completions"

    def _request(self, prompt: Prompt, sampling: Sampling) -> _Request:
        if self.endpoint == "chat":
            if not prompt.messages:
                raise DataError("a prompt without messages", where=prompt.id, fix="give messages, or use completions")
            prompt, names = with_strict_names(prompt) if self.strict_names else (prompt, {})
            return _Request(prompt.id, chat_body(prompt, self.model, sampling, self.limit_field), names)
        if not prompt.token_ids:
            raise DataError("a prompt without token ids", where=prompt.id, fix="render it first, or use chat")
        text = self.to_text(prompt.token_ids) if self.to_text else None
        return _Request(prompt.id, completion_body(prompt, text, self.model, sampling), {})


@dataclass(frozen=True)
class _Request:
    row: str
    body: dict[str, Any]
    names: dict[str, str]
    """tools that are sent under another name: sent -> real"""


class _Run:
    """The requests of one `generate`. Rows wait in `failed` until it is clear that not the server is at fault."""

    def __init__(self, backend: OpenAIBackend, poster: Poster, cache: AnswerCache | None, todo: deque[_Request]):
        self.backend, self.poster, self.cache, self.todo = backend, poster, cache, todo
        self.spending = backend.spending
        self.out = 0
        self.answered = False
        self.failed: list[Completion] = []

    async def ask_all(self, put: Put) -> None:
        self.came_home = asyncio.Condition()
        async with self.poster:
            workers = [asyncio.create_task(self._work(put)) for _ in range(self.backend.concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        for completion in self.failed:
            put(completion)

    async def _work(self, put: Put) -> None:
        while self.todo:
            request = self.todo.popleft()
            key = cache_key(self.backend.identity or self.backend.base_url, self.backend.path, request.body)
            kept = self.cache.get(key) if self.cache else None
            if kept is not None:
                self.spending.cache_hits += 1
                put(_completion(request.row, kept, 0.0, 0.0))
                continue
            most = most_tokens(request.body)
            await self._hold(most)
            try:
                completion, by_server = await self._ask(request, key, most)
            finally:
                await self._free(most)
            self._hand_over(completion, by_server, put)

    async def _hold(self, most: Usage) -> None:
        """Wait until `most` fits into the budget.

        Raises:
            BudgetReached: nothing is out that could make room.
        """
        async with self.came_home:
            while not self.spending.fits(most):
                if not self.out:
                    raise self.spending.reached(len(self.todo) + 1)
                await self.came_home.wait()
            self.out += 1
            self.spending.hold(most)

    async def _free(self, most: Usage) -> None:
        self.out -= 1
        self.spending.hold(most, -1)
        async with self.came_home:
            self.came_home.notify_all()

    async def _ask(self, request: _Request, key: str, most: Usage) -> tuple[Completion, bool]:
        """Ask until there is an answer, or none to be had; True if that is the server's fault and not the row's."""
        began, unseen_usd, attempt = time.monotonic(), 0.0, 0
        while True:
            attempt += 1
            self.spending.requests += 1
            sent = time.monotonic()
            try:
                answer = await self.poster.ask(self.backend.path, request.body, request.names)
            except asyncio.CancelledError:
                self.spending.book_unknown(most)
                raise
            except Failure as failure:
                if failure.may_be_billed:
                    unseen_usd += self.spending.book_unknown(most)
                last = attempt >= self.poster.retries.attempts or not self.spending.fits(Usage(0, 0))
                if last or not failure.again:
                    error = self._given_up(failure, attempt)
                    seconds = time.monotonic() - began
                    lost = Completion(request.row, (), "error", seconds, cost_usd=unseen_usd, error=error)
                    return lost, failure.whose == "server"
                self.spending.retries += 1
                await self.poster.wait_before(attempt, failure)
                continue
            cost = self.spending.book(answer.usage) if answer.usage else self.spending.book_unknown(most)
            if self.cache:
                self.cache.put(key, answer)
            return _completion(request.row, answer, time.monotonic() - sent, cost + unseen_usd), False

    def _given_up(self, failure: Failure, attempts: int) -> str:
        """Return a row's error, or end the run where the server refuses everybody."""
        if not self.answered and failure.status in ABOUT_THE_SERVER:
            fix = f"check the URL, the model's name ({self.backend.model}) and the key"
            if self.backend.api_key_env:
                fix += f" in {self.backend.api_key_env}"
            raise UserError(str(failure), where=f"{self.backend.base_url}{self.backend.path}", fix=fix)
        return f"{failure} ({attempts} attempts)" if attempts > 1 else str(failure)

    def _hand_over(self, completion: Completion, by_server: bool, put: Put) -> None:
        if by_server:
            self.failed.append(completion)
            if len(self.failed) < MAX_FAILED_IN_A_ROW:
                return
            raise EnvironmentProblem(
                f"{MAX_FAILED_IN_A_ROW} rows in a row were not answered; the last: {completion.error}",
                where=self.backend.base_url,
                fix="bring the server back and give the same command again: what is done is kept",
            )
        self.answered = self.answered or completion.error is None
        for held in (*self.failed, completion):
            put(held)
        self.failed.clear()


def _completion(row: str, answer: Answer, seconds: float, cost: float) -> Completion:
    usage = answer.usage
    return Completion(
        row, (), answer.finish, seconds, text=answer.text, cost_usd=cost,
        prompt_tokens=usage.prompt if usage else None, answer_tokens=usage.completion if usage else None,
    )  # fmt: skip


def most_tokens(body: dict[str, Any]) -> Usage:
    """Return the most that a request can take: a prompt at one token a byte, and the longest answer."""
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        asked = len(prompt)
    else:
        said = {key: body[key] for key in ("messages", "tools", "prompt") if key in body}
        asked = len(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")) + TEMPLATE_TOKENS
    return Usage(asked, int(body.get("max_tokens") or body["max_completion_tokens"]))

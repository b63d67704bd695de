"""Ask a running server how it sees a prompt: its tokens where it tells them, else only how many there are.

llama.cpp          POST /apply-template gives the text, POST /tokenize its tokens
vLLM               POST /tokenize takes messages
any other          POST /v1/chat/completions with one new token: `prompt_tokens` of the usage
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from tunewright.backends.http import checked_url, is_loopback, key_from
from tunewright.backends.wire import BadAnswer, read_answer, wire_messages, wire_tool
from tunewright.errors import EnvironmentProblem, ModelError

MAX_BYTES = 64 << 20

Messages = Sequence[Mapping[str, Any]]


class ServedPrompts:
    """How one server sees prompts. A context manager.

    Args:
        url: with the version, as `http://127.0.0.1:8000/v1`.
        model: the name that the server knows it by; None asks for it.
        api_key_env: the environment variable with the key.
        timeout_seconds: for one request.
    """

    def __init__(
        self, url: str, model: str | None = None, api_key_env: str | None = None, timeout_seconds: float = 60.0
    ):
        self.url = checked_url(url)
        self.root = self.url.removesuffix("/v1")
        key = key_from(api_key_env)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A proxy of the environment is not for this machine.
        self._client = httpx.Client(headers=headers, trust_env=not is_loopback(self.url), timeout=timeout_seconds)
        self._model = model

    def __enter__(self) -> ServedPrompts:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def __call__(self, messages: Messages, tools: Sequence[Mapping[str, Any]] | None) -> list[int] | int:
        """Return the tokens of a prompt, or their number.

        Raises:
            ModelError: the server's template refuses it. EnvironmentProblem: no answer, or none that can be read.
        """
        body: dict[str, Any] = {"messages": wire_messages(messages)}
        if tools:
            body["tools"] = [wire_tool(tool) for tool in tools]
        for way in (self._by_llama_cpp, self._by_vllm):
            ids = way(body)
            if ids is not None:
                return ids
        return self._by_usage(body)

    def _by_llama_cpp(self, body: dict[str, Any]) -> list[int] | None:
        text = self._post(f"{self.root}/apply-template", body).get("prompt")
        if not isinstance(text, str):
            return None
        asked = {"content": text, "add_special": True, "parse_special": True}  # as it does with a chat's own text
        return _ids(self._post(f"{self.root}/tokenize", asked))

    def _by_vllm(self, body: dict[str, Any]) -> list[int] | None:
        return _ids(self._post(f"{self.root}/tokenize", {**body, "model": self.model, "add_generation_prompt": True}))

    def _by_usage(self, body: dict[str, Any]) -> int:
        asked = {**body, "model": self.model, "max_tokens": 1, "temperature": 0.0}
        response = self._post(f"{self.url}/chat/completions", asked, must=True)
        try:
            usage = read_answer(response).usage
        except BadAnswer as error:
            raise EnvironmentProblem(str(error), where=self.url) from None
        if usage is None:
            raise EnvironmentProblem("the server does not say how many tokens a prompt has", where=self.url)
        return usage.prompt

    @property
    def model(self) -> str:
        """The name that the server knows its model by: of several the first."""
        if self._model is None:
            listed = self._read(self._send("GET", f"{self.url}/models", None)).get("data")
            first = listed[0] if isinstance(listed, list) and listed else None
            self._model = str(first.get("id", "")) if isinstance(first, dict) else ""
        return self._model

    def _post(self, url: str, body: dict[str, Any], must: bool = False) -> dict[str, Any]:
        """Return the JSON object of an answer; `{}` where the server has no such path and need not have it."""
        response = self._send("POST", url, body)
        if response.status_code == 200:
            return self._read(response)
        if not must:
            return {}
        told = f"HTTP {response.status_code}: {response.text[:300]}"
        if response.status_code == 400:
            raise ModelError(told, where=url, fix="send what the model's template takes")
        raise EnvironmentProblem(told, where=url, fix="check the URL and the model's name")

    def _send(self, method: str, url: str, body: dict[str, Any] | None) -> httpx.Response:
        try:
            return self._client.request(method, url, json=body)
        except httpx.HTTPError as error:
            raise EnvironmentProblem(
                f"no answer ({type(error).__name__})", where=url, fix="start the server, or check the URL"
            ) from None

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        if len(response.content) > MAX_BYTES:
            raise EnvironmentProblem("an answer of more than 64 MiB", where=str(response.url))
        try:
            value = response.json()
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def _ids(response: dict[str, Any]) -> list[int] | None:
    tokens = response.get("tokens")
    if not isinstance(tokens, list) or not tokens:
        return None
    return [int(token) for token in tokens] if all(type(token) is int for token in tokens) else None

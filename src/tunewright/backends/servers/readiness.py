"""Is a server up? It is when its health path answers, and when it has completed one real prompt."""

from __future__ import annotations

import time

import httpx

from tunewright.backends.servers.kinds import ServerKind
from tunewright.backends.servers.running import failure, raise_if_dead
from tunewright.backends.servers.state import State
from tunewright.backends.wire import BadAnswer, read_answer

POLL_SECONDS = 0.1


def wait_until_up(state: State, kind: ServerKind, seconds: float) -> None:
    """Wait until a server is up.

    Raises:
        EnvironmentProblem: it ended, answers with no completion, or was not up in time; with the end of its log.
    """
    end = time.monotonic() + seconds
    root = state.url.removesuffix("/v1")
    with httpx.Client(trust_env=False, timeout=2.0) as client:
        while True:
            raise_if_dead(state)
            if _is_healthy(client, root + kind.health) and _completes(client, state, end - time.monotonic()):
                return raise_if_dead(state)
            if time.monotonic() >= end:
                raise failure(state, f"it was not up within {seconds:g} s")
            time.sleep(POLL_SECONDS)


def _is_healthy(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _completes(client: httpx.Client, state: State, seconds: float) -> bool:
    """True when one real prompt was completed; False while it still loads.

    Raises:
        EnvironmentProblem: it answers, and not with a completion.
    """
    settings = {"model": state.model, "max_tokens": 4, "temperature": 0.0}
    chat = {"messages": [{"role": "user", "content": "Say hello."}]}
    told = ""
    for path, prompt in (("/chat/completions", chat), ("/completions", {"prompt": "Hello"})):
        try:
            response = client.post(f"{state.url}{path}", json={**settings, **prompt}, timeout=max(1.0, seconds))
            if response.status_code == 503:
                return False
            if response.status_code == 200:
                read_answer(response.json())
                return True
            told = f"HTTP {response.status_code}: {response.text[:300]}"
        except httpx.HTTPError:
            return False
        except (BadAnswer, ValueError, RecursionError) as error:
            told = str(error)
    raise failure(state, f"it is healthy, but completes nothing: {told}")

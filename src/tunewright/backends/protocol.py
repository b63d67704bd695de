"""The contract of a backend: prompts in, completions out; and texts in, log-probabilities out.

A backend answers many prompts and hands completions over as they come. What it cannot answer it hands over too, with
`error` set and no text: an error is told, and is never an empty answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Prompt:
    """A prompt, rendered or as messages.

    `chat/render.py` made the ids, and nobody else. Servers that render by themselves take `messages` and `tools`.
    """

    id: str
    token_ids: tuple[int, ...] = ()
    messages: tuple[Mapping[str, Any], ...] | None = None
    tools: tuple[Mapping[str, Any], ...] | None = None


@dataclass(frozen=True)
class Sampling:
    """How to generate. Greedy unless asked: the only way whose answer is a property of the model alone."""

    max_new_tokens: int
    temperature: float = 0.0
    """0 is greedy; above, words are drawn from softmax(logits / temperature)"""
    top_p: float = 1.0
    """draw from the fewest likeliest words whose probabilities sum to at least this; in (0, 1]"""
    seed: int = 0
    """a row's own seed comes from (seed, prompt id), so that its answer does not depend on its batch mates"""
    stop: tuple[str, ...] = ()
    """an answer ends before the first of these; the model's own end-of-turn always ends it"""


@dataclass(frozen=True)
class Completion:
    """One answer, or why there is none."""

    id: str
    token_ids: tuple[int, ...]
    """without the stop token; empty where the backend returns only text"""
    finish: Literal["stop", "length", "error"]
    seconds: float
    """the batch's wall time, shared over its answers by their tokens"""
    text: str | None = None
    """from backends that return only text; served tool calls stand at its end in Hermes form, one after another:
    `<tool_call>`, a line with the JSON, `</tool_call>`; arguments that are no JSON stay as they came"""
    prompt_tokens: int | None = None
    """as the server counted them"""
    cost_usd: float = 0.0
    error: str | None = None
    """why there is no answer: the row stays unscored"""
    answer_tokens: int | None = None
    """as the server counted them; None: `len(token_ids)`"""


class Backend(Protocol):
    """Generates answers."""

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, done: AbstractSet[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """Yield completions batch by batch, in any order.

        Args:
            prompts: all prompts of the evaluation, also those that are done.
            sampling: how to generate.
            done: ids that an earlier attempt answered. Batches are planned from all prompts, so a resumed evaluation
                computes what an undisturbed one would have: the same batches, the same floating-point sums.
        """


@dataclass(frozen=True)
class Continuation:
    """A text whose second part is to be scored: the tokens from `start` on, given all before."""

    id: str
    token_ids: tuple[int, ...]
    start: int
    """index of the first scored token; at least 1"""


@dataclass(frozen=True)
class ContinuationScore:
    """What a model thinks of a continuation."""

    id: str
    log_probs: tuple[float, ...]
    """natural logarithms, one a token from `start` on"""
    seconds: float
    is_greedy: bool
    """True if every scored token was the likeliest one"""


class LogProbBackend(Protocol):
    """Scores given texts."""

    def log_probs(
        self, continuations: Sequence[Continuation], done: AbstractSet[str] = frozenset()
    ) -> Iterator[list[ContinuationScore]]:
        """Yield scores batch by batch, in any order.

        Args:
            continuations: all that are to be scored; each with `1 <= start < len(token_ids)`.
            done: ids that an earlier attempt scored.
        """

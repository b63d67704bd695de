"""What asking costs: prices, what was spent, and a cap that is kept before money is spent and not after.

A request is sent only when the most it can cost still fits: its prompt at one token a byte, its answer at the longest,
all at the full price. While requests are out their most is held back; when one is back its true cost takes the place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tunewright.backends.protocol import Completion
from tunewright.backends.wire import Usage
from tunewright.errors import GateFailed, UserError

PER_MILLION = 1e-6


class BudgetReached(GateFailed):
    """The next request could cost more than is left. What is done is kept."""


@dataclass(frozen=True)
class Prices:
    """USD per million tokens, from the vendor's list. Tokens from its cache cost as others unless said."""

    prompt: float = 0.0
    completion: float = 0.0
    cached_prompt: float | None = None

    def __post_init__(self) -> None:
        for name in ("prompt", "completion", "cached_prompt"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UserError(f"a price of {value}", where=f"prices.{name}", expected="USD per million tokens, ≥ 0")

    def cost_usd(self, usage: Usage) -> float:
        """Return what a request cost."""
        cached_price = self.prompt if self.cached_prompt is None else self.cached_prompt
        cached = min(usage.cached, usage.prompt)
        prompt = (usage.prompt - cached) * self.prompt + cached * cached_price
        return (prompt + usage.completion * self.completion) * PER_MILLION

    def most_usd(self, usage: Usage) -> float:
        """Return the most it can cost: nothing from a cache, or all of it where that is dearer."""
        dearest = max(self.prompt, self.cached_prompt or 0.0)
        return (usage.prompt * dearest + usage.completion * self.completion) * PER_MILLION


@dataclass(frozen=True)
class Budget:
    """The most that may be spent, in USD and in tokens (prompt and answer); None is no cap."""

    usd: float | None = None
    tokens: int | None = None


@dataclass
class Spending:
    """What was spent so far. `unknown_*` is the most that requests may have cost whose end was not seen."""

    prices: Prices = field(default_factory=Prices)
    budget: Budget = field(default_factory=Budget)
    requests: int = 0
    retries: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    unknown_tokens: int = 0
    unknown_usd: float = 0.0
    held_tokens: int = 0
    held_usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of prompts and answers, those of requests whose end was not seen at their most."""
        return self.prompt_tokens + self.completion_tokens + self.unknown_tokens

    def fits(self, most: Usage) -> bool:
        """True if a request that takes `most` keeps the cap beside all that is out."""
        tokens = self.tokens + self.held_tokens + most.prompt + most.completion
        usd = self.usd + self.unknown_usd + self.held_usd + self.prices.most_usd(most)
        too_many = self.budget.tokens is not None and tokens > self.budget.tokens
        return not too_many and (self.budget.usd is None or usd <= self.budget.usd + 1e-12)

    def hold(self, most: Usage, sign: int = 1) -> None:
        """Hold `most` back while a request is out; with `sign=-1` give it free."""
        self.held_tokens += sign * (most.prompt + most.completion)
        self.held_usd = max(0.0, self.held_usd + sign * self.prices.most_usd(most))

    def book(self, usage: Usage) -> float:
        """Book a request that came home; return its cost in USD."""
        cost = self.prices.cost_usd(usage)
        self.prompt_tokens += usage.prompt
        self.completion_tokens += usage.completion
        self.usd += cost
        return cost

    def book_earlier(self, completions: Iterable[Completion]) -> None:
        """Book what earlier attempts at the same evaluation spent; errors of a row are in its last cost."""
        for completion in completions:
            self.usd += completion.cost_usd
            self.prompt_tokens += completion.prompt_tokens or 0
            self.completion_tokens += completion.answer_tokens or 0

    def book_unknown(self, most: Usage) -> float:
        """Book the most for a request that may have been answered, and billed, unseen; return it in USD."""
        cost = self.prices.most_usd(most)
        self.unknown_tokens += most.prompt + most.completion
        self.unknown_usd += cost
        return cost

    def reached(self, left: int) -> BudgetReached:
        """Return the error that says the cap is reached with `left` prompts not asked."""
        caps = [f"{self.budget.usd} USD"] if self.budget.usd is not None else []
        caps += [f"{self.budget.tokens} tokens"] if self.budget.tokens is not None else []
        return BudgetReached(
            f"the budget is reached with {left} prompt{'s' if left != 1 else ''} not asked: "
            f"{self.usd + self.unknown_usd:.6f} USD and {self.tokens} tokens are spent",
            where="budget",
            expected="the most that the next request can cost within " + " and ".join(caps),
            fix="raise the budget and give the same command again: what is done is kept",
        )

    def as_json(self) -> dict[str, Any]:
        """Return what was spent, for a record."""
        names = ("requests", "retries", "cache_hits", "prompt_tokens", "completion_tokens", "usd", "unknown_tokens")
        return {name: getattr(self, name) for name in (*names, "unknown_usd")}

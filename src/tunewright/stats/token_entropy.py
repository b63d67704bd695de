"""What token entropies add up to: means with intervals, distribution, roles, positions, forking tokens, two models.

Pure: `TokenRow`s in, plain frozen values out (`dataclasses.asdict` makes JSON of them). Unless said otherwise the
figures are over trained tokens, those of the answers: what a loss sees. Entropies and NLLs are in nats.

Intervals come from a bootstrap over rows, since the tokens of one row stand and fall together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tunewright.artifacts.tokens import Token, TokenRow
from tunewright.stats.intervals import mean_interval

ROLES = ("system", "user", "tool", "assistant", "template")
LOWEST_EDGE = 1e-4  # half of all tokens lie far below (arXiv:2506.01939): they are one bar, "as good as sure"
EDGES = tuple(float(f"{10**power:.4g}") for power in np.arange(-4, 1.26, 0.25))
"""of the histogram, in nats: four bins a decade, past ln V of any vocabulary; the first bin is all below"""
NUM_PARTS = 10
MOST_FORKS = 16
ENOUGH_FORKS = 8
MOST_CHANGED = 10
LEAST_CHANGE = 0.01  # nats
FEWEST_ROWS = 3  # a bootstrap over fewer rows says nothing
SEED = 7


class Place(NamedTuple):
    """Where a token stands."""

    row: str
    position: int


@dataclass(frozen=True)
class Measure:
    """Some tokens together."""

    tokens: int
    mean_entropy: float
    median_entropy: float
    mean_nll: float
    accuracy: float
    """share of the tokens that are the model's first choice"""
    interval: tuple[float, float] | None = None
    """95%, of the mean entropy; None for fewer than three rows"""


@dataclass(frozen=True)
class Fork:
    """A token in whose place the model is unsure: what stands where the text could go on in several ways."""

    text: str
    tokens: int
    mean_entropy: float
    mean_nll: float
    example: Place
    """where its entropy is highest"""


@dataclass(frozen=True)
class EntropySummary:
    """One model on some rows."""

    rows: int
    trained: Measure
    by_role: dict[str, Measure]
    by_position: list[Measure | None]
    """tenths of the answers, from first to last token; None for a tenth without tokens"""
    histogram: list[int]
    """trained tokens below EDGES[0], between neighbouring EDGES"""
    nll_by_entropy_decile: list[float]
    """share of the summed NLL, from the surest tenth of the tokens to the least sure"""
    forks: list[Fork]


@dataclass(frozen=True)
class Change:
    """A token under two models, the mean over its occurrences."""

    text: str
    tokens: int
    entropy: tuple[float, float]
    nll: tuple[float, float]
    example: Place
    """where its entropy changed most"""

    @property
    def difference(self) -> float:
        """Entropy of the second model minus that of the first."""
        return self.entropy[1] - self.entropy[0]


@dataclass(frozen=True)
class EntropyChange:
    """The second model against the first, on the same tokens."""

    difference: float
    """of mean entropy over trained tokens"""
    interval: tuple[float, float] | None
    """95%; None for fewer than three rows"""
    nll_difference: float
    surer: float
    """share of the trained tokens whose entropy fell by more than LEAST_CHANGE"""
    less_sure: float
    fell: list[Change]
    rose: list[Change]
    """the tokens whose mean entropy changed most, by more than LEAST_CHANGE; the largest change first"""


def entropy_summary(rows: Sequence[TokenRow]) -> EntropySummary:
    """Return what the entropies of `rows` add up to.

    Raises:
        ValueError: no trained token is predicted by anything.
    """
    trained = [(row.id, token) for row, token in _predicted(rows) if token.trained]
    if not trained:
        raise ValueError("no trained tokens")
    return EntropySummary(
        rows=len(rows),
        trained=_measure(trained),
        by_role={role: _measure(found) for role in ROLES if (found := _of_role(rows, role))},
        by_position=[_measure(part) if part else None for part in _by_position(rows)],
        histogram=histogram([_entropy(token) for _, token in trained]),
        nll_by_entropy_decile=nll_by_entropy_decile([token for _, token in trained]),
        forks=_forks(trained),
    )


def _predicted(rows: Iterable[TokenRow]) -> Iterable[tuple[TokenRow, Token]]:
    return ((row, token) for row in rows for token in row.tokens if token.entropy is not None)


def _of_role(rows: Sequence[TokenRow], role: str) -> list[tuple[str, Token]]:
    return [(row.id, token) for row, token in _predicted(rows) if token.role == role]


def _entropy(token: Token) -> float:
    return token.entropy or 0.0


def _nll(token: Token) -> float:
    return token.nll or 0.0


def _measure(tokens: Sequence[tuple[str, Token]]) -> Measure:
    entropies = [_entropy(token) for _, token in tokens]
    return Measure(
        tokens=len(tokens),
        mean_entropy=float(np.mean(entropies)),
        median_entropy=float(np.median(entropies)),
        mean_nll=float(np.mean([_nll(token) for _, token in tokens])),
        accuracy=sum(token.rank == 1 for _, token in tokens) / len(tokens),
        interval=_interval(entropies, [row for row, _ in tokens]),
    )


def _interval(values: Sequence[float], rows: Sequence[str]) -> tuple[float, float] | None:
    return mean_interval(values, rows, seed=SEED) if len(set(rows)) >= FEWEST_ROWS else None


def _by_position(rows: Sequence[TokenRow]) -> list[list[tuple[str, Token]]]:
    """Return the trained tokens of each tenth of their answers; a row's answers count as one."""
    parts: list[list[tuple[str, Token]]] = [[] for _ in range(NUM_PARTS)]
    for row in rows:
        answer = [token for token in row.tokens if token.trained and token.entropy is not None]
        for index, token in enumerate(answer):
            parts[NUM_PARTS * index // len(answer)].append((row.id, token))
    return parts


def histogram(entropies: Sequence[float]) -> list[int]:
    """Return how many entropies lie below EDGES[0], and between neighbouring EDGES."""
    inside = np.histogram(np.asarray(entropies, float), bins=[-np.inf, *EDGES])[0]
    return [int(count) for count in inside]


def nll_by_entropy_decile(tokens: Sequence[Token]) -> list[float]:
    """Return the share of the summed NLL that each tenth of the tokens carries, the surest tenth first.

    Tokens of equal entropy keep their order. The shares sum to 1, or are all 0 where nothing surprises the model.
    """
    order = np.argsort([_entropy(token) for token in tokens], kind="stable")
    nll = np.asarray([_nll(token) for token in tokens])[order]
    total = float(nll.sum())
    return [float(part.sum()) / total if total else 0.0 for part in np.array_split(nll, NUM_PARTS)]


def _forks(trained: Sequence[tuple[str, Token]]) -> list[Fork]:
    """Return the tokens of highest mean entropy, above the mean of all; of those that occur thrice if they are enough.

    A single occurrence says more of its place than of the token.
    """
    by_text: dict[str, list[tuple[str, Token]]] = defaultdict(list)
    for row, token in trained:
        by_text[token.text].append((row, token))
    mean = float(np.mean([_entropy(token) for _, token in trained]))
    forks = [
        fork for text, found in by_text.items() if text.strip() and (fork := _fork(text, found)).mean_entropy > mean
    ]
    least = next((least for least in (3, 2) if sum(fork.tokens >= least for fork in forks) >= ENOUGH_FORKS), 1)
    often = [fork for fork in forks if fork.tokens >= least]
    return sorted(often, key=lambda fork: -fork.mean_entropy)[:MOST_FORKS]


def _fork(text: str, found: Sequence[tuple[str, Token]]) -> Fork:
    row, highest = max(found, key=lambda item: _entropy(item[1]))
    return Fork(
        text=text,
        tokens=len(found),
        mean_entropy=_mean(_entropy, [token for _, token in found]),
        mean_nll=_mean(_nll, [token for _, token in found]),
        example=Place(row, highest.position),
    )


def entropy_change(before: Sequence[TokenRow], after: Sequence[TokenRow]) -> EntropyChange:
    """Compare two models on the same tokens.

    Raises:
        ValueError: the rows are not the same tokens, or none is trained.
    """
    pairs = _pairs(before, after)
    if not pairs:
        raise ValueError("no trained tokens")
    differences = [_entropy(new) - _entropy(old) for _, old, new in pairs]
    changes = sorted(_by_text(pairs), key=lambda change: change.difference)
    return EntropyChange(
        difference=float(np.mean(differences)),
        interval=_interval(differences, [row for row, _, _ in pairs]),
        nll_difference=float(np.mean([_nll(new) - _nll(old) for _, old, new in pairs])),
        surer=sum(value < -LEAST_CHANGE for value in differences) / len(pairs),
        less_sure=sum(value > LEAST_CHANGE for value in differences) / len(pairs),
        fell=[change for change in changes[:MOST_CHANGED] if change.difference < -LEAST_CHANGE],
        rose=[change for change in changes[: -MOST_CHANGED - 1 : -1] if change.difference > LEAST_CHANGE],
    )


Pair = tuple[str, Token, Token]
"""row, a token under the first model, the same under the second"""


def _pairs(before: Sequence[TokenRow], after: Sequence[TokenRow]) -> list[Pair]:
    """Return the trained tokens under both models."""
    pairs = []
    for old_row, new_row in zip(before, after, strict=True):
        for old, new in zip(old_row.tokens, new_row.tokens, strict=True):
            if (old_row.id, old.id) != (new_row.id, new.id):
                raise ValueError(f"row {old_row.id}, token {old.position}: {old.text!r} against {new.text!r}")
            if new.trained and new.entropy is not None:
                pairs.append((new_row.id, old, new))
    return pairs


def _by_text(pairs: Sequence[Pair]) -> list[Change]:
    by_text: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_text[pair[2].text].append(pair)
    return [_change(text, found) for text, found in by_text.items()]


def _change(text: str, found: Sequence[Pair]) -> Change:
    row, _, token = max(found, key=lambda pair: abs(_entropy(pair[2]) - _entropy(pair[1])))
    old, new = ([pair[side] for pair in found] for side in (1, 2))
    return Change(
        text=text,
        tokens=len(found),
        entropy=(_mean(_entropy, old), _mean(_entropy, new)),
        nll=(_mean(_nll, old), _mean(_nll, new)),
        example=Place(row, token.position),
    )


def _mean(figure: Callable[[Token], float], tokens: Sequence[Any]) -> float:
    return float(np.mean([figure(token) for token in tokens]))

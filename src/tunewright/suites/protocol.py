"""What a suite is: it scores one answer against one row, and says which rows each metric counts.

A suite either lets the model write (`generate`) and scores the text, or asks how probable texts are (`log_probs`): then
it names the `candidates` of each row, and what the model said of them is written down as JSON (`log_probs_answer`) and
scored like any other answer. So every score can be computed again from the answers on disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import UserError

if TYPE_CHECKING:
    from tunewright.artifacts.scores import ScoreRow
    from tunewright.graders.protocol import Grader


@dataclass(frozen=True)
class Scored:
    """The score of one answer. A row outside a metric's denominator lacks that metric in `scores`."""

    scores: dict[str, float]
    reason: str
    parsed: Any = None
    failure: str = ""
    """the failure class, one of the suite's closed list; "" where the answer is right"""
    error: str | None = None
    """why the answer could not be scored; then `scores` is empty: an error is never a 0"""


@dataclass(frozen=True)
class Metric:
    """A metric, its denominator in words, and whether its scores are 0 or 1."""

    name: str
    denominator: str
    binary: bool = True
    higher_is_better: bool = True


@dataclass(frozen=True)
class Candidate:
    """A text whose log-probability is asked for.

    It stands after `messages`, rendered with the generation prompt as for an answer; without messages it stands alone,
    after the tokenizer's own start token and with no template. Its own tokens get no special ones.
    """

    name: str
    text: str
    messages: Sequence[dict[str, Any]] | None = None


@dataclass(frozen=True)
class CandidateScore:
    """What the model said of one candidate: the log-probability (nats) of each of its tokens."""

    name: str
    log_probs: Sequence[float]
    num_bytes: int
    """UTF-8 bytes of the text that those tokens are"""
    is_greedy: bool = False


MAX_NEW_TOKENS: Final = 128  # of an answer, where neither recipe nor suite says it


@dataclass(frozen=True)
class Suite:
    """A named way of scoring.

    `rows(seed, limit)` is there for suites that bring their own rows. `candidates(row)` is there where `mode` is
    `log_probs`. `aggregate(rows)` returns the metrics that are no mean over rows, as metric -> value over exactly those
    rows, and leaves out what cannot be computed; their intervals come from a bootstrap over clusters.
    """

    name: str
    metrics: tuple[Metric, ...]
    score: Scorer
    main_metric: str = field(default="")
    mode: Literal["generate", "log_probs"] = "generate"
    rows: Callable[[int, int | None], list[ChatRow]] | None = None
    cluster: str = "group"
    """what rows share that are not independent: `group`, `source`, or `meta.KEY`"""
    max_new_tokens: int | None = None
    aggregate: Callable[[Sequence[ScoreRow]], dict[str, float]] | None = None
    candidates: Callable[[ChatRow], list[Candidate]] | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """fields of `backends.protocol.Sampling` that the suite fixes"""
    graders: tuple[Grader, ...] = ()
    """the graders it scores with, where it has any: a judge must not be the model that answers"""

    def longest_answer(self, told: int | None) -> int:
        """Return the tokens that an answer may have: what a recipe tells, else the suite's own, else the default."""
        return told or self.max_new_tokens or MAX_NEW_TOKENS


class Scorer(Protocol):
    """Scores one answer."""

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Return the scores of `answer` for `row`. Never raises for anything a model may say."""


def score_all(score: Scorer, answers: Sequence[str], rows: Sequence[ChatRow]) -> list[Scored]:
    """Score `answers[i]` against `rows[i]`, with the scorer's own `score_all` where it has one."""
    own = getattr(score, "score_all", None)
    if own is not None:
        return list(own(answers, rows))
    return [score(answer, row) for answer, row in zip(answers, rows, strict=True)]


def cluster_of(row: ChatRow, key: str) -> str:
    """Return the cluster of `row` by a suite's `cluster` key; a row without one is its own."""
    value = row.meta.get(key.removeprefix("meta.")) if key.startswith("meta.") else getattr(row, key)
    return str(value) if value not in (None, "") else row.id


def log_probs_answer(scores: Sequence[CandidateScore]) -> str:
    """Return what a model said of a row's candidates as the row's answer: JSON, one object a candidate."""
    return json.dumps(
        [
            {
                "name": score.name,
                "log_prob": sum(score.log_probs),
                "num_tokens": len(score.log_probs),
                "num_bytes": score.num_bytes,
                "is_greedy": score.is_greedy,
            }
            for score in scores
        ]
    )


_SUITES: dict[str, str] = {
    "tool-calls": "tool_calls",
    "exact-match": "exact_match",
    "extraction": "extraction",
    "instructions": "instructions",
    "keywords": "keywords",
    "multiple-choice": "multiple_choice",
    "multiple-choice-letter": "multiple_choice",
    "reasoning-gym": "reasoning_gym",
    "ranking": "ranking",
    "perplexity": "perplexity",
    "sample": "sample",
}
"""suite -> the module that makes it: its `make_suite(name, options)`, or its `SUITE` where it has no options"""


def find_suite(name: str, options: Mapping[str, Any] | None = None) -> Suite:
    """Return the suite that `name` names: a built-in one, a YAML file, or a Python object as `module:name`.

    Args:
        name: a key of `tunewright.suites.METRICS`, a path that ends in .yaml or .yml, or `module:name`.
        options: what the suite can be told; docs/suites.md has each suite's.

    Raises:
        UserError: no such suite, or an option it does not have.
        RecipeError: the file has mistakes; each with its line.
    """
    options = dict(options or {})
    if name not in _SUITES:
        from tunewright.suites.load import load_suite

        return load_suite(name, options)
    module = import_module(f"tunewright.suites.{_SUITES[name]}")
    if hasattr(module, "make_suite"):
        made: Suite = module.make_suite(name, options)
        return made
    if options:
        given = ", ".join(sorted(options))
        raise UserError(f"it has no options, and was given {given}", where=f"suite {name}")
    suite: Suite = module.SUITE
    return suite

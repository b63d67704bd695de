"""Suite `keywords`: does the answer say what it must, and nothing it must not?

reads    `meta.keywords`: {all: [...], any: [...], none: [...]}; the options of the same names hold for every row too

    keywords        1 if every keyword of `all` stands in the answer, one or more of `any`, and none of `none`
    keyword_share   the share of these conditions that hold: each of `all`, `any` as one, each of `none`

A keyword is a whole word unless `whole_words: false`: no letter, digit or _ right before or behind it. Case does not
matter unless `case: true`, and any run of white space is as good as any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from tunewright.artifacts.dataset import ChatRow
from tunewright.suites import MAIN_METRIC
from tunewright.suites.options import Options, read_options
from tunewright.suites.protocol import Metric, Scored, Suite

_ROWS = "rows with a keyword that is wanted or forbidden"


class Conditions(Options):
    """Which words an answer must and must not have."""

    all: tuple[str, ...] = Field(default=(), description="each must stand in the answer")
    any: tuple[str, ...] = Field(default=(), description="one or more must")
    none: tuple[str, ...] = Field(default=(), description="none may")


class KeywordOptions(Conditions):
    """Options of the suite."""

    case: bool = Field(default=False, description="true: `Paris` is not `paris`")
    whole_words: bool = Field(default=True, description="false: `art` is found in `party` too")


def count_of(keyword: str, text: str, case: bool = False, whole_words: bool = True) -> int:
    """Return how often `keyword` stands in `text`, without overlaps."""
    pattern = r"\s+".join(re.escape(word) for word in keyword.split())
    if not pattern:
        return 0
    bounded = rf"(?<!\w){pattern}(?!\w)" if whole_words else pattern
    return len(re.findall(bounded, text, 0 if case else re.IGNORECASE))


@dataclass(frozen=True)
class Keywords:
    """Scores the words of an answer."""

    options: KeywordOptions

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Score `answer` against the conditions of the row and of the suite."""
        try:
            own = Conditions.model_validate(row.meta.get("keywords") or {})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(step) for step in first["loc"])
            return Scored({}, "unscored", error=f"row {row.id}: meta.keywords.{place}: {first['msg']}")
        found = [
            *(self._must(word, answer) for word in (*self.options.all, *own.all)),
            *(self._one_of(words, answer) for words in (self.options.any, own.any) if words),
            *(self._must_not(word, answer) for word in (*self.options.none, *own.none)),
        ]
        return _scored(found)

    def _has(self, word: str, answer: str) -> bool:
        return count_of(word, answer, self.options.case, self.options.whole_words) > 0

    def _must(self, word: str, answer: str) -> tuple[bool, str]:
        return self._has(word, answer), f"lacks {word!r}"

    def _one_of(self, words: Sequence[str], answer: str) -> tuple[bool, str]:
        return any(self._has(word, answer) for word in words), f"has none of {', '.join(map(repr, words))}"

    def _must_not(self, word: str, answer: str) -> tuple[bool, str]:
        return not self._has(word, answer), f"says {word!r}"


def _scored(found: list[tuple[bool, str]]) -> Scored:
    if not found:
        return Scored({}, "no keyword asked for")
    wrong = [why for holds, why in found if not holds]
    scores = {"keywords": float(not wrong), "keyword_share": 1 - len(wrong) / len(found)}
    failure = "" if not wrong else "forbidden word" if any(why.startswith("says") for why in wrong) else "missing word"
    return Scored(scores, f"{failure}: {'; '.join(wrong)}" if wrong else "as asked", wrong, failure)


def make_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite.

    Raises:
        SuiteError: an option is wrong.
    """
    return Suite(
        name=name,
        metrics=(Metric("keywords", _ROWS), Metric("keyword_share", _ROWS, binary=False)),
        score=Keywords(read_options(KeywordOptions, options, f"suite {name}")),
        main_metric=MAIN_METRIC[name],
    )

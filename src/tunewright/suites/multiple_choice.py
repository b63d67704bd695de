"""Suites `multiple-choice` and `multiple-choice-letter`: does the model know which of some choices is right?

reads    `meta.choices`, a list of texts, and `meta.answer`, the index (from 0) or the letter of the right one; without
         `meta.answer`, the reference's text is the right choice or its letter

`multiple-choice` asks how probable each choice is as the answer, and takes the most probable one:

    accuracy                 by the sum of the log-probabilities of its tokens
    accuracy_per_token       by their mean over tokens
    accuracy_per_byte        by their sum over the bytes of the text: lm-evaluation-harness's acc_norm, in bytes
    accuracy_unconditional   by log p(choice | question) - log p(choice): option `unconditional: true`

Where two choices are equally probable, and the best, the model has not chosen: wrong (a harness that takes the first
gives a constant model the share of first answers).

`multiple-choice-letter` lets the model write, and reads the letter strictly; the choices stand in the question:

    accuracy       1 if the letter is the right one; an answer that is no choice is wrong
    valid_letter   1 if the answer is a choice: `B`, `(B)`, `B.`, `B) text`, `**B**`, or one `answer is B` in a text
"""

from __future__ import annotations

import json
import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError
from tunewright.suites import MAIN_METRIC
from tunewright.suites.options import Options, read_options
from tunewright.suites.protocol import Candidate, Metric, Scored, Suite

_ROWS: Final = "all rows"
_LETTERS: Final = string.ascii_uppercase
_UNCONDITIONAL: Final = "unconditional:"


class ChoiceOptions(Options):
    """Options of `multiple-choice`."""

    unconditional: bool = Field(
        default=False, description="also ask how probable each choice is without the question; twice the work"
    )


class LetterOptions(Options):
    """Options of `multiple-choice-letter`: none."""


def choices_of(row: ChatRow) -> tuple[list[str], int]:
    """Return the choices of a row and the index of the right one.

    Raises:
        DataError: there are no two choices, more than 26, or none of them is said to be right.
    """
    where = f"row {row.id}"
    choices = row.meta.get("choices")
    if not (isinstance(choices, list) and 2 <= len(choices) <= len(_LETTERS)):
        raise DataError("`meta.choices` is no list of 2 to 26 choices", where=where, expected="a list of texts")
    if not all(isinstance(choice, str) and choice for choice in choices):
        raise DataError(
            "`meta.choices` holds something else than text", where=where, expected="texts that are not empty"
        )
    said = row.meta.get("answer", row.answer.get("content"))
    right = _index(said, choices)
    if right is None:
        raise DataError(
            f"{said!r} is none of its choices", where=where, expected="`meta.answer`: an index from 0, or a letter"
        )
    return choices, right


def _index(said: Any, choices: list[str]) -> int | None:
    if isinstance(said, int) and not isinstance(said, bool):
        return said if 0 <= said < len(choices) else None
    text = str(said or "").strip()
    if choices.count(text) == 1:
        return choices.index(text)
    place = _LETTERS.find(text) if len(text) == 1 else -1
    return place if 0 <= place < len(choices) else None


# ── by log-probability ──────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Candidates:
    """Names the texts whose probability is asked for: each choice after the question, and perhaps alone."""

    unconditional: bool = False

    def __call__(self, row: ChatRow) -> list[Candidate]:
        """Return the candidates of a row.

        Raises:
            DataError: the row has no choices.
        """
        choices, _ = choices_of(row)
        found = [Candidate(str(index), text, row.prompt) for index, text in enumerate(choices)]
        if self.unconditional:
            found += [Candidate(f"{_UNCONDITIONAL}{index}", text) for index, text in enumerate(choices)]
        return found


_WEIGHTS: Final[dict[str, Callable[[Mapping[str, Any]], float]]] = {
    "accuracy": lambda said: said["log_prob"],
    "accuracy_per_token": lambda said: said["log_prob"] / max(said["num_tokens"], 1),
    "accuracy_per_byte": lambda said: said["log_prob"] / max(said["num_bytes"], 1),
}


def score_log_probs(answer: str, row: ChatRow) -> Scored:
    """Score what a model said of a row's candidates: the JSON of `log_probs_answer`."""
    try:
        choices, right = choices_of(row)
        said = {one["name"]: one for one in json.loads(answer)}
        weights = _weights(said, len(choices))
    except DataError as error:
        return Scored({}, "unscored", error=str(error))
    except (ValueError, KeyError, TypeError) as error:
        return Scored({}, "unscored", error=f"no log-probabilities of the choices: {error!r}")
    if any(math.isnan(value) for values in weights.values() for value in values):
        return Scored({}, "unscored", error="the model's log-probabilities are not numbers")
    picks = {metric: _best(values) for metric, values in weights.items()}
    pick = picks["accuracy"]
    scores = {metric: float(index == right) for metric, index in picks.items()}
    shown = {metric: choices[index] if index is not None else None for metric, index in picks.items()}
    failure = "" if pick == right else "tie" if pick is None else "wrong choice"
    return Scored(scores, failure or "right", shown, failure)


def _weights(said: Mapping[str, Mapping[str, Any]], count: int) -> dict[str, list[float]]:
    found = {metric: [weigh(said[str(index)]) for index in range(count)] for metric, weigh in _WEIGHTS.items()}
    if f"{_UNCONDITIONAL}0" in said:
        found["accuracy_unconditional"] = [
            said[str(index)]["log_prob"] - said[f"{_UNCONDITIONAL}{index}"]["log_prob"] for index in range(count)
        ]
    return found


def _best(values: Sequence[float]) -> int | None:
    """Return the index of the largest value, or None where two share it."""
    largest = max(values)
    return values.index(largest) if values.count(largest) == 1 else None


# ── by generation ───────────────────────────────────────────────────────────────────────────────────────────────────

_WHOLE: Final = re.compile(r"\(?([A-Z])\)?[.:)]?")
_LEADING: Final = re.compile(r"(?:\(([A-Z])\)|([A-Z])[.:)])\s")
_PHRASE: Final = re.compile(r"\banswer(?: is|:| is:)[ \t]{1,4}\(?([A-Z])\b(?!['’])", re.IGNORECASE)


def letter_of(answer: str) -> str | None:
    """Return the letter that an answer gives, or None where it gives none, or several.

    A letter counts where it stands alone, in front of the text of a choice with a mark behind it, or as the only letter
    of all `answer is X` and `answer: X`. A capital in running text (`A dog`, `I think`) is none.
    """
    text = answer.strip().replace("*", "").replace("`", "").strip()
    if match := _WHOLE.fullmatch(text):
        return match[1]
    if match := _LEADING.match(text):
        return match[1] or match[2]
    said = {letter for letter in _PHRASE.findall(text) if letter.isupper()}
    return said.pop() if len(said) == 1 else None


def score_letter(answer: str, row: ChatRow) -> Scored:
    """Score the letter that `answer` gives."""
    try:
        choices, right = choices_of(row)
    except DataError as error:
        return Scored({}, "unscored", error=str(error))
    letter = letter_of(answer)
    valid = letter is not None and letter in _LETTERS[: len(choices)]
    correct = letter == _LETTERS[right]
    failure = "" if correct else "wrong choice" if valid else "no choice" if letter is None else "no such choice"
    scores = {"accuracy": float(correct), "valid_letter": float(valid)}
    return Scored(scores, failure or "right", letter, failure)


def make_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite `name`.

    Raises:
        SuiteError: an option is wrong.
    """
    if name == "multiple-choice-letter":
        read_options(LetterOptions, options, f"suite {name}")
        metrics = tuple(Metric(metric, _ROWS) for metric in ("accuracy", "valid_letter"))
        return Suite(name, metrics, score_letter, MAIN_METRIC[name])
    told = read_options(ChoiceOptions, options, f"suite {name}")
    names = [*_WEIGHTS, *(["accuracy_unconditional"] if told.unconditional else [])]
    return Suite(
        name=name,
        metrics=tuple(Metric(metric, _ROWS) for metric in names),
        score=score_log_probs,
        main_metric=MAIN_METRIC[name],
        mode="log_probs",
        candidates=Candidates(told.unconditional),
    )

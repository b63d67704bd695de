"""Suite `reasoning-gym`: puzzles made on the spot, each with its own verifier.

makes    rows of any generator of the package reasoning-gym, by name, from a seed: nothing to download, and no model can
         have seen them
reads    `meta.reasoning_gym` of a row: {task, config, seed, index}, from which the puzzle is made again and verified

    correct   1 if the verifier gives the full score
    score     the verifier's score; some give a part of it for a right form

The answer is what stands in the last `<answer>…</answer>`, which the rows ask for (`answer: whole` takes all of it).
Nine verifiers evaluate the answer as Python or as a formula. What is no plain literal or formula is refused before it
reaches them, and wrong: an answer is never run. (So is an `Integral(…)` that is left as it stands: it is the question.)
An answer that makes the verifier fail, while it takes the puzzle's own, is wrong too; five generators have no answer
of their own, and rows without a reference.

Package: Stojanovski et al. 2025, arXiv:2505.24760, Apache-2.0.
"""

from __future__ import annotations

import copy
import importlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import Field

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.errors import DataError, MissingExtra, UserError
from tunewright.recipe.explain import nearest
from tunewright.suites import MAIN_METRIC
from tunewright.suites.formula import is_formula, is_literal
from tunewright.suites.options import Options, read_options
from tunewright.suites.protocol import Metric, Scored, Suite

SYSTEM: Final = (
    "Think briefly, then give your final answer between <answer> and </answer>, and nothing but the answer there. "
    "Where the question shows an example, follow the form of its answer."
)
DEFAULT_ROWS: Final = 100
_MAX_ANSWER_CHARS: Final = 20_000

# Found by reading version 0.1.25: `eval(answer)`, and sympy's parse_expr, which evaluates too.
_EVALUATE_PYTHON: Final = {"string_insertion", "spiral_matrix", "binary_matrix", "n_queens"}
_EVALUATE_FORMULA: Final = {"simple_integration", "intermediate_integration", "polynomial_multiplication"}
_EVALUATE_NUMBERS: Final = {"puzzle24", "countdown"}
_BROKEN: Final = {"game_of_life_halting": "its verifier gives any text the full score (`bool(answer)`, version 0.1.25)"}


class Task(Options):
    """One generator."""

    name: str = Field(description="a generator of reasoning-gym: chain_sum")
    config: dict[str, Any] = Field(default={}, description="its settings, by its own names")


class GymOptions(Options):
    """Options of the suite."""

    tasks: tuple[Task | str, ...] = Field(min_length=1, description="generators, by name or with settings")
    rows: int = Field(default=DEFAULT_ROWS, ge=1, description="rows a generator")
    answer: Literal["tag", "whole"] = Field(
        default="tag", description="`tag`: the answer stands in <answer> tags, which the rows ask for"
    )


def make_rows(options: GymOptions, seed: int, limit: int | None = None) -> list[ChatRow]:
    """Return the rows of every generator, taken in turn, so that the first rows are of all of them.

    Raises:
        UserError: no such generator, or settings it does not take. MissingExtra: reasoning-gym is not installed.
    """
    tasks = [Task(name=task) if isinstance(task, str) else task for task in options.tasks]
    turns = [(index, task) for index in range(options.rows) for task in tasks]
    return [_row(task, options, seed, index) for index, task in turns[:limit]]


def _row(task: Task, options: GymOptions, seed: int, index: int) -> ChatRow:
    origin = {"task": task.name, "config": task.config, "seed": seed, "index": index, "size": options.rows}
    entry = entry_of(origin)
    system = [{"role": "system", "content": SYSTEM}] if options.answer == "tag" else []
    gold = "" if entry["answer"] is None else str(entry["answer"])
    settings = f"-{fingerprint(task.config)[:6]}" if task.config else ""
    return ChatRow(
        id=f"{task.name}{settings}-{seed}-{index}",
        messages=[
            *system,
            {"role": "user", "content": entry["question"]},
            {"role": "assistant", "content": f"<answer>{gold}</answer>" if gold and options.answer == "tag" else gold},
        ],
        source=task.name,
        group=f"{task.name}{settings}-{seed}-{index}",
        meta={"reasoning_gym": origin},
    )


# ── the package ─────────────────────────────────────────────────────────────────────────────────────────────────────


def entry_of(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the puzzle that `origin` = {task, config, seed, index, size} names: {question, answer, metadata}.

    Raises:
        UserError: no such generator, or settings it does not take. MissingExtra: reasoning-gym is not installed.
    """
    # A copy: a verifier may change what it is given.
    return copy.deepcopy(_cached_entry(_key(origin), int(origin["index"])))


def verify(origin: Mapping[str, Any], answer: str) -> float:
    """Return the score that the puzzle's own verifier gives to `answer`, in [0, 1].

    Raises:
        RefusedAnswer: the verifier would evaluate the answer, and it is no plain literal or formula; or it fails on it.
        DataError: the verifier fails on the puzzle's own answer too, or gave no number.
    """
    task = str(origin["task"])
    entry = entry_of(origin)
    if len(answer) > _MAX_ANSWER_CHARS or not _may_be_evaluated(task, answer):
        raise RefusedAnswer(f"{task} evaluates answers, and this is no plain literal or formula")
    try:
        score = float(_dataset(origin).score_answer(answer, entry))
    except Exception as error:  # a verifier may fail in any way on what a model says
        if _takes_its_own(origin, entry):
            raise RefusedAnswer(f"the verifier of {task} cannot read it: {error!r}"[:300]) from error
        raise DataError(f"its verifier failed: {error!r}"[:300], where=f"reasoning-gym {task}") from error
    if not math.isfinite(score):
        raise DataError(f"its verifier gave {score}", where=f"reasoning-gym {task}")
    return min(max(score, 0.0), 1.0)


def _takes_its_own(origin: Mapping[str, Any], entry: dict[str, Any]) -> bool:
    """True if the verifier gives the puzzle's own answer the full score: then it works, and the answer was at fault."""
    try:
        return bool(_dataset(origin).score_answer(entry["answer"], entry) == 1)
    except Exception:
        return False


class RefusedAnswer(ValueError):
    """An answer that a verifier would have run, or cannot read."""


def _may_be_evaluated(task: str, answer: str) -> bool:
    if task in _EVALUATE_PYTHON:
        return is_literal(answer)
    if task in _EVALUATE_NUMBERS:
        return is_formula(answer, names=False)
    return task not in _EVALUATE_FORMULA or is_formula(answer)


def _dataset(origin: Mapping[str, Any]) -> Any:
    return _cached_dataset(_key(origin))


_Key = tuple[str, str, int, int]
"""task, settings as JSON, seed, size"""


def _key(origin: Mapping[str, Any]) -> _Key:
    return origin["task"], json.dumps(origin["config"], sort_keys=True), origin["seed"], origin["size"]


@lru_cache(maxsize=4096)
def _cached_entry(key: _Key, index: int) -> dict[str, Any]:
    entry: dict[str, Any] = _cached_dataset(key)[index]  # a minute for some puzzles
    return entry


@lru_cache(maxsize=256)
def _cached_dataset(key: _Key) -> Any:
    try:
        factory = importlib.import_module("reasoning_gym.factory")
        importlib.import_module("reasoning_gym")
    except ImportError as error:
        raise MissingExtra.of(error, "eval") from None
    task, settings, seed, size = key
    if task in _BROKEN:
        raise UserError(f"{task} cannot be used: {_BROKEN[task]}", where="suite reasoning-gym", fix="leave it out")
    if task not in factory.DATASETS:
        close = nearest(task, factory.DATASETS)
        raise UserError(
            f"reasoning-gym has no generator {task!r}", where="suite reasoning-gym",
            expected=f"one of its {len(factory.DATASETS)} generators: chain_sum, countdown, …",
            fix=f"did you mean {close}?" if close else None,
        )  # fmt: skip
    try:
        return factory.create_dataset(task, **json.loads(settings), seed=seed, size=size)
    except (TypeError, ValueError, AssertionError) as error:
        raise UserError(f"it does not take these settings: {error}", where=f"reasoning-gym {task}") from None


# ── the suite ───────────────────────────────────────────────────────────────────────────────────────────────────────

_OPEN, _CLOSE = "<answer>", "</answer>"


def tagged(answer: str) -> str | None:
    """Return what stands in the last `<answer>…</answer>`, without white space around it; None where there is none."""
    end = answer.rfind(_CLOSE)
    begin = answer.rfind(_OPEN, 0, max(end, 0))
    return answer[begin + len(_OPEN) : end].strip() if begin >= 0 else None


@dataclass(frozen=True)
class Gym:
    """Scores answers with the verifier of their puzzle."""

    answer: Literal["tag", "whole"] = "tag"

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Score `answer` with the verifier of the row's puzzle."""
        origin = row.meta.get("reasoning_gym")
        said = tagged(answer) if self.answer == "tag" else answer.strip()
        if not isinstance(origin, dict):
            return Scored({}, "unscored", error=f"row {row.id} has no `meta.reasoning_gym`")
        if not said:
            return _wrong("no answer" if said == "" else "no answer tag", said)
        try:
            if entry_of(origin)["question"] != row.prompt[-1]["content"]:
                return Scored(
                    {}, "unscored", error=f"row {row.id}: this version of reasoning-gym asks another question"
                )
            score = verify(origin, said)
        except RefusedAnswer as refused:
            return _wrong("refused", said, f"refused: {refused}")
        except (UserError, MissingExtra, KeyError, TypeError, IndexError) as error:
            return Scored({}, "unscored", error=str(error))
        failure = "" if score == 1 else "wrong answer" if score < 0.5 else "partly right"
        return Scored({"correct": float(score == 1), "score": score}, failure or "right", said, failure)


def _wrong(failure: str, said: str | None, reason: str = "") -> Scored:
    return Scored({"correct": 0.0, "score": 0.0}, reason or failure, said, failure)


def make_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite.

    Raises:
        SuiteError: an option is wrong.
    """
    told = read_options(GymOptions, options, f"suite {name}")
    return Suite(
        name=name,
        metrics=(Metric("correct", "all rows"), Metric("score", "all rows", binary=False)),
        score=Gym(told.answer),
        main_metric=MAIN_METRIC[name],
        rows=lambda seed, limit: make_rows(told, seed, limit),
    )

"""Several answers a question: what K repeats estimate, and how sure that is.

The question is what was sampled, so it is the question that counts: repeats are averaged (or turned into pass@k) first,
and the standard error is taken over questions (Miller 2024, section 3). Repeats shrink the noise within a question and
never the noise between questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunewright.stats.groups import group_index
from tunewright.stats.intervals import mean_and_interval


@dataclass(frozen=True)
class Estimate:
    """A value with its interval and its standard error over questions."""

    value: float
    low: float
    high: float
    standard_error: float
    num_questions: int


def pass_at_k(num_right: int, num_answers: int, k: int) -> float:
    """Return the chance that at least one of k answers is right, unbiased: 1 - C(n-c, k) / C(n, k) (Chen et al. 2021).

    Args:
        num_right: c, how many of the answers are right.
        num_answers: n.
        k: at most n.

    Raises:
        ValueError: k is not in 1..n, or c is not in 0..n.
    """
    _check(num_right, num_answers, k)
    return 1 - math.comb(num_answers - num_right, k) / math.comb(num_answers, k)


def pass_hat_k(num_right: int, num_answers: int, k: int) -> float:
    """Return pass^k, the chance that all of k answers are right, unbiased: C(c, k) / C(n, k) (Yao et al. 2024).

    Raises:
        ValueError: as `pass_at_k`.
    """
    _check(num_right, num_answers, k)
    return math.comb(num_right, k) / math.comb(num_answers, k)


def _check(num_right: int, num_answers: int, k: int) -> None:
    if not 1 <= k <= num_answers:
        raise ValueError(f"k = {k} of {num_answers} answers: k is from 1 to the number of answers")
    if not 0 <= num_right <= num_answers:
        raise ValueError(f"{num_right} right of {num_answers} answers")


def pass_k_estimate(
    right: Sequence[int],
    answers: Sequence[int],
    k: int,
    *,
    all_of_them: bool = False,
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Return pass@k, or pass^k, of a set of questions.

    Args:
        right: how many answers are right, one number a question.
        answers: how many there are, one number a question.
        k: as above; at most the fewest answers.
        all_of_them: pass^k instead of pass@k.
        groups: cluster of each question; None for questions that stand alone.
        confidence: coverage of the interval.
    """
    chance = pass_hat_k if all_of_them else pass_at_k
    values = [chance(c, n, k) for c, n in zip(right, answers, strict=True)]
    return _estimate(np.asarray(values), groups, confidence)


def repeated_mean(
    values: Sequence[float],
    questions: Sequence[str],
    groups: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Return the mean over questions of their mean over repeats.

    Args:
        values: one score an answer.
        questions: the question of each answer.
        groups: cluster of each answer; all answers to one question are of one group.
        confidence: coverage of the interval.
    """
    index, count = group_index(questions)
    means = question_means(values, questions)
    of_question = None
    if groups is not None:
        first = np.unique(index, return_index=True)[1]
        of_question = [groups[at] for at in first]
    assert len(means) == count
    return _estimate(means, of_question, confidence)


def question_means(values: Sequence[float], questions: Sequence[str]) -> NDArray[np.float64]:
    """Return the mean score of every question, questions in the order of their sorted names."""
    index, count = group_index(questions)
    sums = np.bincount(index, weights=np.asarray(values, float), minlength=count)
    return np.asarray(sums / np.bincount(index, minlength=count), dtype=np.float64)


def _estimate(values: NDArray[np.float64], groups: Sequence[str] | None, confidence: float) -> Estimate:
    names = [str(at) for at in range(len(values))] if groups is None else groups
    value, low, high, error = mean_and_interval(values, names, confidence)
    return Estimate(value, low, high, error, len(values))


@dataclass(frozen=True)
class RepeatNoise:
    """Where the variance of a score comes from."""

    between: float
    """variance of the questions' true means"""
    within: float
    """mean variance of the answers to one question"""

    def standard_error(self, num_questions: int, repeats: int) -> float:
        """Return what so many questions with so many repeats would give: sqrt((between + within / K) / n)."""
        return math.sqrt((self.between + self.within / repeats) / num_questions)


def repeat_noise(values: Sequence[float], questions: Sequence[str]) -> RepeatNoise:
    """Split the variance into that between questions and that between answers to one question (one-way ANOVA).

    Raises:
        ValueError: no question has two answers, or there is one question only.
    """
    index, count = group_index(questions)
    scores = np.asarray(values, float)
    sizes = np.bincount(index, minlength=count)
    if count < 2 or sizes.max() < 2:
        raise ValueError("variance within and between needs two questions, and two answers to one of them")
    means = question_means(values, questions)
    within = float(((scores - means[index]) ** 2).sum() / (len(scores) - count))
    between_square = float((sizes * (means - scores.mean()) ** 2).sum() / (count - 1))
    typical = (len(scores) - float((sizes**2).sum()) / len(scores)) / (count - 1)
    return RepeatNoise(max(0.0, (between_square - within) / typical), within)

"""What 200 grades tell of a grader before a training run is paid for: pure measurements, no verdict.

The answers are some of each prompt (25 prompts x 8), for that is what a method with groups learns from: a group whose
scores are all the same teaches nothing, however healthy mean and spread look. "Every prompt solved half the time" and
"half the prompts always, half never" have the same mean, spread and shares; the share of dead groups is 1% and 100%.

reads    graded answers, the self-check, some answers graded again
makes    Measured; `gates/graders.py` makes verdict and diagnosis of it

All scores are shares of the grader's range, 0 at its low end and 1 at its full. Answers that could not be scored are
counted by kind of error and stand in no mean.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tunewright.graders.protocol import Grade, Grader, Row, grade_many
from tunewright.graders.rows import row_id
from tunewright.graders.self_check import FILLER, SelfCheck, range_of, self_check, share_of_range
from tunewright.stats.intervals import metric_interval, rate_interval

PARSE_KINDS = ("sample_parse_error", "model_grader_parse_error", "model_grader_refusal_error")
"""errors that say that an answer, or a judge's reply, could not be read"""
EPSILON = 1e-9
CHECKED_ROWS = 20
REPEATED_ANSWERS = 24
REPEATS = 2
SWAPPED_ANSWERS = 192  # where a grade costs nothing, else REPEATED_ANSWERS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Graded:
    """One answer of a policy, and its grade."""

    row_id: str
    answer: str
    grade: Grade


@dataclass(frozen=True)
class Share:
    """A mean or a rate, with its 95% interval; prompts are drawn as wholes."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Groups:
    """What the groups, the answers to one prompt, are like.

    Args:
        count: groups with at least two scored answers.
        dead: those whose scores are all the same; dead_share: their share, with Wilson's interval.
        answers: answers of a group, the median.
        within, between: standard deviation inside groups, and of the groups' means beyond what `within` explains.
        icc: share of the variance that lies between prompts, the one-way ICC(1); None where nothing varies.
    """

    count: int
    dead: int
    dead_share: Share | None
    answers: int
    within: float
    between: float
    icc: float | None


@dataclass(frozen=True)
class Measured:
    """The measurements of a dry run.

    Args:
        num_prompts, num_answers, num_scored: what was graded.
        mean, std: of the scores. above_zero, at_full: shares of the scored answers.
        lowest, highest: of the scores. num_values: distinct ones.
        groups: see there.
        errors: kind -> answers. error_share: share of the answers that have an error other than a parse failure;
            parse_share: share of those that could not be parsed.
        length_correlation: Spearman's, between score and length inside prompts; None where either does not vary.
            It says nothing of cause: right answers may well be long.
        own_gain: mean of (score - score against the reference of another row), None if not tried or too few.
        padding_gain: mean change of the score when a long empty phrase is put behind an answer; None if not tried.
        repeat_noise: standard deviation of one answer graded again; None if nothing was.
        reliability: 1 - repeat_noise^2 / variance inside prompts; None where that is not known.
        check: the self-check. seconds, seconds_p95, cost_usd: of one grade.
    """

    num_prompts: int
    num_answers: int
    num_scored: int
    mean: Share | None
    std: float
    above_zero: Share | None
    at_full: Share | None
    lowest: float | None
    highest: float | None
    num_values: int
    groups: Groups
    errors: dict[str, int]
    error_share: float
    parse_share: float
    length_correlation: float | None
    padding_gain: float | None
    own_gain: Share | None
    repeat_noise: float | None
    reliability: float | None
    check: SelfCheck
    seconds: float
    seconds_p95: float
    cost_usd: float

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "check"}
        plain = {
            name: asdict(value) if hasattr(value, "__dataclass_fields__") else value for name, value in own.items()
        }
        return {**plain, "check": self.check.as_json()}


def grade_answers(grader: Grader, rows: Sequence[Row], answers: Mapping[str, Sequence[str]]) -> list[Graded]:
    """Grade every answer of every row; rows without answers are left out."""
    pairs = [(row, answer) for row in rows for answer in answers.get(row_id(row), ())]
    grades = grade_many(grader, [answer for _, answer in pairs], [row for row, _ in pairs])
    return [Graded(row_id(row), answer, grade) for (row, answer), grade in zip(pairs, grades, strict=True)]


def examine(grader: Grader, rows: Sequence[Row], graded: Sequence[Graded], seed: int = 0) -> Measured:
    """Return all measurements: the self-check on CHECKED_ROWS rows, and REPEATED_ANSWERS answers again.

    The latter are graded REPEATS times as they are, and once with a long empty phrase behind them. Some answers are
    graded against another row as well: where that scores as well, answers and references do not belong together.

    Args:
        grader: the grader.
        rows: the rows of the graded answers.
        graded: the answers of a policy with their grades.
        seed: chooses the rows and answers of the extra grades.
    """
    chance = random.Random(seed)
    by_id = {row_id(row): row for row in rows}
    asked = [by_id[name] for name in dict.fromkeys(one.row_id for one in graded)]
    check = self_check(grader, chance.sample(asked, min(CHECKED_ROWS, len(asked))))
    scored = [one for one in graded if one.grade.score is not None]
    chosen = chance.sample(scored, min(REPEATED_ANSWERS, len(scored)))
    tried = [text for one in chosen for text in (*[one.answer] * REPEATS, f"{one.answer}\n\n{FILLER}")]
    again = iter(grade_many(grader, tried, [by_id[one.row_id] for one in chosen for _ in range(REPEATS + 1)]))
    extra = [[next(again) for _ in range(REPEATS + 1)] for _ in chosen]
    repeats = [[one.grade, *more[:REPEATS]] for one, more in zip(chosen, extra, strict=True)]
    swapped = _against_another(grader, scored, by_id, chance)
    return measure(graded, check, repeats, [more[REPEATS] for more in extra], range_of(grader), swapped)


def _against_another(
    grader: Grader, scored: Sequence[Graded], by_id: Mapping[str, Row], chance: random.Random
) -> list[tuple[Graded, Grade]]:
    """Return answers, drawn over all prompts, with their grades against another row of the same dry run."""
    free = not any(one.grade.cost_usd for one in scored)
    chosen = chance.sample(scored, min(SWAPPED_ANSWERS if free else REPEATED_ANSWERS, len(scored)))
    names = sorted(by_id)
    if len(names) < 2:
        return []
    others = [chance.choice([name for name in names if name != one.row_id]) for one in chosen]
    grades = grade_many(grader, [one.answer for one in chosen], [by_id[name] for name in others])
    return list(zip(chosen, grades, strict=True))


def measure(
    graded: Sequence[Graded],
    check: SelfCheck,
    repeats: Sequence[Sequence[Grade]] = (),
    padded: Sequence[Grade] = (),
    ends: tuple[float, float] = (0.0, 1.0),
    swapped: Sequence[tuple[Graded, Grade]] = (),
) -> Measured:
    """Return the measurements of graded answers.

    Args:
        graded: every answer, also those without a score.
        check: the self-check.
        repeats: for some answers, the grades of the same answer graded again and again.
        padded: for the same answers, the grade of each with a long empty phrase behind it.
        ends: the grader's range.
        swapped: some answers, each with its grade against another row.
    """
    scored = [one for one in graded if one.grade.score is not None]
    scores = np.array([share_of_range(one.grade.score or 0.0, ends) for one in scored])
    names = [one.row_id for one in scored]
    groups = group_scores(names, scores)
    again = [[share_of_range(g.score, ends) for g in found if g.score is not None] for found in repeats]
    longer = [None if grade.score is None else share_of_range(grade.score, ends) for grade in padded]
    noise = repeat_noise(again)
    return Measured(
        num_prompts=len({one.row_id for one in graded}),
        num_answers=len(graded),
        num_scored=len(scored),
        **_level(scores, names),
        groups=group_measures(groups),
        **_errors(graded),
        length_correlation=length_correlation(names, scores, [len(one.answer) for one in scored]),
        padding_gain=padding_gain(again, longer),
        own_gain=own_gain(swapped, ends),
        repeat_noise=noise,
        reliability=_reliability(noise, groups),
        check=check,
        **_price(graded),
    )


def _level(scores: Floats, names: Sequence[str]) -> dict[str, Any]:
    """Return the fields that tell of the scores as a whole."""
    some = len(scores) > 0
    return {
        "mean": _mean(scores, names),
        "std": float(scores.std()) if some else 0.0,
        "above_zero": _mean((scores > EPSILON).astype(float), names),
        "at_full": _mean((scores > 1 - EPSILON).astype(float), names),
        "lowest": float(scores.min()) if some else None,
        "highest": float(scores.max()) if some else None,
        "num_values": len(np.unique(scores.round(6))),
    }


def _errors(graded: Sequence[Graded]) -> dict[str, Any]:
    kinds: Counter[str] = Counter(one.grade.error.kind for one in graded if one.grade.error is not None)
    unread, total = sum(kinds[kind] for kind in PARSE_KINDS), max(1, len(graded))
    return {
        "errors": {kind: count for kind, count in kinds.items() if count},
        "error_share": (kinds.total() - unread) / total,
        "parse_share": unread / total,
    }


def _price(graded: Sequence[Graded]) -> dict[str, Any]:
    seconds = [one.grade.seconds for one in graded] or [0.0]
    return {
        "seconds": float(np.mean(seconds)),
        "seconds_p95": float(np.quantile(seconds, 0.95)),
        "cost_usd": sum(one.grade.cost_usd for one in graded) / len(seconds),
    }


def group_scores(names: Sequence[str], scores: Floats) -> list[Floats]:
    """Return the scores by group, for groups with at least two."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, score in zip(names, scores, strict=True):
        found[name].append(float(score))
    return [np.array(values) for values in found.values() if len(values) > 1]


def group_measures(groups: Sequence[Floats]) -> Groups:
    """Return what the groups are like; see `Groups`. The ICC is Shrout & Fleiss' (1,1), 1979."""
    if not groups:
        return Groups(0, 0, None, 0, 0.0, 0.0, None)
    dead = sum(bool(np.ptp(scores) <= EPSILON) for scores in groups)
    low, high = rate_interval(dead, len(groups))
    sizes = np.array([len(scores) for scores in groups])
    means = np.array([scores.mean() for scores in groups])
    num, total = len(groups), int(sizes.sum())
    inside = sum(float(((scores - scores.mean()) ** 2).sum()) for scores in groups) / (total - num)
    across = float((sizes * (means - np.average(means, weights=sizes)) ** 2).sum()) / (num - 1) if num > 1 else inside
    size = (total - float((sizes**2).sum()) / total) / (num - 1) if num > 1 else float(sizes[0])
    icc = (across - inside) / (across + (size - 1) * inside) if across + inside > EPSILON else None
    return Groups(
        count=num,
        dead=dead,
        dead_share=Share(dead / num, low, high),
        answers=int(np.median(sizes)),
        within=inside**0.5,
        between=max(0.0, (across - inside) / size) ** 0.5,
        icc=icc,
    )


def length_correlation(names: Sequence[str], scores: Floats, lengths: Sequence[int]) -> float | None:
    """Return Spearman's correlation of score and length inside prompts, so that long questions do not count.

    Both are taken as differences from their prompt's mean, then ranked.
    """
    if len(scores) < 3:
        return None
    index = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)[1]
    left, right = (_centred(np.asarray(values, float), index) for values in (scores, lengths))
    if np.ptp(left) <= EPSILON or np.ptp(right) <= EPSILON:
        return None
    from scipy.stats import rankdata  # takes a second to import

    return float(np.corrcoef(rankdata(left.round(9)), rankdata(right.round(9)))[0, 1])


def _centred(values: Floats, index: NDArray[np.int64]) -> Floats:
    centred: Floats = values - (np.bincount(index, values) / np.bincount(index))[index]
    return centred


def repeat_noise(repeats: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation of the grades of one and the same answer, pooled; None without two of one."""
    found = [np.array(scores) for scores in repeats if len(scores) > 1]
    if not found:
        return None
    squares = sum(float(((scores - scores.mean()) ** 2).sum()) for scores in found)
    return float((squares / sum(len(scores) - 1 for scores in found)) ** 0.5)


def padding_gain(repeats: Sequence[Sequence[float]], padded: Sequence[float | None]) -> float | None:
    """Return the mean of (padded score - mean of the plain scores) over answers that have both."""
    gains = [
        longer - sum(plain) / len(plain)
        for plain, longer in zip(repeats, padded, strict=False)
        if plain and longer is not None
    ]
    return sum(gains) / len(gains) if gains else None


def own_gain(swapped: Sequence[tuple[Graded, Grade]], ends: tuple[float, float]) -> Share | None:
    """Return the mean of (score - score against another row) with its interval; None without answers that have both."""
    pairs = [
        (one.row_id, share_of_range(one.grade.score, ends) - share_of_range(other.score, ends))
        for one, other in swapped
        if one.grade.score is not None and other.score is not None
    ]
    return _mean(np.array([gain for _, gain in pairs]), [name for name, _ in pairs])


def _reliability(noise: float | None, groups: Sequence[Floats]) -> float | None:
    if noise is None or not groups:
        return None
    within = group_measures(groups).within
    return max(0.0, 1 - noise**2 / within**2) if within > EPSILON else None


def _mean(values: Floats, names: Sequence[str]) -> Share | None:
    if not len(values):
        return None
    low, high = metric_interval(values, names)
    known = np.isfinite([low, high]).all()  # one prompt alone tells nothing of others
    return Share(float(values.mean()), *((low, high) if known else (float(values.min()), float(values.max()))))

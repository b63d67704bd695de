"""Does a grader agree with people, and what is its score once its own errors are taken out?

reads    grades, and what people said of the same answers (a number or a word each)

A number is right from `threshold` of the grader's range on; a word has to be one that people use for right. About 100
labels, with right and wrong answers among them, are the least that says anything: at 90% agreement kappa is then .80,
give or take .12.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tunewright.errors import DataError
from tunewright.graders.protocol import Grade
from tunewright.graders.self_check import share_of_range
from tunewright.stats.agreement import Agreement, cohen_kappa
from tunewright.stats.judge import Calibration, CorrectedRate, corrected_rate

RIGHT_WORDS = {"right", "correct", "pass", "passed", "yes", "true", "good", "1"}
WRONG_WORDS = {"wrong", "incorrect", "fail", "failed", "no", "false", "bad", "0"}


@dataclass(frozen=True)
class JudgeAgreement:
    """How a grader and people agree.

    Args:
        num_labelled: answers that both judged. num_unscored: labelled ones that the grader could not score.
        kappa: Cohen's; value is NaN where one side says the same of all. raw: plain share of agreement.
        calibration: counts. corrected: the rate of right answers behind the grader's verdicts on all answers, None
            where the labels cannot tell.
    """

    num_labelled: int
    num_unscored: int
    kappa: Agreement
    raw: float
    calibration: Calibration
    corrected: CorrectedRate | None

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        value = asdict(self)
        value["kappa"] = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in value["kappa"].items()}
        return value


def is_right(label: Any, where: str = "") -> bool:
    """Return what a person's label says.

    Raises:
        DataError: a word that is neither.
    """
    if isinstance(label, bool | int | float):
        return float(label) >= 0.5
    word = str(label).strip().casefold()
    if word not in RIGHT_WORDS | WRONG_WORDS:
        raise DataError(f"the label {label!r}", where=where or None, expected="a number from 0 to 1, right or wrong")
    return word in RIGHT_WORDS


def judge_agreement(
    grades: Sequence[Grade],
    labels: Sequence[bool | None],
    ends: tuple[float, float] = (0.0, 1.0),
    threshold: float = 0.5,
) -> JudgeAgreement | None:
    """Return how grades agree with people's labels; None if no labelled answer was scored.

    Args:
        grades: of all answers.
        labels: what people said of each, None where nobody looked.
        ends: the grader's range.
        threshold: share of the range from which on a grade says "right".
    """
    passed = [None if g.score is None else share_of_range(g.score, ends) >= threshold for g in grades]
    both = [
        (ours, theirs) for ours, theirs in zip(passed, labels, strict=True) if theirs is not None and ours is not None
    ]
    if not both:
        return None
    known = Calibration(*(both.count(pair) for pair in ((True, True), (False, True), (True, False), (False, False))))
    return JudgeAgreement(
        num_labelled=len(both),
        num_unscored=sum(theirs is not None and ours is None for ours, theirs in zip(passed, labels, strict=True)),
        kappa=cohen_kappa([ours for ours, _ in both], [theirs for _, theirs in both]),
        raw=sum(ours == theirs for ours, theirs in both) / len(both),
        calibration=known,
        corrected=_corrected(
            [ours for ours, theirs in zip(passed, labels, strict=True) if theirs is None and ours is not None], known
        ),
    )


def _corrected(unlabelled: Sequence[bool], known: Calibration) -> CorrectedRate | None:
    """Return the corrected rate over the answers that nobody labelled: the calibration must be of other answers."""
    try:
        return corrected_rate(sum(unlabelled), len(unlabelled), known) if unlabelled else None
    except ValueError:
        return None

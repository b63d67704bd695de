"""The score that a judge reports, with the judge's own errors taken out.

A judge that passes 90% of the right and 15% of the wrong answers reports neither rate. From a set that people labelled
too, its hit rates are known well enough to undo that, and how well they are known belongs into the interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import ndtri


@dataclass(frozen=True)
class Calibration:
    """What the judge said of answers that people labelled. Counts."""

    right_passed: int
    right_failed: int
    wrong_passed: int
    wrong_failed: int

    @property
    def sensitivity(self) -> float:
        """Share of the right answers that the judge passes."""
        return self.right_passed / (self.right_passed + self.right_failed)

    @property
    def specificity(self) -> float:
        """Share of the wrong answers that the judge fails."""
        return self.wrong_failed / (self.wrong_passed + self.wrong_failed)


@dataclass(frozen=True)
class CorrectedRate:
    """The rate of right answers behind a judge's verdicts."""

    value: float
    low: float
    high: float
    judged: float
    """the rate that the judge reports"""


def corrected_rate(passed: int, num_judged: int, known: Calibration, confidence: float = 0.95) -> CorrectedRate:
    """Return the rate of right answers, (p + specificity - 1) / (sensitivity + specificity - 1), cut to [0, 1].

    The estimate is Rogan & Gladen's (1978); the interval is that of Lee et al. (arXiv:2511.21140): the delta method
    around rates that are moved a little inwards (Agresti & Coull), which carries the noise of the calibration.

    Args:
        passed: answers that the judge passed.
        num_judged: answers that it judged, at least 1.
        known: its verdicts on answers that people labelled; others than these.
        confidence: coverage of the interval.

    Raises:
        ValueError: no right, or no wrong, answer was labelled; or the judge is no better than a coin.
    """
    right, wrong = known.right_passed + known.right_failed, known.wrong_passed + known.wrong_failed
    if not right or not wrong:
        raise ValueError("a judge's errors are known only from right and from wrong answers that people labelled")
    lift = known.sensitivity + known.specificity - 1
    if lift <= 0:
        raise ValueError(
            f"sensitivity + specificity - 1 is {lift:.2f}: the judge tells right from wrong no better than a coin"
        )
    value = _rogan_gladen(passed / num_judged, known.sensitivity, known.specificity)
    low, high = _interval(passed, num_judged, known, float(ndtri((1 + confidence) / 2)))
    return CorrectedRate(value, low, high, passed / num_judged)


def _rogan_gladen(judged: float, sensitivity: float, specificity: float) -> float:
    return min(1.0, max(0.0, (judged + specificity - 1) / (sensitivity + specificity - 1)))


def _interval(passed: int, num_judged: int, known: Calibration, z: float) -> tuple[float, float]:
    n = num_judged + z * z
    p = (passed + z * z / 2) / n
    m1 = known.right_passed + known.right_failed + 2
    m0 = known.wrong_passed + known.wrong_failed + 2
    q1, q0 = (known.right_passed + 1) / m1, (known.wrong_failed + 1) / m0
    lift = q0 + q1 - 1
    if lift <= 0:
        return 0.0, 1.0
    theta = (p + q0 - 1) / lift
    noise_1, noise_0 = q1 * (1 - q1) / m1, q0 * (1 - q0) / m0
    shift = 2 * z * z * (theta * noise_1 - (1 - theta) * noise_0)
    reach = z * math.sqrt(p * (1 - p) / n + (1 - theta) ** 2 * noise_0 + theta**2 * noise_1) / lift
    return max(0.0, theta + shift - reach), min(1.0, theta + shift + reach)

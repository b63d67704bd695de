"""Gate `grader_can_teach`: may this grader be a reward? GO, WARNING or NO-GO, with the diagnosis and what to change.

The bounds on mean, spread and shares are the healthy ranges of reinforcement fine-tuning in practice; the others are
what those cannot see, each with its source beside it. A finding's name is one of `graders/diagnoses.py`. Findings that
stop come first, then cause before effect, and what follows from a finding as grave is left out: a dead grader is not
also too harsh. That score and length go together is measured and is no finding, for right answers may be long; that an
empty phrase behind an answer raises its score is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tunewright.artifacts.verdict import Status, Verdict
from tunewright.graders.diagnoses import CHANGE, DIAGNOSES, FOLLOWS, Diagnosis
from tunewright.graders.dry_run import Measured

NAME = "grader_can_teach"


@dataclass(frozen=True)
class Bounds:
    """Where a measurement is no longer healthy; a pair is (warning, no-go). All are shares unless said."""

    errors: tuple[float, float] = (0.01, 0.10)
    parse_failures: tuple[float, float] = (0.02, 0.20)
    mean: tuple[float, float] = (0.25, 0.65)
    std: float = 0.10
    """the healthy upper end, 0.25, is told and not held against a grader: scores of 0 and 1 alone go up to 0.5"""
    above_zero: tuple[float, float] = (0.20, 0.10)
    at_full: tuple[float, float] = (0.50, 0.80)
    """for scores of 0 and 1 alone this share is the mean, whose own bound holds; from 0.8 on verifiers' docs call a
    prompt too easy"""
    gold: tuple[float, float] = (1.0, 0.9)
    canned: tuple[float, float] = (0.10, 0.20)
    inverted: float = 0.20
    dead_groups: float = 0.5
    """with p right, 8 answers teach with probability 1 - p^8 - (1 - p)^8: .83 at p = .2; half is already bad"""
    reliability: tuple[float, float] = (0.8, 0.5)
    padding_gain: tuple[float, float] = (0.15, 0.30)
    other_gold: float = 0.5
    own_gain: float = 0.15
    """of the mean: what an answer owes to being held against its own row; in a class of three, guessing gives 0"""
    seconds_p95: float = 5.0
    cost_usd: float = 0.02
    prompts: int = 20
    answers_a_prompt: int = 4


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, how bad, what was measured, and what to change."""

    diagnosis: Diagnosis
    stops: bool
    measured: str
    bound: str

    @property
    def change(self) -> str:
        """What to do about it."""
        return CHANGE[self.diagnosis]


def diagnose(measured: Measured, bounds: Bounds | None = None) -> list[Finding]:
    """Return the findings, those that stop first, then cause before effect; the first is the diagnosis."""
    found: dict[Diagnosis, Finding] = {}
    for look in _LOOKS:
        for finding in look(measured, bounds or Bounds()):
            found.setdefault(finding.diagnosis, finding)
    explained = {effect for cause in found for effect in FOLLOWS.get(cause, ()) if _as_grave(found, cause, effect)}
    left = [found[name] for name in DIAGNOSES if name in found and name not in explained]
    return sorted(left, key=lambda finding: not finding.stops)


def _as_grave(found: dict[Diagnosis, Finding], cause: Diagnosis, effect: Diagnosis) -> bool:
    """True unless the effect would stop a run and its cause would not: nothing grave is explained away."""
    return effect in found and (found[cause].stops or not found[effect].stops)


def verdict_of(findings: list[Finding]) -> Literal["GO", "WARNING", "NO-GO"]:
    """Return the verdict that findings make."""
    if any(finding.stops for finding in findings):
        return "NO-GO"
    return "WARNING" if findings else "GO"


def grader_can_teach(measured: Measured, bounds: Bounds | None = None, evidence: str = "") -> Verdict:
    """Return GO as PASSED, WARNING as WARNED and NO-GO as FAILED."""
    findings = diagnose(measured, bounds)
    status = {"GO": Status.PASSED, "WARNING": Status.WARNED, "NO-GO": Status.FAILED}[verdict_of(findings)]
    told = "; ".join(f"{f.diagnosis}: {f.measured}" for f in findings) or _healthy(measured)
    return Verdict(
        name=NAME,
        status=status,
        measured=told,
        bound="; ".join(f.bound for f in findings) or "gold full, canned nothing, scores that differ inside prompts",
        remedy=" / ".join(f"{f.diagnosis}: {f.change}" for f in findings),
        evidence=evidence,
    )


def _healthy(measured: Measured) -> str:
    mean = f"mean {measured.mean.value:.2f}, std {measured.std:.2f}" if measured.mean else "nothing scored"
    return (
        f"{mean}, {measured.groups.dead} of {measured.groups.count} prompts without signal, n = {measured.num_scored}"
    )


# ── one look a diagnosis or two; each yields what it finds ──────────────────────────────────────────────────────────

Look = Callable[[Measured, Bounds], Iterator[Finding]]


def _errors(m: Measured, b: Bounds) -> Iterator[Finding]:
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(m.errors.items(), key=lambda pair: -pair[1]))
    for name, share, (warn, stop) in (
        ("erroring", m.error_share, b.errors),
        ("unparsed", m.parse_share, b.parse_failures),
    ):
        if share > warn:
            diagnosis: Diagnosis = "erroring" if name == "erroring" else "unparsed"
            yield Finding(
                diagnosis, share > stop, f"{share:.0%} of the answers unscored: {kinds}", f"at most {warn:.0%}"
            )


def _range(m: Measured, b: Bounds) -> Iterator[Finding]:
    if m.lowest is not None and m.highest is not None and (m.lowest < -1e-6 or m.highest > 1 + 1e-6):
        yield Finding("out of range", True, f"scores from {m.lowest:g} to {m.highest:g} of the range", "0 to 1")


def _gold(m: Measured, b: Bounds) -> Iterator[Finding]:
    """Look at the gold answers: dead, inverted, data problem, unproven."""
    gold, accepted = m.check.gold.mean, m.check.gold_accepted
    if accepted is None:
        yield Finding("unproven", False, "no row has a gold answer", "some gold answers that score full")
    if m.num_values == 1 and (gold is None or abs(gold - (m.lowest or 0.0)) < 1e-6):
        yield Finding("dead", True, f"every answer scores {m.lowest:g}", "scores that differ")
    if accepted is None or m.mean is None:
        return
    wrong = max(m.check.worst_canned[1], m.check.other_gold.mean or 0.0)
    if gold is not None and gold < m.mean.low and gold + b.inverted < wrong:
        told = f"gold answers score {gold:.2f}, answers that are wrong {wrong:.2f}"
        yield Finding("inverted", True, told, "gold above what is wrong")
    if accepted < b.gold[0]:
        rejected = f"{accepted:.0%} of the gold answers score full; refused: {', '.join(m.check.rejected)}"
        yield Finding("data problem", accepted < b.gold[1], rejected, "every gold answer scores full")


def _cheap(m: Measured, b: Bounds) -> Iterator[Finding]:
    """Look at what says nothing and scores: hackable, length-biased, blind."""
    kind, score = m.check.worst_canned
    if score > b.canned[0]:
        yield Finding(
            "hackable", score > b.canned[1], f"the answer {kind!r} scores {score:.2f}", f"at most {b.canned[0]}"
        )
    filler, gain = m.check.filler.mean, m.padding_gain
    if filler is not None and filler > b.canned[0]:
        yield Finding("hackable", filler > b.canned[1], f"long filler scores {filler:.2f}", f"at most {b.canned[0]}")
    if gain is not None and gain > b.padding_gain[0]:
        rho = f"; score and length correlate by {m.length_correlation:.2f}" if m.length_correlation is not None else ""
        told = f"a long empty phrase behind an answer raises its score by {gain:.2f}{rho}"
        yield Finding("length-biased", gain > b.padding_gain[1], told, f"at most {b.padding_gain[0]}")
    other = m.check.other_gold.mean
    if other is not None and other > b.other_gold:
        yield Finding("blind", False, f"another row's gold answer scores {other:.2f}", f"at most {b.other_gold}")


def _own(m: Measured, b: Bounds) -> Iterator[Finding]:
    """Look at whether answers score because they answer their own row. Form alone is `blind`, and told there."""
    gain, other = m.own_gain, m.check.other_gold.mean
    if gain is None or m.mean is None or other is None or other > b.other_gold:
        return
    bound = b.own_gain * m.mean.value
    if gain.value < bound and gain.low <= 0 < m.mean.value:
        told = f"against the reference of another row answers score {gain.value:+.2f} less ({gain.low:.2f} to "
        yield Finding("misaligned", False, f"{told}{gain.high:.2f})", f"at least {bound:.2f}")


def _noise(m: Measured, b: Bounds) -> Iterator[Finding]:
    if m.reliability is not None and m.reliability < b.reliability[0]:
        told = f"one answer graded again differs by {m.repeat_noise or 0:.2f}; reliability {m.reliability:.2f}"
        yield Finding("noisy", m.reliability < b.reliability[1], told, f"reliability of at least {b.reliability[0]}")


def _level(m: Measured, b: Bounds) -> Iterator[Finding]:
    """Look at how many answers earn something, and how many everything."""
    if m.mean is None or m.above_zero is None or m.at_full is None:
        return
    low, high = b.mean
    if m.above_zero.value <= b.above_zero[1]:
        yield Finding(
            "too harsh", True, f"{m.above_zero.value:.0%} of the answers above 0", f"more than {b.above_zero[1]:.0%}"
        )
    elif m.above_zero.value <= b.above_zero[0] or m.mean.value < low:
        told = f"{m.above_zero.value:.0%} of the answers above 0, mean {m.mean.value:.2f}"
        yield Finding("too harsh", False, told, f"more than {b.above_zero[0]:.0%}, mean of at least {low}")
    if m.at_full.value >= b.at_full[1]:
        yield Finding(
            "too lenient", True, f"{m.at_full.value:.0%} of the answers at full score", f"below {b.at_full[1]:.0%}"
        )
    elif m.mean.value > high or (m.at_full.value > b.at_full[0] and m.num_values > 2):
        told = f"{m.at_full.value:.0%} of the answers at full score, mean {m.mean.value:.2f}"
        yield Finding("too lenient", False, told, f"at most {b.at_full[0]:.0%}, mean of at most {high}")


def _signal(m: Measured, b: Bounds) -> Iterator[Finding]:
    share = m.groups.dead_share
    if share is not None and share.high > b.dead_groups:
        ends = f"{share.low:.0%} to {share.high:.0%}"
        told = f"{m.groups.dead} of {m.groups.count} prompts have one score for all their answers ({ends})"
        yield Finding("no signal", share.low > b.dead_groups, told, f"the interval below {b.dead_groups:.0%}")
    if 0 < m.std < b.std and m.num_values > 1:
        yield Finding("flat", False, f"standard deviation {m.std:.3f}", f"at least {b.std}")


def _price(m: Measured, b: Bounds) -> Iterator[Finding]:
    if m.seconds_p95 > b.seconds_p95:
        yield Finding("slow", False, f"{m.seconds_p95:.1f} s a grade (95th percentile)", f"at most {b.seconds_p95:g} s")
    if m.cost_usd > b.cost_usd:
        yield Finding("costly", False, f"{m.cost_usd:.4f} USD a grade", f"at most {b.cost_usd:g} USD")


def _size(m: Measured, b: Bounds) -> Iterator[Finding]:
    if m.num_prompts < b.prompts or m.groups.answers < b.answers_a_prompt:
        told = f"{m.num_prompts} prompts with {m.groups.answers or 1} answers each"
        yield Finding("too few", False, told, f"at least {b.prompts} with {b.answers_a_prompt}")


_LOOKS: tuple[Look, ...] = (_errors, _range, _gold, _own, _cheap, _noise, _level, _signal, _price, _size)

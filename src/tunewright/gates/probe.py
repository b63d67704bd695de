"""Gate on a model before training: `model_is_what_it_claims`. Grades it BASE, INSTRUCT-EXPOSED or INSTRUCT.

Every probe has two bounds, and what is held against them is the low end of its interval: what the model surely does.
Past the first it is a sign of instruction data, past the second a strong one. Strong signs of two families are
INSTRUCT, any sign is INSTRUCT-EXPOSED, none is BASE: no proof of a pure base, but no evidence against one in so many
trials.
docs/pipeline/probe.md says on which models the bounds were calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tunewright.artifacts.probed import Grade, ProbeResult
from tunewright.artifacts.verdict import Status, Verdict


class Bounds(NamedTuple):
    """What a probe is evidence of, and the low ends of its interval above which it is a sign, and a strong one."""

    family: Literal["follows orders", "ends its turn", "speaks as an assistant", "knows the chat form"]
    sign: float
    strong: float


@dataclass(frozen=True)
class Sign:
    """A probe that speaks for instruction tuning."""

    name: str
    family: str
    strong: bool


BOUNDS: dict[str, Bounds] = {
    "instructions": Bounds("follows orders", 0.30, 0.45),
    "instructions_in_form": Bounds("follows orders", 0.30, 0.45),
    "stops_by_itself": Bounds("ends its turn", 0.05, 0.20),
    "stops_in_form": Bounds("ends its turn", 0.05, 0.20),
    "turn_closing_plain": Bounds("ends its turn", 0.05, 0.20),
    "turn_closing_in_form": Bounds("ends its turn", 0.05, 0.20),
    "assistant_openers": Bounds("speaks as an assistant", 0.10, 0.30),
    "identity": Bounds("speaks as an assistant", 0.15, 0.40),
    "refusals": Bounds("speaks as an assistant", 0.15, 0.40),
    "unconditioned_chat": Bounds("speaks as an assistant", 0.10, 0.30),
    "instructions_gain": Bounds("knows the chat form", 0.0, 0.10),
    "template_lift": Bounds("knows the chat form", 0.0, 0.50),
    "control_tokens_trained": Bounds("knows the chat form", 0.20, 1.0),
}
CONTROL, LEAST_CONTROL = "natural_text", 0.5
"""the control's low end must lie above a coin's rate, else the model reads no language"""
STRONG_FAMILIES = 2
NAME = "model_is_what_it_claims"
RIGHT: dict[str, Grade] = {"base": "BASE", "instruct": "INSTRUCT"}


def signs(results: Sequence[ProbeResult]) -> list[Sign]:
    """Return the probes that speak for instruction tuning, the strong ones first."""
    found = [
        Sign(one.name, BOUNDS[one.name].family, one.low > BOUNDS[one.name].strong)
        for one in results
        if one.name in BOUNDS and one.low > BOUNDS[one.name].sign
    ]
    return sorted(found, key=lambda sign: not sign.strong)


def grade(results: Sequence[ProbeResult]) -> Grade:
    """Return what the probes say the model is."""
    found = signs(results)
    if len({sign.family for sign in found if sign.strong}) >= STRONG_FAMILIES:
        return "INSTRUCT"
    return "INSTRUCT-EXPOSED" if found else "BASE"


def reads_language(results: Sequence[ProbeResult]) -> bool:
    """True if the control shows that the model can tell prose from shuffled words."""
    return all(one.low > LEAST_CONTROL for one in results if one.name == CONTROL)


def model_is_what_it_claims(
    results: Sequence[ProbeResult], expect: Literal["base", "instruct"] | None, *, evidence: str = ""
) -> Verdict:
    """FAILED if the model is not of the kind that was expected.

    An exposed base is no base: FAILED too. A model expected to be instruction-tuned that only shows signs is WARNED. A
    model that reads no language is WARNED whatever it was expected to be, since its other results mean nothing.

    Args:
        results: of the probes.
        expect: what the recipe says the model is; None: nothing was claimed, so nothing can fail.
        evidence: the file with all results.
    """
    found = grade(results)
    status = _status(found, expect)
    if not reads_language(results) and status is Status.PASSED and expect:
        status = Status.WARNED
    return Verdict(
        name=NAME,
        status=status,
        measured=f"{found}: {_told(results)}",
        bound=f"{RIGHT[expect]}, as `expect: {expect}` says" if expect else "none: the recipe expects nothing",
        remedy="" if status is Status.PASSED else _remedy(results, found, expect),
        evidence=evidence,
    )


def _status(found: Grade, expect: str | None) -> Status:
    if expect is None or found == RIGHT[expect]:
        return Status.PASSED
    return Status.WARNED if (expect, found) == ("instruct", "INSTRUCT-EXPOSED") else Status.FAILED


def _told(results: Sequence[ProbeResult]) -> str:
    """Return the signs with their numbers, or the number of trials that showed none."""
    by_name = {one.name: one for one in results}
    if found := signs(results):
        return ", ".join(f"{sign.name} {shown(by_name[sign.name])}" for sign in found)
    told = f"no sign of instruction data in {sum(one.trials for one in results if one.name in BOUNDS)} trials"
    return told if reads_language(results) else f"{told}, but it reads no language ({shown(by_name[CONTROL])})"


def shown(one: ProbeResult) -> str:
    """Return a result in a few words: `12/32`, or `+0.53 nats a token`."""
    return f"{one.value:+.2f} {one.unit}" if one.successes is None else f"{one.successes}/{one.trials}"


def _remedy(results: Sequence[ProbeResult], found: Grade, expect: str | None) -> str:
    if not reads_language(results):
        return "check that the weights are whole and belong to this tokenizer: a model this weak shows no signs at all"
    if expect == "base":
        return (
            "take the base weights (the name without -Instruct, -it or -chat) if you need a base; if this model is "
            "what you want, say `expect: instruct`, or leave `expect` out"
        )
    if found == "BASE":
        return "take the instruction-tuned weights, or say `expect: base` and train the template's control tokens too"
    return "look at answers.jsonl: it shows some signs of instruction data, and follows few instructions"

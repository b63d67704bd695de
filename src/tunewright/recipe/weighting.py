"""Which fields of `weighting:` go with which type, what they are by default, and what cannot stand together.

KINDS is the table; `defaults` and `clashes` read it. The formulas themselves are in `losses/weighting.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from tunewright.recipe.clashes import Clash

if TYPE_CHECKING:
    from tunewright.recipe.sections import EntropyConfig


@dataclass(frozen=True)
class Kind:
    """One type of weighting.

    Attributes:
        gives: `ones`, `graded` weights, a `mask` of 0 and 1, or what is `given` from outside.
        defaults: its own fields, with their defaults.
        more: fields that it takes too and that have no default.
    """

    gives: Literal["ones", "graded", "mask", "given"]
    defaults: dict[str, Any] = field(default_factory=dict)
    more: tuple[str, ...] = ()


KINDS: Final[dict[str, Kind]] = {
    "none": Kind("ones"),
    "linear": Kind("graded", {"power": 1.0, "floor": 0.1}, more=("eaft_compat",)),
    "exponential": Kind("graded", {"sharpness": 1.0, "clip": (0.1, 10.0)}),
    "sigmoid": Kind("graded", {"sharpness": 30.0, "midpoint": 0.17}),  # EAFT's own, arXiv:2601.02151
    "top_quantile": Kind("mask", {"quantile": 0.2, "scope": "micro_batch"}, more=("threshold",)),  # 2506.01939
    "drop_top_quantile": Kind("mask", {"quantile": 0.2, "scope": "micro_batch"}, more=("threshold",)),
    "conflict_mask": Kind("mask", {"quantile": 0.15, "scope": "micro_batch"}),  # EAFT's pilot, arXiv:2601.02151
    "dft": Kind("graded", {"exponent": 1.0}),
    "deft": Kind("graded"),
    "focal": Kind("graded", {"exponent": 2.0}),  # the paper's best gamma, arXiv:1708.02002
    "threshold_p": Kind("mask", {"threshold": 0.1}),
    "external": Kind("given"),
}
NORMALIZE: Final = {"ones": "none", "graded": "mean1", "mask": "selected", "given": "none"}
OWN_FIELDS: Final = tuple(dict.fromkeys(name for kind in KINDS.values() for name in (*kind.defaults, *kind.more)))


def defaults(config: EntropyConfig) -> dict[str, Any]:
    """Return the defaults of every field that applies to `config` as it is."""
    kind = KINDS[config.type]
    if config.eaft_compat is not None:
        return {"power": kind.defaults["power"], "normalize": "none"}
    fixed = "threshold" in kind.more and config.threshold is not None
    return {**({} if fixed else kind.defaults), "normalize": NORMALIZE[kind.gives]}


def clashes(config: EntropyConfig) -> Iterator[Clash]:
    """Yield what cannot stand together in `config`, with the reason."""
    kind = KINDS[config.type]
    example = {"type": config.type, **kind.defaults}
    foreign = list(_foreign(config, kind))
    named = {clash.field for clash in foreign}
    for clash in (*foreign, *_cut(config, kind), *_values(config), *_normalize(config, kind), *_detach(config, kind)):
        if clash in foreign or clash.field not in named:
            yield Clash(clash.field, clash.seen, clash.expected, clash.instead, example)


def _foreign(config: EntropyConfig, kind: Kind) -> Iterator[Clash]:
    """Fields of another type."""
    taken = (*kind.defaults, *kind.more)
    for name in OWN_FIELDS:
        if name in taken or getattr(config, name) is None:
            continue
        owners = [other for other, its in KINDS.items() if name in its.defaults or name in its.more]
        takes = f"{config.type} takes {', '.join(taken)}" if taken else f"{config.type} takes none of its own"
        yield Clash(
            name,
            f"`{name}` does nothing with type {config.type}",
            f"`{name}` goes with type {' or '.join(owners)}; {takes}",
            ("type", owners[0]) if len(owners) == 1 else None,
        )


def _cut(config: EntropyConfig, kind: Kind) -> Iterator[Clash]:
    """A fixed threshold says where the cut is; no quantile and no scope can say it again."""
    if config.threshold is None or "threshold" not in kind.more:
        return
    for name in ("quantile", "scope"):
        if getattr(config, name) is not None:
            yield Clash(
                name,
                f"`{name}` and `threshold` are both given: `threshold` fixes the cut in nats, so no quantile is taken",
                "`threshold`, or `quantile` and `scope`",
            )


def _values(config: EntropyConfig) -> Iterator[Clash]:
    if config.type == "threshold_p" and config.threshold is not None and not 0 < config.threshold < 1:
        seen = f"`threshold` is {config.threshold:g}; with type threshold_p it is compared with a probability"
        yield Clash("threshold", seen, "a number above 0 and below 1")
    if config.clip is not None and not 0 <= config.clip[0] < config.clip[1]:
        low, high = config.clip
        yield Clash("clip", f"`clip` is {low:g} to {high:g}", "two numbers, the first at least 0 and below the second")
    if config.eaft_compat is not None and config.floor is not None:
        seen = f"`floor` and `eaft_compat` are both given: the loss of {config.eaft_compat} has no floor"
        yield Clash("floor", seen, "`floor`, or `eaft_compat`")


def _normalize(config: EntropyConfig, kind: Kind) -> Iterator[Clash]:
    """A normalisation that the weights cannot have."""
    given = config.normalize
    if given in (None, "none"):
        return
    if config.eaft_compat is not None:
        seen = f"`normalize` is {given}, and {config.eaft_compat} does not normalise its weights"
        yield Clash("normalize", seen, "none, or no `eaft_compat`", ("normalize", "none"))
    elif kind.gives == "ones":
        seen = f"`normalize` is {given}, and with type none every token weighs 1: nothing to normalise"
        yield Clash("normalize", seen, "none", ("normalize", "none"))
    elif kind.gives == "graded" and given == "selected":
        seen = f"`normalize` is selected, and {config.type} selects no tokens: it weighs them all"
        yield Clash("normalize", seen, "mean1 or none", ("normalize", "mean1"))


def _detach(config: EntropyConfig, kind: Kind) -> Iterator[Clash]:
    """A gradient through weights that have none, or one without end."""
    if config.detach:
        return
    reason = {
        "ones": "with type none every weight is 1 and has no gradient",
        "mask": f"{config.type} gives 0 or 1, which has no gradient",
        "given": "the weights come with the rows, and no gradient leads back to them",
        "graded": _steep(config),
    }[kind.gives]
    if config.eaft_compat is not None:
        reason = f"{config.eaft_compat} detaches its weights"
    if reason:
        yield Clash("detach", f"`detach` is false, and {reason}", "true", ("detach", "true"))


def _steep(config: EntropyConfig) -> str:
    """Say why a power below 1 has no usable gradient; empty where it has."""
    if config.type == "linear" and config.power is not None and config.power < 1:
        return f"the gradient of H^{config.power:g} has no end at H = 0"
    if config.type == "focal" and config.exponent is not None and config.exponent < 1:
        return f"the gradient of (1 - p)^{config.exponent:g} has no end at p = 1"
    return ""

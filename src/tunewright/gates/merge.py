"""Gates on a merge: is the merged model the base plus its adapter, and nothing else?

    merge_fits_base    the adapter was trained on this base: identity, and shapes
    merge_took_effect  the merged model is not the base again (a no-op merge: 4-bit rounding, a wrong key prefix)
    merge_drift        the merged model says what base plus adapter say

Pure: `models/merging.py` measures. What is compared are next-word distributions on prompts: a merge can change every
weight and be wrong, or change few and be right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.artifacts.verdict import Verdict, judge

# Of what the adapter does to the predictions, what a merge must keep. A no-op keeps 0, float32 1 - 1e-6, bfloat16 more
# than 0.99 of an adapter that was trained; docs/pipeline/learning.md has the numbers.
KEPT_EFFECT = 0.9
SAME_FIRST_CHOICE = 0.99
MEAN_KL = 1e-3  # nats a token


@dataclass(frozen=True)
class MergeMeasured:
    """How three models differ on the same tokens: base, base plus adapter, merged.

    `kl` are means over tokens in nats, of the next-word distributions.
    """

    tokens: int
    kl_adapter_base: float
    """KL(adapter || base): what the adapter does at all"""
    kl_adapter_merged: float
    """KL(adapter || merged): what the merge lost"""
    same_first_choice: float
    """share of tokens after which adapter and merged find the same word likeliest"""

    @property
    def kept_effect(self) -> float:
        """1 - lost / done, 1 for a perfect merge, 0 for a merge that did nothing; NaN where the adapter does nothing.

        Of square roots, since KL grows with the square of a small difference.
        """
        if self.kl_adapter_base <= 0:
            return float("nan")
        return 1 - math.sqrt(max(self.kl_adapter_merged, 0.0) / self.kl_adapter_base)


def merge_fits_base(
    expected_identity: str, found_identity: str, misfits: Sequence[str] = (), *, base: str = ""
) -> Verdict:
    """FAIL when the adapter belongs to another base: other bytes, or weights of other shapes.

    Args:
        expected_identity: of the base that the adapter was trained on; empty where nothing recorded it.
        found_identity: of the base it would be merged into.
        misfits: adapted weights that are not in the base, or have another shape there, in words.
        base: what the base is called.
    """
    same = not expected_identity or expected_identity == found_identity
    seen = [] if same else [f"trained on {expected_identity}, this is {found_identity}"]
    seen += [f"{len(misfits)} weights do not fit: {'; '.join(misfits[:3])}"] if misfits else []
    known = "the same bytes" if expected_identity else "its adapter does not say what it was trained on; shapes fit"
    return judge(
        "merge_fits_base",
        not seen,
        measured=(f"{base}: " if base else "") + ("; ".join(seen) or known),
        bound="the base that the adapter was trained on",
        remedy="merge into the base that the adapter's record names; an instruct model is not its base model",
    )


def merge_took_effect(measured: MergeMeasured) -> Verdict:
    """FAIL when the merge keeps too little of what the adapter does to the base, or the adapter does nothing."""
    kept = measured.kept_effect
    if kept != kept:
        seen = "the adapter changes no prediction: there is nothing to merge"
    else:
        seen = (
            f"the merge keeps {kept:.1%} of what the adapter does "
            f"(KL of the adapter to it {measured.kl_adapter_merged:.1e} nats a token, to the base "
            f"{measured.kl_adapter_base:.1e})"
        )
    return judge(
        "merge_took_effect",
        kept >= KEPT_EFFECT,  # NaN is not
        measured=f"{seen}; {measured.tokens} tokens",
        bound=f"at least {KEPT_EFFECT:.0%}",
        remedy="merge in float32 into unquantised weights, and check that the adapter's names match the model's",
    )


def merge_drift(measured: MergeMeasured) -> Verdict:
    """FAIL when the merged model does not say what base plus adapter say."""
    return judge(
        "merge_drift",
        measured.same_first_choice >= SAME_FIRST_CHOICE and measured.kl_adapter_merged <= MEAN_KL,
        measured=f"same likeliest word after {measured.same_first_choice:.1%} of {measured.tokens} tokens, "
        f"KL {measured.kl_adapter_merged:.1e} nats a token",
        bound=f"{SAME_FIRST_CHOICE:.0%} and {MEAN_KL:.0e}",
        remedy="merge in float32 and round once at the end; publish base and adapter side by side until it agrees",
    )

"""Gates on the training stack as it is installed here: do TRL, transformers, PEFT and torch still do the sums right?

    weight_one_is_stock      the fused, packed, weighted trainer gives TRL's own losses where every weight is 1
    accumulation_invariant   the same rows in other micro-batches give the same loss and gradient
    rows_do_not_mix          a row costs the same alone, padded and packed with others
    resume_exact             a run that goes on from a checkpoint gives the losses of one that nothing stopped
    merge_round_trips        a merged adapter, saved and loaded, says what base plus adapter say
    checkpoint_room          the disk holds the checkpoints

Each is pure. The numbers come from the drill (`stages/check/drill.py`), float32 on a tiny twin of the recipe's model.
docs/pipeline/learning.md has the measured noise under each bound and the faults above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tunewright.artifacts.verdict import Verdict, judge

SAME_LOSS = 1e-5  # relative
SAME_GRADIENT = 1e-3  # relative, of its norm
SAME_RESUMED = 1e-6  # relative
SAME_MERGED = 1e-3  # of what the adapter does to the logits
SPARE_ROOM = 1.1

Step = tuple[float, float]
"""loss and gradient norm of an optimizer step"""


def weight_one_is_stock(ours: Sequence[Step], stock: Sequence[Step], how: str = "") -> Verdict:
    """FAIL when a step's loss or gradient norm differs from the stock trainer's, both at weight 1.

    Args:
        ours: of each step.
        stock: the same steps by TRL's own trainer.
        how: which head and which layout of rows ours trains with.
    """
    loss, gradient = _apart(ours, stock)
    return judge(
        "weight_one_is_stock",
        loss <= SAME_LOSS and gradient <= SAME_GRADIENT,
        measured=f"{len(ours)} steps: losses {loss:.1e} apart, gradient norms {gradient:.1e}"
        + (f" ({how})" if how else ""),
        bound=f"{SAME_LOSS:.0e} and {SAME_GRADIENT:.0e}, relative",
        remedy="the installed TRL counts, shifts or normalises otherwise than the one this was made with: install the "
        "versions in constraints.txt, or report both numbers",
    )


def accumulation_invariant(steps: Mapping[str, Step]) -> Verdict:
    """FAIL when the same rows give another loss or gradient in other micro-batches.

    Args:
        steps: `rows x accumulation` -> loss and gradient norm of the same first step.
    """
    first, *others = steps.values()
    loss, gradient = _apart([first] * len(others), others)
    told = ", ".join(f"{name} {value:.6f}" for name, (value, _) in steps.items())
    return judge(
        "accumulation_invariant",
        loss <= SAME_LOSS and gradient <= SAME_GRADIENT,
        measured=f"loss of one step at {told}; {loss:.1e} apart, gradient norms {gradient:.1e}",
        bound=f"{SAME_LOSS:.0e} and {SAME_GRADIENT:.0e}, relative",
        remedy="the loss is normalised by the micro-batch and not by the step's tokens: keep "
        "`gradient_accumulation: 1`, or install the versions in constraints.txt",
    )


def rows_do_not_mix(alone: float, together: Mapping[str, float]) -> Verdict:
    """FAIL when rows cost another loss beside others than alone: padding is read, or a packed row sees its neighbour.

    Args:
        alone: mean -log p of the trained tokens, each row by itself.
        together: the layout -> the same tokens in one batch.
    """
    apart = {name: _relative(value, alone) for name, value in together.items()}
    worst = max(apart, key=lambda name: _order(apart[name]))
    return judge(
        "rows_do_not_mix",
        _order(apart[worst]) <= SAME_LOSS,
        measured=f"mean -log p {alone:.6f} alone, "
        + ", ".join(f"{value:.6f} {name} ({apart[name]:.1e} apart)" for name, value in together.items()),
        bound=f"{SAME_LOSS:.0e}, relative",
        remedy=f"rows that are {worst} see each other: this attention ignores masks or position ids; train with "
        "`batch_size: 1` and `gradient_accumulation`, or install the versions in constraints.txt",
    )


def resume_exact(whole: Sequence[float], resumed: Sequence[float]) -> Verdict:
    """FAIL when training goes on from a checkpoint otherwise than if it had not stopped.

    Args:
        whole: losses after the checkpoint, of the run that was not stopped.
        resumed: the same steps of the run that was loaded from it.
    """
    apart = max((_order(_relative(one, other)) for one, other in zip(resumed, whole, strict=False)), default=0.0)
    return judge(
        "resume_exact",
        len(whole) == len(resumed) and apart <= SAME_RESUMED,
        measured=f"{len(resumed)} of {len(whole)} steps after save and load, losses {apart:.1e} apart",
        bound=f"all, {SAME_RESUMED:.0e} relative",
        remedy="a checkpoint lacks something (adapter, optimizer, schedule): a run that is killed would not go on as "
        "it was; install the versions in constraints.txt",
    )


def merge_round_trips(effect: float, merged: float, loaded: float) -> Verdict:
    """FAIL when a float32 merge, or the file it was saved to, is not base plus adapter.

    Args:
        effect: largest change of a logit by the adapter; above 0.
        merged: largest difference of a logit between merged weights and base plus adapter.
        loaded: the same after save and load.
    """
    shares = [_order(value / effect) if effect else float("inf") for value in (merged, loaded)]
    return judge(
        "merge_round_trips",
        max(shares) <= SAME_MERGED,
        measured=f"of what the adapter does to the logits (at most {effect:.2g}), merging lost {shares[0]:.1e}, "
        f"saving and loading {shares[1]:.1e}",
        bound=f"{SAME_MERGED:.0e}",
        remedy="do not merge with these versions of PEFT and transformers: keep the adapter beside its base",
    )


def checkpoint_room(needed_bytes: int, free_bytes: int, where: str = "", num_checkpoints: int = 0) -> Verdict:
    """FAIL when the disk cannot hold the checkpoints of a run and its adapter.

    Args:
        needed_bytes: of all checkpoints that exist at a time, and the adapter.
        free_bytes: what is free.
        where: the folder.
        num_checkpoints: how many of them lie there at a time, the one being written included.
    """
    return judge(
        "checkpoint_room",
        free_bytes >= SPARE_ROOM * needed_bytes,
        measured=f"{_size(free_bytes)} free{f' under {where}' if where else ''}, {num_checkpoints} checkpoints and the "
        f"adapter take {_size(needed_bytes)}",
        bound=f"{SPARE_ROOM:g} times what is needed",
        remedy="free some space, run where there is more, or lower `lora.rank`",
    )


def not_drilled(why: str) -> Verdict:
    """WARN that the drill could not be held, and say why: then nothing is known, which is no pass."""
    return judge(
        "stack_drilled",
        False,
        measured=why,
        bound="the drill ran",
        remedy="the gates after training still hold; look at the first ten steps yourself",
        warn=True,
    )


def _apart(ours: Sequence[Step], theirs: Sequence[Step]) -> tuple[float, float]:
    """Return the largest relative difference of losses and of gradient norms; infinite where steps are missing."""
    if len(ours) != len(theirs) or not ours:
        return float("inf"), float("inf")
    pairs = list(zip(ours, theirs, strict=True))
    losses, gradients = ([_order(_relative(one[i], other[i])) for one, other in pairs] for i in (0, 1))
    return max(losses), max(gradients)


def _relative(one: float, other: float) -> float:
    return abs(one - other) / max(abs(other), 1e-12)


def _order(value: float) -> float:
    """NaN is larger than every bound."""
    return value if value == value else float("inf")


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"

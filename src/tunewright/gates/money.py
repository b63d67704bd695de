"""Gates on what training will cost: does it fit the device, the budget, and a person's patience?

Each is pure: measurements in, verdict out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tunewright.artifacts.verdict import Status, Verdict, judge
from tunewright.progress import clock

GB = 10**9
# Seconds of an optimizer step up to which work goes on as usual, gets slow, and is better done with a smaller model.
PROCEED_SECONDS, USABLE_SECONDS, SLOW_SECONDS = 5.0, 30.0, 60.0
BUSY_LOAD = 1.75  # a core; a training on all cores makes 1
# A measured speed holds for the whole run to about this much: machines are shared, rows differ, disks are written.
FASTER, SLOWER = 0.8, 1.3


@dataclass(frozen=True)
class Cost:
    """What something takes: low, expected, high."""

    low: float
    expected: float
    high: float

    def times(self, low: float, high: float) -> Cost:
        """Return it in another unit, whose factor is known to an interval."""
        return Cost(self.low * low, self.expected * (low + high) / 2, self.high * high)


def hours_with_interval(hours: float) -> Cost:
    """Return the interval of a time that a few measured steps say."""
    return Cost(hours * FASTER, hours, hours * SLOWER)


def fits_memory(
    peak: int, low: int, high: int, device: str, available: int, nearest: Sequence[str] = (), stage: str = "sft"
) -> Verdict:
    """FAILED if the estimated peak is above what the device has; WARNED if the top of its interval is.

    Args:
        peak: bytes at the peak, estimated.
        low: bottom of its interval.
        high: top of its interval.
        device: its name.
        available: bytes that it has for this.
        nearest: settings that do fit, nearest first.
        stage: whose training it is.
    """
    remedy = "a device with more memory, or a smaller model"
    if nearest:
        remedy = "one of these fits: " + "; or ".join(nearest)
    return judge(
        "fits_memory",
        high <= available,
        measured=f"{stage} needs {peak / GB:.1f} GB ({low / GB:.1f} to {high / GB:.1f}), estimated",
        bound=f"{available / GB:.1f} GB free on {device}",
        remedy=remedy,
        warn=peak <= available,
    )


PAGES = 50_000_000  # bytes; arenas of the allocator and pages of libraries come and go by such amounts


def estimate_holds(measured: int, low: int, high: int) -> Verdict:
    """WARNED if the measured peak of a few steps lies outside the estimate's interval: the estimate is not for this."""
    return judge(
        "estimate_holds",
        low - PAGES <= measured <= high + PAGES,
        measured=f"{measured / GB:.2f} GB at the peak of a few steps",
        bound=f"{low / GB:.2f} to {high / GB:.2f} GB, estimated",
        remedy="trust the measured number: this family, or these versions, hold something the estimate does not know",
        warn=True,
    )


def fits_budget(
    hours: Cost, usd: Cost | None, *, most_hours: float | None, most_usd: float | None, spent_hours: float = 0.0,
    spent_usd: float = 0.0,
) -> Verdict:  # fmt: skip
    """FAILED if the expected cost is above what is left of the budget; WARNED if the top of its interval is.

    Args:
        hours: of all that is still to do.
        usd: the same, where the price of the device is known.
        most_hours: the budget, or None.
        most_usd: the budget, or None.
        spent_hours: so far, in this run.
        spent_usd: so far.
    """
    pairs = []
    if most_hours is not None:
        pairs.append((hours, most_hours - spent_hours))
    if most_usd is not None and usd is not None:
        pairs.append((usd, most_usd - spent_usd))
    told = f"{_hours(hours)}" + (f", {_usd(usd)}" if usd is not None else "")
    bounds = [f"{clock(3600 * most_hours)}"] if most_hours is not None else []
    bounds += [f"{most_usd:.2f} USD"] if most_usd is not None else []
    spent = f"; {clock(3600 * spent_hours)} spent already" if spent_hours else ""
    return judge(
        "fits_budget",
        all(cost.high <= left for cost, left in pairs),
        measured=f"{told}{spent}",
        bound=f"budget of {' and '.join(bounds)}",
        remedy="fewer `steps`, a smaller model or a faster device; or a larger `budget:`",
        warn=all(cost.expected <= left for cost, left in pairs),
    )


def price_is_known(usd_per_hour: float | None, device: str) -> Verdict:
    """FAILED if there is a budget in USD, and nobody knows what an hour of the device costs."""
    return judge(
        "price_is_known",
        usd_per_hour is not None,
        measured=f"no price for {device}" if usd_per_hour is None else f"{usd_per_hour:.2f} USD an hour",
        bound="a price, to hold a budget in USD",
        remedy="budget: {usd: ..., usd_per_hour: ...}",
    )


def speed_is_usable(seconds: float, load: float = 0.0) -> Verdict:
    """Say whether the time of one optimizer step is one to work with.

    PASSED up to 5 s: proceed. WARNED up to 30 s: usable; up to 60 s: slow, for a last run and not to try things with.
    FAILED above: choose a smaller model. WARNED there where others keep the machine so busy that the time is theirs.

    Args:
        seconds: of one step.
        load: processes that wanted a core in the last minute, over the number of cores.
    """
    busy = load > BUSY_LOAD
    remedies = {
        PROCEED_SECONDS: "",
        USABLE_SECONDS: "usable: plan for it, and try settings on fewer rows",
        SLOW_SECONDS: "slow: right for one last run, too slow to try things with; a smaller model, or a GPU",
    }
    other = "other programs keep this machine busy: look again when they have ended"
    above = other if busy else "choose a smaller model, a smaller batch, or a GPU"
    status = Status.PASSED if seconds <= PROCEED_SECONDS else Status.WARNED
    return Verdict(
        name="speed_is_usable",
        status=Status.FAILED if seconds > SLOW_SECONDS and not busy else status,
        measured=f"{seconds:.1f} s an optimizer step" + (f", at a load of {load:.1f} a core" if busy else ""),
        bound=f"up to {PROCEED_SECONDS:.0f} s proceed, {USABLE_SECONDS:.0f} s usable, {SLOW_SECONDS:.0f} s slow",
        remedy=next((text for limit, text in remedies.items() if seconds <= limit), above),
    )


def _hours(cost: Cost) -> str:
    return f"{clock(3600 * cost.expected)} ({clock(3600 * cost.low)} to {clock(3600 * cost.high)})"


def _usd(cost: Cost) -> str:
    return f"{cost.expected:.2f} USD ({cost.low:.2f} to {cost.high:.2f})"

"""What a benchmark says of itself: the machine it ran on, its ratios held against their bounds, and a JSON file."""

import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tunewright.artifacts.files import make_folder, write_json
from tunewright.artifacts.provenance import device_name, now, package_versions

BASELINES = Path(__file__).parent / "baselines"
RESULTS = Path(__file__).parent / "results"


def machine(dtype: torch.dtype, device: str | None = None) -> dict[str, object]:
    """Return what the numbers depend on. `device` is its name where torch's accelerator, if any, is not used."""
    return {
        "device": device or device_name(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "dtype": str(dtype).removeprefix("torch."),
        "versions": package_versions(),
        "measured": now(),
    }


def told_machine(about: dict[str, object]) -> str:
    """Return the machine in one line."""
    return (
        f"{about['device']}, {about['threads']} threads of {about['cores']} cores, {about['dtype']}, "
        f"load {about['load_average'][0]} when it began"
    )


def processor() -> str:
    """Return the name of the CPU, also where there is a GPU."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(errors="replace"), re.MULTILINE)
    except OSError:
        found = None
    return f"CPU {found.group(1)}" if found else "CPU"


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return over / under, round by round: what slows both sides down in a round does not count."""
    return [a / b for a, b in zip(over, under, strict=True)]


@dataclass(frozen=True)
class Finding:
    """A ratio, what was asked of it, and whether it is met by the median.

    Attributes:
        claim: what is compared, `A / B`.
        values: one a round, or only one.
        limit: the bound.
        at_least: the ratio should be at or above it; else at or below.
    """

    claim: str
    values: list[float]
    limit: float
    at_least: bool = False

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """True where the median keeps the bound."""
        return self.median >= self.limit if self.at_least else self.median <= self.limit

    def told(self) -> str:
        """Return it in one line."""
        spread = f" ({min(self.values):.3f} to {max(self.values):.3f})" if len(self.values) > 1 else ""
        asked = f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        return f"{self.claim:<62}{self.median:7.3f}{spread:<20} {asked:<14}{'met' if self.met else 'NOT MET'}"

    def as_json(self) -> dict[str, object]:
        """Return it for the file."""
        return {**asdict(self), "median": self.median, "met": self.met}


def file_stem(about: dict[str, object], name: str) -> str:
    """Return `<device>-<threads>-threads__<name>`, fit for a file."""
    text = f"{about['device']} {about['threads']} threads"
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") + f"__{name}"


def write_results(folder: Path, about: dict[str, object], name: str, payload: dict[str, object]) -> Path:
    """Write the numbers with the machine; return where."""
    path = make_folder(folder) / f"{file_stem(about, name)}.json"
    write_json(path, {"machine": about, **payload})
    return path

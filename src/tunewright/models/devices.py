"""The device at hand, and those that can be rented: memory, speed, price. Needs no torch.

reads    /proc and the cgroup (CPU), `nvidia-smi` (GPU); `devices.json` beside this file: the catalogue, with the date
         and the source of each price
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.processes import num_cores
from tunewright.models.precision import has_cuda

GB = 10**9
# What a process that has imported torch, transformers, TRL and PEFT takes on a CPU before it loads a model; measured
# 0.5 to 0.7 GB.
IMPORTS_BYTES = 700 * 2**20
_POPULATE_READ = 22  # MADV_POPULATE_READ of linux/mman.h
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CGROUP_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


class Price(BaseModel):
    """USD an hour."""

    model_config = ConfigDict(frozen=True)

    community: float
    secure: float


class Gpu(BaseModel):
    """One entry of the catalogue."""

    model_config = ConfigDict(frozen=True)

    id: str
    """what the driver and RunPod's API call it"""
    name: str
    memory: int
    """GB"""
    tflops: float
    """dense bfloat16, by the data sheet"""
    price: Price
    date: str
    """when the price stood there"""
    source: str

    @property
    def memory_bytes(self) -> int:
        """Memory as the data sheet counts it."""
        return self.memory * GB


class Device(BaseModel):
    """What this machine trains on."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    """cpu or cuda"""
    memory_bytes: int
    """free for training: of a CPU, what is left after the libraries are imported"""
    usd_per_hour: tuple[float, float] | None = None
    """lowest and highest price of such a device, where the catalogue has it"""


@cache
def catalogue() -> tuple[Gpu, ...]:
    """Return all devices that can be rented, cheapest first."""
    table = json.loads(Path(__file__).with_name("devices.json").read_text(encoding="utf-8"))
    gpus = (Gpu(**{**entry, "source": table["sources"][entry["source"]]}) for entry in table["gpus"])
    return tuple(sorted(gpus, key=lambda gpu: gpu.price.community))


def this_device() -> Device:
    """Return the device that training would use here."""
    found = _nvidia() if has_cuda() else None
    if found is None:
        return Device(name="CPU", kind="cpu", memory_bytes=max(0, available_memory() - IMPORTS_BYTES))
    name, memory = found
    gpu = next((one for one in catalogue() if one.id == name), None)
    price = (gpu.price.community, gpu.price.secure) if gpu else None
    return Device(name=name, kind="cuda", memory_bytes=memory, usd_per_hour=price)


def _nvidia() -> tuple[str, int] | None:
    """Name and free bytes of the GPU that torch takes, by torch where it has begun with it, else by the driver.

    What torch holds in reserve counts as free: an evaluation before leaves it to the training.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        free, _ = torch.cuda.mem_get_info()
        reserve = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return str(torch.cuda.get_device_name()), int(free + reserve)
    command = ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    command += [f"--id={visible}"] if visible else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        name, _, free = done.stdout.splitlines()[0].rpartition(",")
        return name.strip(), int(free) * 2**20
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None


# ── memory of this machine, and of this process ─────────────────────────────────────────────────────────────────────


def available_memory() -> int:
    """Return the bytes that a new process could take: of the machine, or of this container where that is less."""
    free = _of_proc("/proc/meminfo", "MemAvailable")
    if free is None:
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # macOS says no more
    limit, used = _first_number(CGROUP_LIMITS), _first_number(CGROUP_USED)
    return free if limit is None else min(free, max(0, limit - (used or 0)))


def load_per_core() -> float:
    """Return how many processes wanted a core in the last minute, over the number of cores; 0 where nobody counts."""
    return os.getloadavg()[0] / num_cores() if hasattr(os, "getloadavg") else 0.0


def resident_memory() -> int:
    """Return the bytes that this process holds."""
    found = _of_proc("/proc/self/status", "VmRSS")
    return peak_resident() if found is None else found


def peak_memory() -> int:
    """Return the most that this process has held: of the GPU where torch uses one, else resident."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved())
    return peak_resident()


def peak_resident() -> int:
    """Return the most bytes that were resident. Not `ru_maxrss` on Linux: a child inherits its parent's."""
    found = _of_proc("/proc/self/status", "VmHWM")
    if found is not None:
        return found
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def hold_library_pages() -> None:
    """Make the pages of all loaded libraries resident, where the system can (Linux 5.14): they are counted once, now.

    Else code that is first touched later counts as memory that was taken then.
    """
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        madvise = ctypes.CDLL(None, use_errno=True).madvise
    except (OSError, AttributeError):
        return
    for line in lines:
        where, rights, *_, name = line.split(maxsplit=5) if line.count("/") else (line, "", "")
        if "r" in rights and ".so" in name:
            begin, end = (int(number, 16) for number in where.split("-"))
            madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _POPULATE_READ)


def _of_proc(path: str, name: str) -> int | None:
    """Return the bytes of a line `name:  123 kB`."""
    try:
        lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _first_number(paths: tuple[str, ...]) -> int | None:
    for path in paths:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return int(text)
    return None

"""Which arithmetic a model runs in. Needs no torch, so that the identity of a stage can say it without loading any."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16"]


def resolve_precision(wanted: Literal["auto", "float32", "bfloat16"]) -> Precision:
    """Return `wanted`, with `auto` decided by the hardware.

    bfloat16 without hardware for it is emulated and slower: 19 against 158 GFLOP/s on an AVX2-only Zen 3 (docs/log.md).
    So `auto` asks the CPU's flags, which do not change between two attempts of one run as a timing would.
    """
    if wanted == "auto":
        return "bfloat16" if has_cuda() or cpu_has_bfloat16() else "float32"
    return wanted


@cache
def has_cuda() -> bool:
    """True where NVIDIA's driver runs."""
    return Path("/proc/driver/nvidia/version").is_file()


@cache
def cpu_has_bfloat16() -> bool:
    """True where the CPU multiplies bfloat16 itself (`avx512_bf16`, `amx_bf16`)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # macOS and Windows: float32 is right everywhere
    return "avx512_bf16" in flags or "amx_bf16" in flags

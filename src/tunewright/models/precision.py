"""Which arithmetic a model runs in. Needs no torch, so that the identity of a stage can say it without loading any."""

from __future__ import annotations

import os
import re
from functools import cache
from glob import glob
from importlib.util import find_spec
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


def has_cuda() -> bool:
    """True where torch would find a GPU: there is one, it is not hidden from us, and torch was built for CUDA.

    The driver alone says nothing: containers that were given no GPU see it too. Under WSL2 the device is Windows' own.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1")
    return not hidden and bool(glob("/dev/nvidia[0-9]*") or glob("/dev/dxg")) and _torch_has_cuda()


@cache
def _torch_has_cuda() -> bool:
    """True if the installed torch was built for CUDA, by the file that says so: importing it takes a second."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    try:
        told = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except OSError:
        return True
    return built_for_cuda(told)


def built_for_cuda(version_file: str) -> bool:
    """True if torch's `version.py` names a version of CUDA."""
    return re.search(r"^cuda\b[^=\n]*=\s*None\s*$", version_file, re.MULTILINE) is None


@cache
def cpu_has_bfloat16() -> bool:
    """True where the CPU multiplies bfloat16 itself (`avx512_bf16`, `amx_bf16`)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # macOS and Windows: float32 is right everywhere
    return "avx512_bf16" in flags or "amx_bf16" in flags

"""Load a model folder, with or without an adapter, in a stated precision. Needs torch."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tunewright.errors import MissingExtra, ModelError
from tunewright.models.precision import Precision

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


@cache
def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory in the process.

    By default every large tensor is mapped afresh, and on virtual machines the first touch of a page is dear (3 s a GB
    on a fresh one). Kept memory is touched once. Does nothing where there is no glibc.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def load_model(folder: Path, precision: Precision, adapter: Path | None = None) -> Any:
    """Return the model in `folder` on the best device, in eval mode; with `adapter`, that applied to it.

    In float32 the adapter is merged into the weights (error about 1e-6, and generation is faster); in bfloat16 it stays
    beside them, since a merge would round it away.

    Raises:
        ModelError: the weights cannot be loaded, or the adapter belongs to another model.
        MissingExtra: torch, transformers or peft is not installed.
    """
    try:
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtra.of(error, "train") from None
    keep_freed_memory()
    logging.disable_progress_bar()
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"cannot be loaded: {str(error).splitlines()[0]}", where=str(folder),
            expected="config.json and the weights, as safetensors, in one folder",
            fix="get the model again, whole; a download that was cut leaves such a folder",
        ) from error  # fmt: skip
    if adapter is not None:
        model = _with_adapter(model, adapter, merge=precision == "float32")
    return model.to(best_device()).eval()


def _with_adapter(model: Any, adapter: Path, merge: bool) -> Any:
    from peft import PeftModel

    try:
        tuned = PeftModel.from_pretrained(model, str(adapter))
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"the adapter does not fit the base model: {str(error).splitlines()[0]}", where=str(adapter)
        ) from error
    return tuned.merge_and_unload() if merge else tuned


def best_device() -> str:
    """Return `cuda` where there is one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"

"""Load a model folder, with or without an adapter, in a stated precision. Needs torch."""

from __future__ import annotations

import ctypes
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.files import read_json
from tunewright.errors import MissingExtra, ModelError
from tunewright.models.precision import Precision
from tunewright.models.weights import WeightFacts, open_weights, weight_files

NAMED: Final = 3
GET_AGAIN: Final = "get the model again, whole; a download that was cut leaves such a folder"
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
        ModelError: the weights cannot be loaded or lack a tensor, or the adapter belongs to another model.
        MissingExtra: torch, transformers or peft is not installed.
    """
    keep_freed_memory()
    model, missing, _ = _read(folder, dtype=precision)
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise ModelError(
            f"the files lack {', '.join(sorted(missing)[:NAMED])}{more}", where=str(folder),
            expected="every weight that config.json speaks of; the library would fill these with chance", fix=GET_AGAIN,
        )  # fmt: skip
    if adapter is not None:
        model = _with_adapter(model, adapter, merge=precision == "float32")
    return model.to(best_device()).eval()


def _read(folder: Path, **how: Any) -> tuple[Any, set[str], dict[str, tuple[list[int], list[int]]]]:
    """Return the model, what its files lack, and the shapes in the files and in the model where these differ.

    Raises:
        ModelError: the weights cannot be loaded. MissingExtra: torch or transformers is not installed.
    """
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtra.of(error, "train") from None
    logging.disable_progress_bar()
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it logs what it fills with chance; here that is said by who calls
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            str(folder), trust_remote_code=False, output_loading_info=True, **how
        )
    except Exception as error:  # a config that is another's breaks each family in its own way
        raise ModelError(
            f"cannot be loaded: {next(iter(str(error).splitlines()), type(error).__name__)}", where=str(folder),
            expected="config.json and the weights, as safetensors, in one folder", fix=GET_AGAIN,
        ) from error  # fmt: skip
    finally:
        logging.set_verbosity(before)
    shapes = {name: (list(in_file), list(in_model)) for name, in_file, in_model in told["mismatched_keys"]}
    return model, set(told["missing_keys"]), shapes


def weight_facts(folder: Path) -> WeightFacts | None:
    """Hold the tensors of a folder's safetensors against the model that its config describes, by transformers' loader.

    Nothing is read but headers: the model is loaded onto the device `meta`, so that tied, renamed and fused weights are
    what the loader itself takes them for.

    Args:
        folder: a model folder.

    Returns:
        What does not fit; None where the weights are not all there yet, or are quantised.

    Raises:
        ModelError: a file is none, or was cut; or no model can be made of the config.
        MissingExtra: torch or transformers is not installed.
    """
    files = weight_files(folder)
    if not files or "quantization_config" in read_json(folder / "config.json"):
        return None
    for file in files:
        with open_weights(file):
            pass
    model, missing, shapes = _read(folder, device_map="meta", ignore_mismatched_sizes=True)
    return WeightFacts(len(model.state_dict()), tuple(sorted(missing - shapes.keys())), shapes)


def _with_adapter(model: Any, adapter: Path, merge: bool) -> Any:
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT still uses an old name of transformers
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

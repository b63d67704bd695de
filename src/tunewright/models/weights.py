"""The weight files of a model folder: which there are, and whether one can be opened.

reads    *.safetensors and model.safetensors.index.json; headers only
gives    `WeightFacts`, which models/load.py measures
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import read_json
from tunewright.errors import MissingExtra, ModelError


@dataclass(frozen=True)
class WeightFacts:
    """What the files lack, or have in another shape, of the model that the config describes."""

    num_tensors: int
    """of the model, tied ones twice"""
    missing: tuple[str, ...]
    """names: the library would fill these with chance"""
    shapes: dict[str, tuple[list[int], list[int]]]
    """name -> shape in the file, shape in the model; where they differ"""


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that a model is loaded from; none where one that the index names is not there."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    named = read_json(index).get("weight_map", {}).values() if index.is_file() else ()
    files = [folder / name for name in sorted(set(named))]
    return files if all(file.is_file() for file in files) else []


@contextmanager
def open_weights(path: Path) -> Iterator[Any]:
    """Open a safetensors file for its names, shapes and tensors.

    Raises:
        ModelError: it is none, or was cut. MissingExtra: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtra.of(error, "train") from None
    try:
        with safe_open(str(path), framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"not a whole safetensors file: {error}", where=str(path), expected="the file as it was published",
            fix="get the model again, whole; a download that was cut leaves such a file",
        ) from error  # fmt: skip

"""Faults of merges: what is published is not what was tuned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from tunewright.faults.fault import Change, Fault, grouped, json_file, nothing, weights
from tunewright.faults.stacks import replaced

_NO_CHECK = "TRL merges nothing; PEFT's merge_and_unload does, and checks nothing"


def _merging(change: Callable[[Any, Any], Any]) -> Callable[[], AbstractContextManager[None]]:
    """Return a PEFT whose merge is another one; `change` takes the right merge and the model."""

    @contextmanager
    def broken() -> Iterator[None]:
        from peft import LoraModel

        right = LoraModel.merge_and_unload
        with replaced(LoraModel, "merge_and_unload", lambda self, *_, **__: change(right, self)):
            yield

    return broken


def _twice(right: Any, tuned: Any) -> Any:
    """Add the adapter a second time: merged, saved, and applied again."""
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(2.0)
    return right(tuned)


def _coarse(right: Any, tuned: Any) -> Any:
    """Round the merged weights to 4 bits, in blocks of 32."""
    merged = right(tuned)
    for name, parameter in merged.named_parameters():
        if name.endswith("proj.weight"):
            blocks = parameter.data.reshape(-1, 32)
            scale = blocks.abs().amax(1, keepdim=True) / 7
            parameter.data.copy_((blocks / scale).round().mul(scale).reshape(parameter.shape))
    return merged


def _noise(tensors: dict[str, Any]) -> None:
    for name, tensor in tensors.items():
        if name.endswith("proj.weight"):
            tensor.mul_(1.05)


def _fault(name: str, what: str, breaks: Any = None, plant: Change = nothing, real: str = "") -> Fault:
    given = {"breaks": breaks} if breaks else {}
    return Fault(
        name, what, plant, shape="adapter", commands=(("merge",),), real=real, promise="merge", trl=_NO_CHECK, **given
    )


FAULTS = grouped(
    "merge and export",
    _fault(
        "merge-that-does-nothing",
        "the merge takes the adapter off and adds nothing: the base is published",
        _merging(lambda right, tuned: tuned.unload()),
        real="unsloth#1519, LLaMA-Factory#5186",
    ),
    _fault(
        "merged-twice",
        "the adapter is added to weights that have it already",
        _merging(_twice),
        real="peft#2321",
    ),
    _fault(
        "merged-into-four-bits",
        "the merged weights are rounded to 4 bits: the adapter is smaller than a step",
        _merging(_coarse),
        real="unsloth#5410",
    ),
    _fault(
        "merged-into-another-base",
        "the adapter was trained on another version of the base",
        plant=weights(_noise),
        real="unsloth#3146, LLaMA-Factory#9346",
    ),
    _fault(
        "eos-rewritten-at-the-merge",
        "the tokenizer that is saved beside the model has another `eos_token`",
        plant=json_file("tokenizer_config.json", eos_token="<|endoftext|>"),
        real="unsloth#5386",
    ),
)

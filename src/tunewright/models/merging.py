"""What a merge must be held to, measured: how base, base plus adapter, and merged model predict the same tokens.

reads    an adapter's folder; models that are loaded already
makes    `MergeMeasured` for `gates/merge.py`, and the weights of an adapter that do not fit a base

Needs torch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from tunewright.gates.merge import MergeMeasured

_LORA = re.compile(r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.\w+)?\.weight$")


@torch.no_grad()
def measure_merge(tuned: Any, merged: Any, prompts: Sequence[Sequence[int]]) -> MergeMeasured:
    """Compare the next-word distributions of a PEFT model, of its base, and of a merged model.

    Args:
        tuned: a `PeftModel` in eval mode, not merged; its base is the same with the adapter switched off.
        merged: the model to judge, of the same vocabulary.
        prompts: token ids; every position of every prompt counts.
    """
    totals, same, tokens = torch.zeros(2, dtype=torch.float64), 0, 0
    for prompt in prompts:
        adapter = _log_probs(tuned, prompt)
        with tuned.disable_adapter():
            base = _log_probs(tuned, prompt)
        ours = _log_probs(merged, prompt)
        totals += torch.stack([_kl(adapter, base), _kl(adapter, ours)])
        same += int((adapter.argmax(-1) == ours.argmax(-1)).sum())
        tokens += len(prompt)
    kl_base, kl_merged = (totals / tokens).tolist()
    return MergeMeasured(tokens, kl_base, kl_merged, same / tokens)


def _log_probs(model: Any, prompt: Sequence[int]) -> Tensor:
    """Return log-probabilities [T, V] in float64: KL of a good merge is below what float32 can tell from 0."""
    ids = torch.tensor([list(prompt)], device=model.device)
    return model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1).cpu()  # type: ignore[no-any-return]


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return (p.exp() * (p - q)).sum()


def misfits(adapter: Path, model: Any) -> list[str]:
    """Return what in an adapter's file does not fit the linear layers of `model`, in words; empty when all fits.

    Args:
        adapter: the folder with `adapter_model.safetensors`.
        model: the base, not wrapped.
    """
    weights = dict(model.named_parameters())
    found = []
    with safe_open(str(adapter / "adapter_model.safetensors"), "pt") as file:
        for key in file.keys():  # noqa: SIM118  # not a dict: it has no iterator
            match = _LORA.match(key)
            if match is None:
                continue
            weight = weights.get(f"{match['module']}.weight")
            shape, axis = file.get_slice(key).get_shape(), 1 if match["side"] == "A" else 0
            if weight is None:
                found.append(f"{match['module']} is not in this model")
            elif shape[axis] != weight.shape[axis]:
                found.append(f"{match['module']}: {shape[axis]} in the adapter, {weight.shape[axis]} in the model")
    return list(dict.fromkeys(found))

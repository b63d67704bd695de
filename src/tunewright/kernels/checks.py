"""What a call of the head can get wrong, told before anything is multiplied. Shapes, types, options: nothing waits."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tunewright.kernels.parallel import is_distributed
from tunewright.losses.selection import Selector, Thresholds
from tunewright.recipe.sections import EntropyConfig


def tensors(hidden: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None) -> None:
    """Refuse shapes, types and devices that do not fit together."""
    for name, tensor in (("hidden", hidden), ("labels", labels)):
        if is_distributed(tensor):
            raise TypeError(f"{name} is a DTensor; the head needs whole rows: hand over {name}.full_tensor()")
    if hidden.dim() != 2:
        raise ValueError(f"hidden is {_shape(hidden)}; expected [N, H]: flatten batch and time, hidden.flatten(0, -2)")
    if weight.dim() != 2 or weight.shape[1] != hidden.shape[1]:
        raise ValueError(f"weight is {_shape(weight)}; expected [V, {hidden.shape[1]}] for hidden {_shape(hidden)}")
    if labels.shape != hidden.shape[:1]:
        raise ValueError(f"labels are {_shape(labels)}; expected [{len(hidden)}], one a row of hidden")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels are {labels.dtype}; expected int64: labels.long()")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias is {_shape(bias)}; expected [{len(weight)}], one a row of weight")
    if weight.device != hidden.device:
        raise ValueError(f"weight is on {weight.device}, hidden on {hidden.device}; expected one device")
    if labels.device not in (hidden.device, torch.device("cpu")):
        raise ValueError(f"labels are on {labels.device}; expected {hidden.device} or the CPU")


def columns(num_rows: int, **given: Tensor | None) -> None:
    """Refuse columns that do not have one number a row."""
    for name, column in given.items():
        if column is not None and column.shape != (num_rows,):
            raise ValueError(f"{name} is {_shape(column)}; expected [{num_rows}], one number a row")


def numbers(
    softcap: float | None,
    logit_scale: float,
    temperature: float,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
) -> None:
    """Refuse numbers outside their range."""
    positive = {"softcap": 1.0 if softcap is None else softcap, "logit_scale": logit_scale, "temperature": temperature}
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a number above 0")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}; expected at least 0 and below 1")
    if not z_loss >= 0:
        raise ValueError(f"z_loss is {z_loss}; expected at least 0")


def reduction(name: str, denom: Tensor | float | None) -> None:
    """Refuse a denominator that is negative, or that nothing is divided by. One on a GPU is not looked at."""
    if name not in ("mean", "sum", "none"):
        raise ValueError(f"reduction is {name!r}; expected 'mean', 'sum' or 'none'")
    if denom is None:
        return
    if name != "mean":
        raise ValueError(f"denom does nothing with reduction={name!r}: leave it out, or take reduction='mean'")
    if isinstance(denom, Tensor) and denom.numel() != 1:
        raise ValueError(f"denom is {_shape(denom)}; expected one number, the tokens of the step")
    if not (isinstance(denom, Tensor) and denom.device.type != "cpu") and not float(denom) >= 0:
        raise ValueError(f"denom is {float(denom)}; expected the number of tokens the loss is a mean over, 0 or more")


def weighting(
    config: EntropyConfig,
    thresholds: Thresholds | None,
    select: Selector | None,
    sequence_ids: Tensor | None,
    external: Tensor | None,
) -> None:
    """Refuse what a weighting lacks, and what it cannot use."""
    if thresholds is not None and select is not None:
        raise ValueError("thresholds and select are both given: select makes thresholds; leave one of them out")
    if select is not None and select.config != config.resolved():
        raise ValueError(f"select was made for {_told(select.config)}, the weighting is {_told(config.resolved())}")
    if (external is None) == (config.type == "external"):
        wrong = "needs `external`" if external is None else "does not use `external`"
        raise ValueError(f"weighting {config.type} {wrong}: a weight a row goes with type external, and only there")
    if not config.needs_thresholds or thresholds is not None:
        return
    scope = config.resolved().scope
    if scope == "sequence" and sequence_ids is None:
        raise ValueError("scope sequence needs `sequence_ids`, the number of the sequence of each row")
    if scope in ("global_batch", "ema") and select is None:
        raise ValueError(f"scope {scope} looks at more than one call: hand over select=Selector(config), kept by you")


def execution(config: EntropyConfig, backend: str, deterministic: bool, vocab_group: dist.ProcessGroup | None) -> None:
    """Refuse ways of running that exclude each other."""
    if backend not in ("auto", "eager", "compile", "triton"):
        raise ValueError(f"backend is {backend!r}; expected 'auto', 'eager', 'compile' or 'triton'")
    if deterministic and backend == "compile":
        raise ValueError("deterministic=True compiles nothing, and backend is 'compile': take 'auto' or 'eager'")
    if vocab_group is not None and config.eaft_compat is not None:
        raise ValueError(f"eaft_compat {config.eaft_compat} needs the 20 likeliest words, which no shard knows")


def _shape(tensor: Tensor) -> str:
    return str(list(tensor.shape))


def _told(config: EntropyConfig) -> str:
    told: dict[str, Any] = config.model_dump(exclude_none=True)
    return str(told)

"""From hidden states to the loss: how a model's head is built, found in its config and checked against its own logits.

`fused_linear_ce` needs the head's weight and what stands between the product and the softmax. Families name that
differently, and new ones come every month; so what the config says is tried on a few tokens, and a model whose logits
come out otherwise has no `OutputHead`: TRL's own path trains it then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PROBE_TOKENS = 8
# Largest difference of logits that is rounding: relative to the largest logit, by the type of the head's weight.
ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 4e-3}


@dataclass(frozen=True)
class OutputHead:
    """z = softcap(logit_scale * (hidden @ weight.T + bias)), as `fused_linear_ce` takes it."""

    logit_scale: float = 1.0
    softcap: float | None = None


def find_output_head(model: Any) -> OutputHead | None:
    """Return the head of a causal language model of transformers (not wrapped), or None if it is of another kind."""
    linear = model.get_output_embeddings()
    config = model.config.get_text_config()
    if not isinstance(linear, torch.nn.Linear) or linear.weight.dtype not in ROUNDING or _has_experts(config):
        return None
    head = _from_config(config)
    return head if _reproduces_logits(model, linear, head) else None


def _has_experts(config: Any) -> bool:
    """Mixtures of experts add a load-balancing loss that TRL's path knows how to take."""
    return any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts"))


def _from_config(config: Any) -> OutputHead:
    """Cohere multiplies by `logit_scale`, Falcon-H1 by `lm_head_multiplier`, Granite divides by `logits_scaling`."""
    scale = getattr(config, "logit_scale", None) or getattr(config, "lm_head_multiplier", None)
    divisor = getattr(config, "logits_scaling", None)
    if scale is None and divisor:
        scale = 1 / divisor
    return OutputHead(logit_scale=scale or 1.0, softcap=getattr(config, "final_logit_softcapping", None))


def _reproduces_logits(model: Any, linear: torch.nn.Linear, head: OutputHead) -> bool:
    ids = torch.arange(PROBE_TOKENS, device=linear.weight.device)[None] % linear.weight.shape[0]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            expected = model(input_ids=ids, use_cache=False).logits.float()
            found = linear(model.base_model(input_ids=ids, use_cache=False).last_hidden_state).float()
    except (TypeError, AttributeError):  # another signature, or no backbone that gives hidden states
        return False
    finally:
        model.train(was_training)
    found = found * head.logit_scale
    if head.softcap is not None:
        found = head.softcap * torch.tanh(found / head.softcap)
    bound = ROUNDING[linear.weight.dtype] * float(expected.abs().max())
    return found.shape == expected.shape and bool(((found - expected).abs() <= bound).all())


def head_weights(model: Any) -> tuple[Tensor, Tensor | None]:
    """Return weight [V, H] and bias [V] of the head, looked up anew: wrappers replace them after construction."""
    linear = model.get_output_embeddings()
    return linear.weight, linear.bias

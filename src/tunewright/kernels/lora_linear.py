"""A linear layer with a low-rank adapter, as few passes over memory as it needs. Legend: N tokens, I in, O out, r rank.

PEFT writes `base(x) + lora_B(lora_A(x)) * scaling`: three extra passes over `[N, O]` forward, and autograd adds the two
gradients of `x` in one more. Here the low-rank product is added inside the matrix product (`addmm_`), forward and
backward. Same arithmetic, same adapter on disk; `lora_linear_eager` is PEFT's own formula.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as PeftLinear
from torch import Tensor
from torch.autograd.function import once_differentiable


def lora_linear(x: Tensor, weight: Tensor, bias: Tensor | None, a_rI: Tensor, b_Or: Tensor, scaling: float) -> Tensor:
    """Return `x @ weight.T + bias + scaling * (x @ a.T) @ b.T`; gradients flow to x, a and b, not to the frozen weight.

    Args:
        x: `(..., I)`.
        weight: `(O, I)`, frozen.
        bias: `(O,)` or None, frozen.
        a_rI: `(r, I)`.
        b_Or: `(O, r)`.
        scaling: alpha / rank.
    """
    out: Tensor = _LoraLinear.apply(x, weight, bias, a_rI, b_Or, scaling)  # type: ignore[no-untyped-call]
    return out


def lora_linear_eager(
    x: Tensor, weight: Tensor, bias: Tensor | None, a_rI: Tensor, b_Or: Tensor, scaling: float
) -> Tensor:
    """The reference: LoRA as its paper writes it (Hu et al. 2021, arXiv:2106.09685)."""
    linear = torch.nn.functional.linear
    return linear(x, weight, bias) + linear(linear(x, a_rI), b_Or) * scaling


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a_rI: Tensor, b_Or: Tensor, scaling: float
    ) -> Tensor:
        x_NI = x.reshape(-1, x.shape[-1])
        low_Nr = x_NI @ a_rI.T
        out_NO = torch.nn.functional.linear(x_NI, weight, bias)
        out_NO.addmm_(low_Nr, b_Or.T, alpha=scaling)
        ctx.save_for_backward(x_NI, low_Nr, weight, a_rI, b_Or)
        ctx.scaling, ctx.shape = scaling, x.shape
        return out_NO.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x_NI, low_Nr, weight, a_rI, b_Or = ctx.saved_tensors
        grad_NO = grad.reshape(-1, grad.shape[-1])
        grad_low_Nr = (grad_NO @ b_Or).mul_(ctx.scaling)
        grad_b = (grad_NO.T @ low_Nr).mul_(ctx.scaling)
        grad_a = grad_low_Nr.T @ x_NI
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_NO @ weight).addmm_(grad_low_Nr, a_rI).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None


class LoraLinear(PeftLinear):  # type: ignore[misc]  # PEFT is untyped
    """PEFT's LoRA layer with `lora_linear` in the plain case: one active adapter, no dropout, nothing merged.

    An adapter of a longer type than the base (float32 beside bfloat16) is rounded to the base's for the product; PEFT
    lengthens the input instead. Its own weights and their gradients stay as they are.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """See `lora_linear`; every other case is PEFT's."""
        name = None if args or kwargs else plain_adapter(self)
        base = self.get_base_layer()
        if name is None or x.dtype != base.weight.dtype or torch.is_autocast_enabled(x.device.type):
            out: Tensor = super().forward(x, *args, **kwargs)
            return out
        a_rI, b_Or = (self.lora_A[name].weight.to(x.dtype), self.lora_B[name].weight.to(x.dtype))
        return lora_linear(x, base.weight, base.bias, a_rI, b_Or, self.scaling[name])


def plain_adapter(layer: PeftLinear) -> str | None:
    """Return the name of the one adapter of `layer`, if it adds `scaling * (x @ a.T) @ b.T` to a frozen base."""
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1 or layer.fan_in_fan_out:
        return None
    (name,) = layer.active_adapters
    if name not in layer.lora_A or name in layer.lora_variant or layer.lora_bias[name]:
        return None
    frozen = not any(parameter.requires_grad for parameter in layer.get_base_layer().parameters())
    no_dropout = isinstance(layer.lora_dropout[name], torch.nn.Identity) or not layer.training
    return str(name) if frozen and no_dropout else None

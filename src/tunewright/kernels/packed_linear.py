"""Frozen linear layers whose weights oneDNN has laid out for its matrix products, for generation on a CPU.

torch lays a weight out anew at every product. That is a small part of a product of a thousand rows, and half of one of
the forty rows that a step of a generation has: in bfloat16 the layers of SmolLM2 take 0.6 to 0.9 of the time there, its
head half (`benchmarks/bfloat16_cpu.py`). In float32 it is 0.8 of a step at 38 rows and 0.6 at 8 with AVX-512, and
nothing without (`docs/log.md`).
"""

from __future__ import annotations

from typing import Any, TypeGuard

import torch
from peft.tuners.lora import Linear as PeftLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from tunewright.kernels.lora_linear import plain_adapter
from tunewright.models.precision import cpu_has_bfloat16

ROWS = 32
"""of the products that the layout is made for"""

CALLED_ONLY = frozenset(
    ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "smollm3", "granite", "olmo2")
)
"""model types whose code calls its linear layers and never reads their weights, as Mamba's and Jamba's does (read in
transformers 5.23)"""

LARGE = 2**18
"""numbers of a weight in float32 from which on the layout is worth the call"""


class PackedLinear(torch.nn.Module):
    """`torch.nn.Linear` for inference: the same product, to rounding.

    Args:
        linear: on a CPU. Its weight is copied; who held it besides keeps it as it is.
    """

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        self.weight = linear.weight.detach().to("meta")  # models ask for its type
        self._bias = None if linear.bias is None else linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """Return `(..., out_features)` of `(..., in_features)`."""
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return out


class PackedLoraLinear(torch.nn.Module):
    """A packed layer with a plain adapter on it, which is rounded to the type of the layer, as in training.

    Args:
        layer: of PEFT, on a CPU.
        name: of its adapter, one that is plain (`plain_adapter`).
    """

    def __init__(self, layer: PeftLinear, name: str) -> None:
        super().__init__()
        base = layer.get_base_layer()
        self.base = PackedLinear(base)
        self._a_rI, self._b_Or = (
            one[name].weight.detach().to(base.weight.dtype) for one in (layer.lora_A, layer.lora_B)
        )
        self._scaling = layer.scaling[name]

    def forward(self, x: Tensor) -> Tensor:
        """Return `(..., out_features)` of `(..., in_features)`."""
        out: Tensor = self.base(x)
        low_Nr = x.reshape(-1, x.shape[-1]) @ self._a_rI.T
        out.view(-1, out.shape[-1]).addmm_(low_Nr, self._b_Or.T, alpha=self._scaling)
        return out


def pack_linears(model: Any) -> Any:
    """Replace linear layers, with a plain adapter or none, by packed ones where that pays; return `model`.

    It can only infer then. The layers' own weights are let go, one after another; a weight that something else holds,
    such as a tied embedding or the mapped file of a model in float32, is there twice.

    Args:
        model: of transformers or PEFT. Of a model type that is not in `CALLED_ONLY`, of any other class of layers, and
            of other precisions and devices, all stays as it is.
    """
    kind = getattr(getattr(model, "config", None), "model_type", None)  # None: no model of transformers
    if torch.backends.mkldnn.is_available() and (kind is None or kind in CALLED_ONLY):  # type: ignore[no-untyped-call]
        _pack(model)
    return model


def _pack(parent: torch.nn.Module) -> None:
    for name, child in list(parent.named_children()):
        if isinstance(child, BaseTunerLayer):  # of PEFT; any but the plain one may want the weight of its base
            adapter = plain_adapter(child) if isinstance(child, PeftLinear) and _pays(child.get_base_layer()) else None
            if adapter is not None:
                setattr(parent, name, PackedLoraLinear(child, adapter))
        elif _pays(child):
            setattr(parent, name, PackedLinear(child))
        else:
            _pack(child)


def _pays(layer: torch.nn.Module) -> TypeGuard[torch.nn.Linear]:
    """Small matrices, such as those of an adapter, have nothing to lay out."""
    if type(layer) is not torch.nn.Linear or layer.weight.device.type != "cpu":
        return False
    if layer.weight.dtype == torch.bfloat16:
        return cpu_has_bfloat16() and min(layer.weight.shape) >= ROWS
    return layer.weight.dtype == torch.float32 and cpu_has_avx512() and layer.weight.numel() >= LARGE


def cpu_has_avx512() -> bool:
    """True where torch's products use registers of 512 bits."""
    found: str = torch.backends.cpu.get_cpu_capability()
    return found == "AVX512"

"""Which row functions run: Triton's on CUDA, compiled ones where the matmul is faster than eager walks, else eager.

With float32 a CPU spends 10 times longer on the matmuls of a row than on eager walks over it, and compiling takes ten
seconds: `auto` compiles on a CPU for bfloat16 only.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal, Protocol

import torch
from torch import Tensor

from tunewright.errors import EnvironmentProblem
from tunewright.kernels import rows
from tunewright.kernels.compiled import CompiledRows, compiled_rows
from tunewright.kernels.rows import RAW, LogitTransform, RowCoefficients, RowStats

Backend = Literal["auto", "eager", "compile", "triton"]


class StatsFunction(Protocol):
    """Signature of `rows.row_stats`."""

    def __call__(
        self, logits_NV: Tensor, labels_N: Tensor, transform: LogitTransform = RAW, *, with_shift: bool = False
    ) -> RowStats:
        """Walk each row once."""


class GradFunction(Protocol):
    """Signature of `rows.row_grad_`."""

    def __call__(
        self,
        logits_NV: Tensor,
        labels_N: Tensor,
        max_N: Tensor,
        coefficients: RowCoefficients,
        transform: LogitTransform = RAW,
    ) -> Tensor:
        """Overwrite the logits with their gradient."""


@dataclass(frozen=True)
class RowKernels:
    """The two row functions of one backend.

    Attributes:
        source: "eager", "triton", or the compiled functions, whose name changes when compilation fails.
        row_stats: as `rows.row_stats`.
        row_grad_: as `rows.row_grad_`.
    """

    source: str | CompiledRows
    row_stats: StatsFunction
    row_grad_: GradFunction

    @property
    def name(self) -> str:
        """What really ran: "eager", "compile" or "triton"."""
        return self.source if isinstance(self.source, str) else self.source.name


EAGER = RowKernels("eager", rows.row_stats, rows.row_grad_)


def choose_rows(backend: Backend, device_type: str, dtype: torch.dtype, *, deterministic: bool = False) -> RowKernels:
    """Return the row functions for logits of `dtype` on `device_type`.

    Args:
        backend: a name, or `auto`.
        device_type: "cpu", "cuda", ...
        dtype: of the logits. float64 is always eager: nobody trains in it, gradcheck needs it.
        deterministic: never compile: which code a compiler makes depends on the machine.

    Raises:
        EnvironmentProblem: `backend="triton"` and Triton is not installed.
    """
    if backend == "auto":
        backend = _automatic(device_type, dtype, deterministic)
    if backend == "eager" or dtype == torch.float64:
        return EAGER
    if backend == "triton":
        return _triton()
    compiled = compiled_rows()
    return RowKernels(compiled, compiled.row_stats, compiled.row_grad_)


def _automatic(device_type: str, dtype: torch.dtype, deterministic: bool) -> Backend:
    if device_type == "cuda":
        return "triton" if _triton_is_here() else "eager"
    return "compile" if device_type == "cpu" and dtype == torch.bfloat16 and not deterministic else "eager"


@cache
def _triton_is_here() -> bool:
    is_here = find_spec("triton") is not None
    if not is_here:
        warnings.warn("Triton is not installed: eager row kernels run on CUDA", RuntimeWarning, stacklevel=2)
    return is_here


@cache
def _triton() -> RowKernels:
    try:
        from tunewright.kernels import triton_rows
    except ImportError as error:
        raise EnvironmentProblem(
            f"the row kernels for CUDA cannot be loaded: {error}",
            expected="the package triton, which comes with every CUDA build of torch",
            fix="pip install triton, or backend='auto'",
        ) from error
    return RowKernels("triton", triton_rows.row_stats, triton_rows.row_grad_)

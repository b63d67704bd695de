"""The row functions of `rows.py`, compiled: on a CPU with fast bfloat16 eager walks take as long as the matmul.

Shapes are static (`dynamic=False`: the inner loop is then vectorised over a known V), so one block of `BLOCK_ROWS` rows
is compiled and every chunk is walked in such blocks; the rows of the last, short block go the eager way. A batch of any
length thus never compiles again. The formulas are those of `rows.py`, written without `out=` so that the compiler fuses
each function into one walk.

torch.compile needs a C++ compiler at run time (CPU) or Triton (CUDA). Where it is missing, or compilation fails, the
eager functions take over for the rest of the process, and one warning says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from tunewright.kernels.rows import (
    LOWEST_SHIFT,
    RAW,
    LogitTransform,
    RowCoefficients,
    RowStats,
    row_grad_,
    row_stats,
    statistics_dtype,
)

BLOCK_ROWS = 64  # 6 MiB of bfloat16 logits at V = 49,152: in the last-level cache of every CPU of the last ten years


class CompiledRows:
    """`row_stats` and `row_grad_` with the signatures of `rows.py`, compiled on first use.

    Attributes:
        name: "compile", or "eager" once compilation has failed.
    """

    def __init__(self) -> None:
        self.name = "compile"

    def row_stats(
        self, logits_NV: Tensor, labels_N: Tensor, transform: LogitTransform = RAW, *, with_shift: bool = False
    ) -> RowStats:
        """See `rows.row_stats`."""
        parts = []
        for rows in _blocks(len(logits_NV)):
            block, labels = logits_NV[rows], labels_N[rows]
            columns = self._run(_stats_formula, block, labels, transform, with_shift)
            parts.append(columns or row_stats(block, labels, transform, with_shift=with_shift))
        return RowStats._make(None if column[0] is None else torch.cat(column) for column in zip(*parts, strict=True))

    def row_grad_(
        self,
        logits_NV: Tensor,
        labels_N: Tensor,
        max_N: Tensor,
        coefficients: RowCoefficients,
        transform: LogitTransform = RAW,
    ) -> Tensor:
        """See `rows.row_grad_`."""
        for rows in _blocks(len(logits_NV)):
            block, labels, factors = logits_NV[rows], labels_N[rows], coefficients.select(rows)
            if self._run(_grad_formula_, block, labels, max_N[rows], factors, transform) is None:
                row_grad_(block, labels, max_N[rows], factors, transform)
        return logits_NV

    def _run(self, formula: Callable[..., Any], block: Tensor, *args: Any) -> Any:
        """Return what the compiled formula returns, or None where the eager function must do it."""
        if self.name == "eager" or len(block) < BLOCK_ROWS:
            return None
        try:
            return _compiled(formula)(block, *args)
        except Exception as error:  # whatever a compiler can die of, the eager twin gives the same numbers
            self.name = "eager"
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            warnings.warn(f"row kernels are not compiled, eager ones run: {reason}", RuntimeWarning, stacklevel=2)
            return None


@cache
def compiled_rows() -> CompiledRows:
    """Return the compiled row functions of this process."""
    return CompiledRows()


@cache
def _compiled(formula: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(formula, dynamic=False, fullgraph=True)


def _blocks(num_rows: int) -> list[slice]:
    return [slice(start, min(start + BLOCK_ROWS, num_rows)) for start in range(0, num_rows, BLOCK_ROWS)]


def _stats_formula(
    logits_NV: Tensor, labels_N: Tensor, transform: LogitTransform, with_shift: bool
) -> tuple[Tensor | None, ...]:
    z_NV = _transformed(logits_NV, transform)
    max_N1 = z_NV.amax(1, keepdim=True)
    target_N = z_NV.gather(1, labels_N.clamp(min=0)[:, None]).squeeze(1)
    earlier_NV = torch.arange(z_NV.shape[1], device=z_NV.device) < labels_N[:, None]
    tied_N = ((z_NV == max_N1) & earlier_NV).any(1)
    correct_N = (target_N == max_N1.squeeze(1)) & ~tied_N & (labels_N >= 0)
    u_NV = (z_NV - max_N1).clamp(min=LOWEST_SHIFT)
    e_NV = u_NV.exp()
    return (
        max_N1.squeeze(1),
        e_NV.sum(1),
        (e_NV * u_NV).sum(1),
        (e_NV * e_NV).sum(1),
        torch.where(labels_N < 0, 0, target_N),
        correct_N.to(z_NV.dtype),
        u_NV.sum(1) if with_shift else None,
    )


def _grad_formula_(
    logits_NV: Tensor, labels_N: Tensor, max_N: Tensor, coefficients: RowCoefficients, transform: LogitTransform
) -> Tensor:
    a = coefficients
    z_NV = _transformed(logits_NV, transform)
    u_NV = (z_NV - max_N[:, None]).clamp(min=LOWEST_SHIFT)
    e_NV = u_NV.exp()
    factor = a.exp[:, None]
    if a.exp_shift is not None:
        factor = factor + a.exp_shift[:, None] * u_NV
    if a.exp_sq is not None:
        factor = factor + a.exp_sq[:, None] * e_NV
    is_label_NV = torch.arange(z_NV.shape[1], device=z_NV.device) == labels_N[:, None]
    grad_NV = e_NV * factor - torch.where(is_label_NV, a.target[:, None], 0)
    if a.constant is not None:
        grad_NV = grad_NV - a.constant[:, None]
    if transform.softcap is not None:
        grad_NV = grad_NV * (1 - (z_NV * (transform.temperature / transform.softcap)).square())
    return logits_NV.copy_(grad_NV * (transform.logit_scale / transform.temperature))


def _transformed(logits_NV: Tensor, transform: LogitTransform) -> Tensor:
    z_NV = logits_NV.to(statistics_dtype(logits_NV)) * transform.logit_scale
    if transform.softcap is not None:
        z_NV = (z_NV / transform.softcap).tanh() * transform.softcap
    return z_NV / transform.temperature

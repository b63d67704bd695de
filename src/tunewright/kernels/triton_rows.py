"""The row functions of `rows.py` as Triton kernels, for CUDA: same signatures, same formulas, same legend.

    row_stats(logits, labels)                     one program a row walks it block by block and merges the sums online
    row_grad_(logits, labels, max, coefficients)  one program a block of a row forms the gradient and writes it in place

Together they read the logits twice and write them once. There is no third kernel that does both with the weight in
between: it too would read twice (from the cache at best; the rows that a GPU has under way at a time are as large as
its L2), it would save a few launches on [N] vectors, and every kind of weight would have to stand in it once more. The
entropy, sum p^2 and their gradients take a multiply-add a logit and no bytes, in kernels that wait for bytes.

What is behind, (m, s, t, r, q), meets the next block's sums under the larger maximum m', with d = m - m' <= 0:

    t' = exp(d) (t + s d) + ...    s' = exp(d) s + ...    r' = exp(2d) r + ...    q' = q + (columns behind) d + ...

The maximum is subtracted before log2(e) is multiplied in; the other order rounds the logits' offset into p. Triton is
imported here and nowhere else. With TRITON_INTERPRET=1 in the environment before that, all of this runs on a CPU.
"""

import os
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from tunewright.errors import EnvironmentProblem
from tunewright.kernels.rows import LOWEST_SHIFT, RAW, LogitTransform, RowCoefficients, RowStats

# Columns a program holds at a time, and its warps: a fixed table, so that nothing is tuned while training. Read off the
# code that the compiler makes for sm_90, not measured: `stats` has 32 logits a thread in 72 registers, so that 7
# programs share an SM and some load while others sum (8192x8: 115 registers, 2 programs); `grad` has 32 registers and
# fills the SM; neither spills. TUNEWRIGHT_TRITON_STATS=8192x8 (or _GRAD) in the environment overrides; it is read once.
LAUNCH = {"stats": (4096, 4), "grad": (4096, 8)}

_INTERPRETED = triton.knobs.runtime.interpret  # settled when the kernels below are decorated
_LOG2_E = tl.constexpr(1.4426950408889634)
_LOWEST = tl.constexpr(LOWEST_SHIFT)


def row_stats(
    logits_NV: Tensor, labels_N: Tensor, transform: LogitTransform = RAW, *, with_shift: bool = False
) -> RowStats:
    """Walk each row once and return its sums, as `rows.row_stats`. Reads the logits once, writes 24 bytes a row.

    A label past the vocabulary, which the eager function refuses, gives a `target` of NaN here: to refuse it the host
    would have to wait for the device.

    Raises:
        TypeError: float64 logits; the eager functions take them.
        EnvironmentProblem: logits on a CPU, and Triton does not interpret.
    """
    num_rows, vocab = _checked(logits_NV)
    sums = torch.empty(7, num_rows, dtype=torch.float32, device=logits_NV.device)
    if num_rows:
        inner, outer = _scales(transform)
        block, num_warps = launch_shape("stats", vocab)
        with torch.cuda.device_of(logits_NV):
            _stats_kernel[(num_rows,)](
                logits_NV,
                labels_N.contiguous(),
                sums,
                logits_NV.stride(0),
                num_rows,
                vocab,
                inner,
                outer,
                PLAIN=transform.is_identity,
                SOFTCAP=transform.softcap is not None,
                SHIFT=with_shift,
                BLOCK=block,
                num_warps=num_warps,
            )
    *columns, shift_N = sums.unbind()
    return RowStats._make([*columns, shift_N if with_shift else None])


def row_grad_(
    logits_NV: Tensor,
    labels_N: Tensor,
    max_N: Tensor,
    coefficients: RowCoefficients,
    transform: LogitTransform = RAW,
) -> Tensor:
    """Overwrite raw logits with dloss/d(raw logits) and return them, as `rows.row_grad_`. One read and one write.

    Raises:
        TypeError: float64 logits; the eager functions take them.
        EnvironmentProblem: logits on a CPU, and Triton does not interpret.
    """
    num_rows, vocab = _checked(logits_NV)
    if num_rows:
        inner, outer = _scales(transform)
        block, num_warps = launch_shape("grad", vocab)
        with torch.cuda.device_of(logits_NV):
            _grad_kernel[(num_rows * triton.cdiv(vocab, block),)](
                logits_NV,
                labels_N.contiguous(),
                max_N.contiguous(),
                *(None if column is None else column.float().contiguous() for column in coefficients),
                logits_NV.stride(0),
                vocab,
                inner,
                outer,
                PLAIN=transform.is_identity,
                SOFTCAP=transform.softcap is not None,
                BLOCK=block,
                num_warps=num_warps,
            )
    return logits_NV


@cache
def launch_shape(kernel: str, vocab: int) -> tuple[int, int]:
    """Return (columns a program holds, warps) of `stats` or `grad` for a vocabulary: `LAUNCH`, or the environment's."""
    block, num_warps = LAUNCH[kernel]
    if override := os.environ.get(f"TUNEWRIGHT_TRITON_{kernel.upper()}"):
        block, num_warps = (int(part) for part in override.split("x"))
    return min(block, triton.next_power_of_2(vocab)), num_warps


def _checked(logits_NV: Tensor) -> tuple[int, int]:
    if logits_NV.dtype == torch.float64:
        raise TypeError("the Triton row functions count in float32; float64 logits need the eager ones of kernels/rows")
    if logits_NV.device.type == "cpu" and not _INTERPRETED:
        raise EnvironmentProblem(
            "backend 'triton' was asked for logits on the CPU",
            expected="logits on a GPU, or TRITON_INTERPRET=1 in the environment before Triton is imported (slow)",
            fix="backend='auto'",
        )
    num_rows, vocab = logits_NV.shape
    assert logits_NV.stride(1) == 1 or vocab == 1, "the columns of a row of logits must lie side by side"
    return num_rows, vocab


def _scales(transform: LogitTransform) -> tuple[float, float]:
    """Return (inner, outer) of z = outer * x, or z = outer * tanh(inner * x) with a softcap."""
    if transform.softcap is None:
        return 1.0, transform.logit_scale / transform.temperature
    return transform.logit_scale / transform.softcap, transform.softcap / transform.temperature


@triton.jit
def _transformed(x: tl.tensor, inner: tl.tensor, outer: tl.tensor, PLAIN: tl.constexpr, SOFTCAP: tl.constexpr):
    """Return z of raw logits, and dz/dx."""
    if PLAIN:
        return x, 1.0
    elif SOFTCAP:
        tanh = 2 * tl.sigmoid(2 * inner * x) - 1
        return outer * tanh, inner * outer * (1 - tanh * tanh)
    else:
        return outer * x, outer


@triton.jit
def _shifted(z: tl.tensor, peak: tl.tensor):
    """Return u = z - peak, not below LOWEST_SHIFT, and e = exp(u). A NaN stays one."""
    u = tl.maximum(z - peak, _LOWEST, propagate_nan=tl.PropagateNan.ALL)
    return u, tl.exp2(u * _LOG2_E)


@triton.jit
def _stats_kernel(
    logits: tl.tensor,
    labels: tl.tensor,
    sums: tl.tensor,
    row_stride: tl.tensor,
    num_rows: tl.tensor,
    vocab: tl.tensor,
    inner: tl.tensor,
    outer: tl.tensor,
    PLAIN: tl.constexpr,
    SOFTCAP: tl.constexpr,
    SHIFT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)  # 14k rows of a 152k vocabulary reach past 2^31
    logits += row * row_stride
    columns = tl.arange(0, BLOCK)
    m = tl.full((), float("-inf"), tl.float32)
    s = tl.full((), 0.0, tl.float32)
    t = tl.full((), 0.0, tl.float32)
    r = tl.full((), 0.0, tl.float32)
    q = tl.full((), 0.0, tl.float32)
    best = tl.full((), 0, tl.int32)
    for start in range(0, vocab, BLOCK):
        inside = columns < vocab - start
        x = tl.load(logits + start + columns, mask=inside, other=float("-inf")).to(tl.float32)
        z, _ = _transformed(x, inner, outer, PLAIN, SOFTCAP)
        if not PLAIN:
            z = tl.where(inside, z, float("-inf"))
        block_max = tl.max(z, axis=0)
        if block_max > m:  # rare after the first blocks, and the search is a third of the instructions
            best = start + tl.argmax(z, axis=0)
        new_m = tl.maximum(m, block_max)
        peak = tl.where(new_m == float("-inf"), 0.0, new_m)  # nothing but masked words so far
        u, e = _shifted(z, peak)
        d = tl.where(m == float("-inf"), 0.0, tl.maximum(m - peak, _LOWEST))
        a = tl.exp2(d * _LOG2_E)
        t = a * (t + s * d) + tl.sum(e * u, axis=0)
        s = a * s + tl.sum(e, axis=0)
        r = a * a * r + tl.sum(e * e, axis=0)
        if SHIFT:
            q = q + start * d + tl.sum(tl.where(inside, u, 0.0), axis=0)
        m = new_m
    m = tl.where(s != s, s, m)
    # Every word masked: there is no distribution here. In a part of a vocabulary m says so, and others have words.
    s = tl.where(m == float("-inf"), float("nan"), s)
    label = tl.load(labels + row)
    x = tl.load(logits + label, mask=(label >= 0) & (label < vocab), other=0.0).to(tl.float32)
    z, _ = _transformed(x, inner, outer, PLAIN, SOFTCAP)
    z = tl.where(label < 0, 0.0, tl.where(label < vocab, z, float("nan")))
    tl.store(sums + row, m)
    tl.store(sums + num_rows + row, s)
    tl.store(sums + 2 * num_rows + row, t)
    tl.store(sums + 3 * num_rows + row, r)
    tl.store(sums + 4 * num_rows + row, z)
    tl.store(sums + 5 * num_rows + row, (best == label).to(tl.float32))
    if SHIFT:
        tl.store(sums + 6 * num_rows + row, q)


@triton.jit
def _grad_kernel(
    logits: tl.tensor,
    labels: tl.tensor,
    max: tl.tensor,
    exp: tl.tensor,
    target: tl.tensor,
    exp_shift: tl.tensor,
    exp_sq: tl.tensor,
    constant: tl.tensor,
    row_stride: tl.tensor,
    vocab: tl.tensor,
    inner: tl.tensor,
    outer: tl.tensor,
    PLAIN: tl.constexpr,
    SOFTCAP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    blocks_per_row = tl.cdiv(vocab, BLOCK)
    program = tl.program_id(0)
    row = (program // blocks_per_row).to(tl.int64)
    columns = program % blocks_per_row * BLOCK + tl.arange(0, BLOCK)
    here = logits + row * row_stride + columns
    inside = columns < vocab
    x = tl.load(here, mask=inside, other=0.0).to(tl.float32)
    z, slope = _transformed(x, inner, outer, PLAIN, SOFTCAP)
    u, e = _shifted(z, tl.load(max + row))
    factor = tl.load(exp + row)
    if exp_shift is not None:
        factor = factor + u * tl.load(exp_shift + row)
    if exp_sq is not None:
        factor = factor + e * tl.load(exp_sq + row)
    grad = e * factor
    if constant is not None:
        grad = grad - tl.load(constant + row)
    grad -= tl.where(columns == tl.load(labels + row), tl.load(target + row), 0.0)  # p_y - 1, still in float32
    tl.store(here, (grad * slope).to(logits.dtype.element_ty), mask=inside)

"""The CUDA kernels on a real GPU at real sizes: against float64, past 2^31 logits, and inside their memory.

Skipped where there is no CUDA device; `tests/kernels/test_triton_rows.py` runs the same kernels interpreted.
"""

import math

import pytest
import torch

from tunewright.kernels import rows
from tunewright.kernels.linear_ce import fused_linear_ce
from tunewright.kernels.planner import plan_chunks
from tunewright.kernels.rows import RAW, LogitTransform, RowCoefficients, RowStats, row_coefficients
from tunewright.recipe.sections import EntropyConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch sees none"),
]
triton_rows = pytest.importorskip("tunewright.kernels.triton_rows", reason="Triton comes for Linux on x86_64 only")

VOCABULARIES = [49_152, 50_257, 151_936, 262_144]  # SmolLM2, GPT-2 (odd), Qwen3, Gemma-3
HEADS = {"SmolLM2-135M": (576, 49_152), "Qwen3-0.6B": (1024, 151_936), "odd": (96, 50_257)}
CAPPED = LogitTransform(logit_scale=1.5, softcap=30.0, temperature=0.7)
ROUNDING = {torch.float32: 3e-5, torch.bfloat16: 2**-8}


def some_logits(vocab: int, dtype: torch.dtype, offset: float = 100.0, num_rows: int = 16):
    """Logits with an ignored, a peaked and a half masked row among them."""
    torch.manual_seed(vocab)
    logits = (torch.randn(num_rows, vocab, device="cuda") * 3 + offset).to(dtype)
    labels = torch.randint(0, vocab, (num_rows,), device="cuda")
    labels[1] = -100
    logits[2, labels[2]] += 30
    logits[3, : vocab // 2] = -math.inf
    labels[3] = vocab - 1
    return logits, labels


def some_head(hidden_size: int, vocab: int, num_rows: int):
    """A head and hidden states with logits of standard deviation 2, and a fifth of the rows ignored."""
    torch.manual_seed(0)
    hidden = torch.randn(num_rows, hidden_size, device="cuda").bfloat16().requires_grad_()
    weight = (torch.randn(vocab, hidden_size, device="cuda") * (2 / hidden_size**0.5)).bfloat16().requires_grad_()
    labels = torch.randint(0, vocab, (num_rows,), device="cuda")
    labels[torch.rand(num_rows, device="cuda") < 0.2] = -100
    return hidden, weight, labels


@pytest.mark.parametrize("transform", [RAW, CAPPED], ids=["raw", "capped"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("vocab", VOCABULARIES)
def test_row_functions_are_those_of_float64(vocab, dtype, transform):
    logits, labels = some_logits(vocab, dtype, offset=0.0 if transform is CAPPED else 100.0)  # 100 would all be the cap
    expected = rows.row_stats(logits.double(), labels, transform)
    stats = triton_rows.row_stats(logits, labels, transform)
    for name, got, reference in zip(RowStats._fields[:6], stats, expected, strict=False):
        torch.testing.assert_close(
            got.double(), reference, rtol=1e-5, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}"
        )
    assert (stats.entropy.double() - expected.entropy).abs().max() < 1e-5 and stats.entropy.min() >= 0
    scale = torch.linspace(0.1, 2, len(labels), device="cuda")
    exact = row_coefficients(
        expected, vocab, loss_scale_N=scale.double(), entropy_scale_N=scale.double(), label_smoothing=0.1, z_loss=1e-3
    )
    short = RowCoefficients._make(None if column is None else column.float() for column in exact)
    expected_grad = rows.row_grad_(logits.double(), labels, expected.max, exact, transform)
    grad = triton_rows.row_grad_(logits, labels, stats.max, short, transform)
    errors = (grad.double() - expected_grad).norm(dim=1) / expected_grad.norm(dim=1)
    assert errors.max() < ROUNDING[dtype]


def test_a_nan_makes_its_own_row_nan_and_no_other():
    logits, labels = some_logits(49_152, torch.bfloat16)
    logits[5, 40_000] = math.nan
    stats = triton_rows.row_stats(logits, labels)
    broken = torch.arange(16, device="cuda") == 5
    assert torch.equal(stats.nll.isnan(), broken) and torch.equal(stats.entropy.isnan(), broken)
    coefficients = row_coefficients(stats, 49_152, loss_scale_N=torch.ones(16, device="cuda"))
    grad = triton_rows.row_grad_(logits, labels, stats.max, coefficients)
    assert torch.equal(grad.isnan().all(1), broken) and torch.equal(grad.isnan().any(1), broken)


def test_rows_past_two_billion_logits_are_found():
    vocab = 151_936
    num_rows = 2**31 // vocab + 17
    if torch.cuda.mem_get_info()[0] < 3 * num_rows * vocab:
        pytest.skip("needs 6.5 GB of free GPU memory")
    logits = torch.zeros(num_rows, vocab, dtype=torch.bfloat16, device="cuda")
    tail, labels = some_logits(vocab, torch.bfloat16)
    logits[-16:] = tail
    all_labels = torch.cat([labels.new_zeros(num_rows - 16), labels])
    stats, alone = triton_rows.row_stats(logits, all_labels), triton_rows.row_stats(tail, labels)
    assert torch.equal(stats.entropy[-16:], alone.entropy) and torch.equal(stats.nll[-16:], alone.nll)
    coefficients = row_coefficients(stats, vocab, loss_scale_N=torch.ones(num_rows, device="cuda"))
    triton_rows.row_grad_(logits, all_labels, stats.max, coefficients)
    triton_rows.row_grad_(tail, labels, alone.max, coefficients.select(slice(num_rows - 16, num_rows)))
    assert torch.equal(logits[-16:], tail)


@pytest.mark.parametrize("hidden_size, vocab", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("type_", ["none", "linear", "top_quantile", "dft"])
def test_the_head_is_inside_its_error_budget(hidden_size, vocab, type_):
    hidden, weight, labels = some_head(hidden_size, vocab, 700)
    config = EntropyConfig(type=type_)
    out = fused_linear_ce(hidden, weight, labels, weighting=config)
    out.loss.backward()
    assert out.backend == "triton"
    exact_hidden, exact_weight = (tensor.detach().double().requires_grad_() for tensor in (hidden, weight))
    exact = fused_linear_ce(
        exact_hidden, exact_weight, labels, weighting=config, thresholds=out.thresholds, backend="eager"
    )
    exact.loss.backward()
    assert (out.entropy.double() - exact.entropy).abs().max() < 2e-2  # what bfloat16 logits leave of it
    assert (out.nll.double() - exact.nll).abs().max() < 6e-2
    if type_ != "top_quantile":  # a row on the threshold may fall to either side
        assert relative_error(hidden.grad, exact_hidden.grad) < 1e-2
        assert relative_error(weight.grad, exact_weight.grad) < 1e-2


def relative_error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return ((got.double() - expected).norm() / expected.norm()).item()


def test_all_ignored_rows_give_a_loss_of_zero_and_zero_gradients():
    hidden, weight, labels = some_head(96, 1000, 64)
    out = fused_linear_ce(hidden, weight, labels.fill_(-100), weighting=EntropyConfig(type="linear"))
    out.loss.backward()
    assert out.loss.item() == 0 and not hidden.grad.any() and not weight.grad.any()


@pytest.mark.parametrize("hidden_size, vocab", [HEADS["SmolLM2-135M"], HEADS["Qwen3-0.6B"]])
def test_it_holds_one_chunk_and_the_gradients_and_entropy_costs_no_memory(hidden_size, vocab):
    hidden, weight, labels = some_head(hidden_size, vocab, 8192)
    plain, weighted = (peak_bytes(hidden, weight, labels, EntropyConfig(type=name)) for name in ("none", "linear"))
    num_counted = int((labels >= 0).sum())
    chunk_rows = plan_chunks(num_counted, vocab, torch.bfloat16, hidden.device).chunk_rows
    rows_of_hidden = hidden.nbytes + 2 * num_counted * hidden_size * 2  # dX, and both as the rows that count
    heads = weight.nbytes + 2 * weight.nbytes  # dW, and the float32 it was summed up in
    assert plain < 1.05 * (chunk_rows * vocab * 2 + rows_of_hidden + heads)
    assert weighted < 1.01 * plain


def peak_bytes(hidden, weight, labels, config: EntropyConfig) -> int:
    """Most bytes that forward and backward hold beside their arguments, once cuBLAS has its workspace."""
    for _ in range(2):
        hidden.grad = weight.grad = None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        fused_linear_ce(hidden, weight, labels, weighting=config).loss.backward()
    return torch.cuda.max_memory_allocated() - before

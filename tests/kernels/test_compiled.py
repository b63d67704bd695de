"""The compiled row functions against the eager ones, and what happens where nothing can be compiled."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from tests.kernels.reference import problem, reference

from tunewright.kernels import rows
from tunewright.kernels.backends import choose_rows
from tunewright.kernels.compiled import BLOCK_ROWS, CompiledRows
from tunewright.kernels.rows import RAW, LogitTransform, row_coefficients
from tunewright.recipe.sections import EntropyConfig

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")
GEMMA = LogitTransform(logit_scale=1.3, softcap=8.0, temperature=0.7)
VOCAB = 1003


def some_rows(dtype):
    """Two blocks and a tail; with a label of another shard, a tie and a masked word."""
    logits = (torch.randn(2 * BLOCK_ROWS + 9, VOCAB, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
    labels = torch.arange(len(logits)) * 7 % VOCAB
    labels[3] = -1
    logits[5, 10] = logits[5, labels[5]] = 20
    logits[6, 500:600] = -torch.inf
    return logits, labels


@needs_compiler
@pytest.mark.parametrize(
    ("dtype", "transform", "everything"), [(torch.float32, RAW, False), (torch.bfloat16, GEMMA, True)]
)
def test_compiled_rows_are_the_eager_rows(dtype, transform, everything):
    logits, labels = some_rows(dtype)
    compiled = CompiledRows()
    found = compiled.row_stats(logits, labels, transform, with_shift=everything)
    expected = rows.row_stats(logits, labels, transform, with_shift=everything)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=2e-5, atol=1e-5)
    loss, entropy, collision = torch.rand(3, len(logits), generator=torch.Generator().manual_seed(1))
    scales = {"entropy_scale_N": entropy - 0.5, "collision_scale_N": collision - 0.5} if everything else {}
    smoothing = 0.1 if everything else 0.0
    a = row_coefficients(expected, VOCAB, loss_scale_N=loss, label_smoothing=smoothing, **scales)
    got = compiled.row_grad_(logits.clone(), labels, expected.max, a, transform)
    wanted = rows.row_grad_(logits.clone(), labels, expected.max, a, transform)
    step = 2**-7 if dtype == torch.bfloat16 else 1e-5  # one place of bfloat16: sums may be rounded to its neighbour
    torch.testing.assert_close(got, wanted, rtol=step, atol=1e-6)
    assert compiled.name == "compile"


@needs_compiler
@pytest.mark.parametrize("name", ["linear", "top_quantile"])
def test_the_head_gives_with_compiled_rows_what_it_gives_with_eager_ones(name):
    expected = problem(2 * BLOCK_ROWS + 9, vocab=VOCAB, ignored=(1,))
    config = EntropyConfig(type=name)
    reference(expected, weighting=config)[0].backward()
    found = expected.copy(torch.float32)
    out = found.fused(weighting=config, backend="compile", chunk_bytes=BLOCK_ROWS * VOCAB * 4)
    out.loss.backward()
    assert out.backend == "compile"
    for got, wanted in zip(found.grads(), expected.grads(), strict=True):
        torch.testing.assert_close(got.double(), wanted, rtol=1e-3, atol=1e-6)


WITHOUT_COMPILER = """
import warnings, torch
from tunewright.kernels.compiled import CompiledRows
from tunewright.kernels.rows import row_stats

logits, labels = torch.randn(200, 99), torch.arange(200) % 99
compiled = CompiledRows()
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    first, second = compiled.row_stats(logits, labels), compiled.row_stats(logits, labels)
told = [str(w.message) for w in told if issubclass(w.category, RuntimeWarning)]
assert len(told) == 1 and "eager" in told[0], told
assert compiled.name == "eager"
assert torch.equal(first.entropy, row_stats(logits, labels).entropy) and torch.equal(first.nll, second.nll)
"""


def test_without_a_compiler_eager_rows_run_and_it_is_said_once(tmp_path):
    environment = {**os.environ, "CXX": "/nowhere/c++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", WITHOUT_COMPILER], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_auto_compiles_for_bfloat16_on_a_cpu_only():
    def chosen(device, dtype, **options):
        return choose_rows("auto", device, dtype, **options).name

    assert chosen("cpu", torch.float32) == chosen("cpu", torch.float64) == "eager"
    assert chosen("cpu", torch.bfloat16) in ("compile", "eager")  # eager where compiling has failed before
    assert chosen("cpu", torch.bfloat16, deterministic=True) == "eager"
    assert chosen("mps", torch.bfloat16) == "eager"

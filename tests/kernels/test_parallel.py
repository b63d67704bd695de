"""Two processes that hold a head between them find what one finds that holds it whole (gloo, real processes)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.kernels.shard import CASES, CHUNK_BYTES, whole

from tunewright.kernels.parallel import rebase
from tunewright.kernels.rows import RowStats, row_stats

PROCESS = Path(__file__).with_name("shard.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    start = [sys.executable, str(PROCESS)]
    processes = [subprocess.Popen([*start, str(rank), str(folder)], env=environment) for rank in (0, 1)]
    try:
        assert [process.wait(timeout=600) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", CASES)
def test_a_vocabulary_in_two_parts_gives_what_the_whole_gives(found, name):
    p = whole()
    out = p.fused(chunk_bytes=CHUNK_BYTES, **CASES[name])
    (out.loss + (out.entropy.sum() if out.entropy.requires_grad else 0)).backward()
    loss, nll, entropy, correct, dX, dW, db = [out.loss, out.nll, out.entropy, out.correct, *p.grads()]
    for rank, rows in enumerate((slice(0, 51), slice(51, 101))):
        expected = [loss, nll, entropy, correct, dX, dW[rows], db[rows]]
        for got, wanted in zip(found[rank]["tensor parallel"][name], expected, strict=True):
            torch.testing.assert_close(got, wanted.detach())


def test_a_weight_of_fsdp2_gets_the_mean_gradient_over_its_processes(found):
    """apple/ml-cross-entropy#31: illegal memory access. TRL gathers it once before the chunks, as is done here."""
    p = whole()
    p.fused(denom=44).loss.backward()
    (first, dX, dW, db), (second, dX_too, _, _) = found[0]["fsdp"], found[1]["fsdp"]
    torch.testing.assert_close(first + second, p.fused().loss.detach())
    torch.testing.assert_close(torch.cat([dX, dX_too]), p.hidden.grad)
    torch.testing.assert_close(dW * 2, p.weight.grad)
    torch.testing.assert_close(db * 2, p.bias.grad)


def test_sums_of_shards_add_up_whatever_their_maxima():
    logits = torch.randn(6, 90, dtype=torch.float64) * 4
    logits[0, :40] = -torch.inf  # a shard of masked words only
    logits[1, :40] += 500
    labels = torch.tensor([50, 3, 60, 89, 41, 0])
    here = torch.where(labels < 40, labels, -1), torch.where(labels >= 40, labels - 40, -1)
    parts = [row_stats(part, y, with_shift=True) for part, y in zip(logits.split([40, 50], 1), here, strict=True)]
    highest = torch.maximum(parts[0].max, parts[1].max)
    rebased = [rebase(part, highest, width) for part, width in zip(parts, (40, 50), strict=True)]
    merged = RowStats(highest, *(sum(pair) for pair in list(zip(*rebased, strict=True))[1:]))
    expected = row_stats(logits, labels, with_shift=True)
    for name in ("nll", "entropy", "collision", "correct", "log_sum_exp"):
        torch.testing.assert_close(getattr(merged, name), getattr(expected, name))
    finite = slice(1, None)
    torch.testing.assert_close(merged.shift[finite], expected.shift[finite])

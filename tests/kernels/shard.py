"""One of two processes of test_parallel.py: `python shard.py RANK FOLDER`. Saves what it found to FOLDER/RANK.pt."""

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from tests.kernels.reference import Problem, problem
from torch.distributed.tensor import Shard, distribute_tensor

from tunewright.recipe.sections import EntropyConfig

CASES = {
    "plain": {},
    "linear": {"weighting": EntropyConfig(type="linear")},
    "attached": {"weighting": EntropyConfig(type="deft", detach=False), "softcap": 5.0},
    "top": {"weighting": EntropyConfig(type="top_quantile")},
    "smoothed": {"label_smoothing": 0.1, "z_loss": 1e-2, "temperature": 0.7},
    "each row": {"differentiable_entropy": True, "weighting": EntropyConfig(type="focal")},
}
CHUNK_BYTES = 16 * 51 * 8


def whole() -> Problem:
    """101 words: 51 in the first part, 50 in the second."""
    return problem(45, bias=True, ignored=(3,))


def columns_of(p: Problem, rank: int) -> Problem:
    rows = slice(0, 51) if rank == 0 else slice(51, 101)
    return Problem(p.hidden, p.weight[rows], p.labels, p.bias[rows]).copy()


def tensor_parallel(rank: int):
    found = {}
    for name, options in CASES.items():
        p = columns_of(whole(), rank)
        out = p.fused(vocab_group=dist.group.WORLD, chunk_bytes=CHUNK_BYTES, **options)
        (out.loss + (out.entropy.sum() if out.entropy.requires_grad else 0)).backward()
        found[name] = [out.loss.detach(), out.nll.detach(), out.entropy.detach(), out.correct, *p.grads()]
    return found


def fsdp(rank: int):
    """Each process has its own rows, and half of the weight at rest."""
    p = whole()
    mesh = dist.init_device_mesh("cpu", (2,))
    weight, bias = (distribute_tensor(t.detach(), mesh, [Shard(0)]).requires_grad_() for t in (p.weight, p.bias))
    rows = slice(0, 20) if rank == 0 else slice(20, 45)
    mine = Problem(p.hidden.detach()[rows].requires_grad_(), weight, p.labels[rows], bias)
    with pytest.raises(TypeError, match="hidden is a DTensor"):
        Problem(distribute_tensor(p.hidden.detach(), mesh, [Shard(0)]), weight, p.labels, bias).fused()
    out = mine.fused(denom=44)
    out.loss.backward()
    return [out.loss.detach(), mine.hidden.grad, weight.grad.full_tensor(), bias.grad.full_tensor()]


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.save({"tensor parallel": tensor_parallel(rank), "fsdp": fsdp(rank)}, folder / f"{rank}.pt")
    dist.destroy_process_group()

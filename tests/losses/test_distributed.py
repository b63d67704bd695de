"""Two processes that train together find what one process with all tokens finds (gloo, real processes)."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.losses.process import CONFIGS, train

PROCESS = Path(__file__).with_name("process.py")


def micro_batch(seed):
    random = torch.Generator().manual_seed(seed)
    n = 400
    owner = torch.randint(0, 2, (n,), generator=random)
    return {
        "entropy": torch.randn(n, generator=random).exp(),
        "p": torch.rand(n, generator=random).clamp(min=1e-6),
        "mask": torch.rand(n, generator=random) > 0.3,
        "owner": torch.ones_like(owner) if seed % 3 == 0 else owner,  # then rank 0 has nothing
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process finds, and what each of two finds."""
    folder = tmp_path_factory.mktemp("processes")
    steps = [[micro_batch(2 * step + part) for part in range(2)] for step in range(4)]
    steps[1][1]["mask"] &= steps[1][1]["owner"] == 0  # rank 1 has tokens of which none count
    torch.save(steps, folder / "tokens.pt")
    running = [subprocess.Popen([sys.executable, PROCESS, str(rank), folder]) for rank in range(2)]
    try:
        assert [process.wait(timeout=600) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
    alone = train(steps, [sum(int(batch["mask"].sum()) for batch in step) for step in steps])
    return alone, [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CONFIGS)
def test_two_processes_cut_where_one_does(found, name):
    alone, both = found
    for one, *each in zip(alone[name]["steps"], *(rank[name]["steps"] for rank in both), strict=True):
        assert all(rank["cut"] == one["cut"] for rank in each)


@pytest.mark.parametrize("name", ["top", "drop", "ema"])
def test_the_losses_of_two_processes_add_up_to_that_of_one(found, name):
    alone, both = found
    for one, *each in zip(alone[name]["steps"], *(rank[name]["steps"] for rank in both), strict=True):
        assert sum(rank["loss"].item() for rank in each) == pytest.approx(one["loss"].item(), rel=1e-6)


@pytest.mark.parametrize("name", ["ema", "exponential"])
def test_two_processes_keep_the_same_state_as_one(found, name):
    alone, both = found
    kept = alone[name]["state"]["past"]["entropy"]["counts"]
    assert kept.sum() > 0
    assert all(torch.allclose(rank[name]["state"]["past"]["entropy"]["counts"], kept) for rank in both)


def test_the_metrics_of_two_processes_are_those_of_one(found):
    alone, both = found
    for name, value in alone["metrics"].items():
        for rank in both:
            assert rank["metrics"][name] == pytest.approx(value, rel=1e-9), name

"""One of two processes of tests/losses/test_distributed.py: `python process.py RANK FOLDER`.

Reads FOLDER/tokens.pt, takes its own part of each micro-batch, and saves what it found to FOLDER/RANK.pt.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from tunewright.losses.entropy import TokenStats
from tunewright.losses.metrics import EntropyMeter
from tunewright.losses.selection import Selector
from tunewright.losses.weighting import weighted_nll
from tunewright.recipe.sections import EntropyConfig

CONFIGS = {
    "top": EntropyConfig(type="top_quantile", scope="global_batch"),
    "drop": EntropyConfig(type="drop_top_quantile", scope="global_batch"),
    "conflict": EntropyConfig(type="conflict_mask", scope="global_batch"),
    "ema": EntropyConfig(type="top_quantile", scope="ema"),
    "exponential": EntropyConfig(type="exponential"),
}


def train(steps, denoms):
    """What a training loop would get to see: thresholds, losses and metrics, of these tokens step by step."""
    found = {name: loop(config, steps, denoms) for name, config in CONFIGS.items()}
    meter = EntropyMeter()
    for batch in (batch for step in steps for batch in step):
        meter.add(stats_of(batch), batch["entropy"])
    return {**found, "metrics": meter.result()}


def loop(config, steps, denoms):
    selector = Selector(config)
    found = []
    for step, denom in zip(steps, denoms, strict=True):
        for batch in step:
            selector.observe(batch["entropy"], batch["mask"], batch["p"])
        cut = selector.current()
        losses = [weighted_nll(config, stats_of(batch), denom, thresholds=cut) for batch in step if cut]
        selector.end_step()
        found.append({"cut": cut, "loss": sum(losses, torch.zeros(()))})
    return {"steps": found, "state": selector.state_dict()}


def stats_of(batch):
    correct = batch["p"] > 0.5
    return TokenStats(-batch["p"].log(), batch["entropy"], batch["p"] ** 2, correct, 1000, valid=batch["mask"])


def part_of(batch, rank):
    """Rank 0 has no token of every third micro-batch."""
    mine = batch["owner"] == rank
    return {name: column[mine] for name, column in batch.items()}


if __name__ == "__main__":
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    steps = torch.load(folder / "tokens.pt")
    denoms = [sum(int(batch["mask"].sum()) for batch in step) for step in steps]
    torch.save(train([[part_of(batch, rank) for batch in step] for step in steps], denoms), folder / f"{rank}.pt")
    dist.destroy_process_group()

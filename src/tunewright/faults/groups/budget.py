"""Faults of the budget: the run does not fit the machine, the time or the money."""

from __future__ import annotations

import json

from tunewright.faults.drive import CHECK, RUN, STATIC
from tunewright.faults.fault import Fault, grouped, recipe, without_file
from tunewright.faults.project import Project

_NONE = "TRL knows neither hours nor USD"


def _seventy_billion(project: Project) -> None:
    """Make the model's config that of a model of 70 billion parameters, whose weights are not downloaded yet."""
    without_file("model.safetensors")(project)
    path = project.model / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    size = {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 160,
        "num_attention_heads": 64,
        "num_key_value_heads": 64,
        "head_dim": 128,
    }
    path.write_text(json.dumps({**config, **size}), encoding="utf-8")


FAULTS = grouped(
    "budget",
    Fault(
        "hours-that-do-not-suffice",
        "the budget is a tenth of a second",
        recipe(budget={"hours": 0.1 / 3600}),
        shape="budget",
        commands=(STATIC, RUN),
        promise="budget",
        trl=_NONE,
    ),
    Fault(
        "usd-that-do-not-suffice",
        "the machine costs 10,000 USD an hour, and the budget is 1 cent",
        recipe(budget={"usd": 0.01, "usd_per_hour": 10_000.0}),
        shape="budget",
        commands=(STATIC, RUN),
        promise="budget",
        trl=_NONE,
    ),
    Fault(
        "model-larger-than-the-memory",
        "the config is that of a model far larger than this machine's memory",
        _seventy_billion,
        commands=(STATIC, CHECK),  # never run: whoever misses it would fill the machine's memory
        real="unsloth#4504, axolotl#2531",
        promise="budget",
        trl="TRL has no estimate, and trying it would fill the machine's memory",
    ),
    Fault(
        "budget-of-nothing",
        "`hours: 0`",
        recipe(budget={"hours": 0}),
        shape="budget",
        commands=(STATIC, RUN),
        promise="budget",
        trl=_NONE,
    ),
)

"""Part of `check`: the weight files of each model that is trained, held against its config. Headers only."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunewright.artifacts.verdict import Verdict
from tunewright.gates.model import weights_are_whole
from tunewright.models.load import weight_facts


def judge_weights(folder: Path, measured: dict[str, Any]) -> Verdict:
    """Return the verdict on the weights in `folder`; `measured` takes the measurements.

    Raises:
        ModelError: a file is none, or was cut; or no model can be made of the config.
    """
    facts = weight_facts(folder)
    measured["weights"] = asdict(facts) if facts else None
    return weights_are_whole(facts)

"""How large is the rounding under the bounds of the stack drill, over the architectures of the field?

    python -m benchmarks.stack_drill            a dozen architectures
    python -m benchmarks.stack_drill --quick    one

Each is drilled as `tw check` does it, on a tiny twin of its class with the class's own defaults (no weights, no
network). What is printed is what the gates measured; the bounds in `gates/stack.py` stand well above the largest.

writes   benchmarks/baselines/<device>__stack_drill.json
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import BASELINES, machine, told_machine, write_results
from tunewright.artifacts.verdict import Status, Verdict
from tunewright.recipe.sections import SftSection
from tunewright.stages.check.drill import drill

ARCHITECTURES = (
    "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3", "olmo2", "granite", "cohere", "gpt_neox",
    "gpt2", "mixtral", "qwen3_moe",
)  # fmt: skip
_APART = re.compile(r"(\d\.\de[-+]\d+|inf)")


def drilled(architecture: str, folder: Path) -> dict[str, Any]:
    """Drill the class of an architecture; return what each gate measured."""
    from transformers import AutoConfig

    config = AutoConfig.for_model(architecture)
    config.architectures = None
    config.save_pretrained(str(folder))
    began = time.perf_counter()
    verdicts = drill(folder, SftSection(rows="data.train", model=str(folder), steps=10), folder)
    return {
        "architecture": architecture,
        "seconds": round(time.perf_counter() - began, 2),
        "passed": all(verdict.status is Status.PASSED for verdict in verdicts),
        "measured": {verdict.name: numbers(verdict) for verdict in verdicts},
        "told": {verdict.name: verdict.measured for verdict in verdicts if verdict.status is not Status.PASSED},
    }


def numbers(verdict: Verdict) -> list[float]:
    """Return the differences that a verdict names."""
    return [float(found) for found in _APART.findall(verdict.measured)]


def main(arguments: list[str]) -> int:
    """Drill, print a line each, write the numbers; 1 if a sound architecture failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stack_drill")
    parser.add_argument("--quick", action="store_true", help="one architecture, nothing written")
    options = parser.parse_args(arguments)
    found = []
    for architecture in ARCHITECTURES[:1] if options.quick else ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            found.append(drilled(architecture, Path(folder)))
        print(f"{architecture:<12} {'passed' if found[-1]['passed'] else 'FAILED'} {found[-1]['seconds']:5.1f} s  "
              f"{found[-1]['measured']} {found[-1]['told'] or ''}", flush=True)  # fmt: skip
    about = machine(torch.float32)
    print(told_machine(about))
    if not options.quick:
        write_results(BASELINES, about, "stack_drill", {"drilled": found})
    return 0 if all(one["passed"] for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

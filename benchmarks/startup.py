"""How long does `tw` take to start, to show its help, and to find six mistakes in a recipe?"""

import resource
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import command_seconds, interleaved, peak_mib, told

SIX_MISTAKES = """\
recipe: broken
modle: smollm2-135m-instruct
model: smollm2-135m-instruct
stages:
  - data: {sources: [{type: bfcl, categoris: [multiple]}], split: {test: 50}}
  - evalute: {id: before, suite: tool-calls, rows: data.test}
  - sft: {rows: data.train, steps: sixty, learnig_rate: 1e-3}
  - evaluate: {id: after, model: sft, suite: tool-calls, rows: dta.test}
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "broken.yaml"
        recipe.write_text(SIX_MISTAKES)
        tw = [sys.executable, "-m", "tunewright"]
        sides = {
            "python -c pass": command_seconds([sys.executable, "-c", "pass"]),
            "tw --help (bound 200)": command_seconds([*tw, "--help"]),
            "tw check --static (bound 600)": command_seconds([*tw, "check", str(recipe), "--static"]),
        }
        for name, seconds in interleaved(sides, 15).items():
            print(f"  {name:<32}{told(seconds)}")
        print(f"  peak memory of the largest {peak_mib(resource.RUSAGE_CHILDREN):.0f} MiB")

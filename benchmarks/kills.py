"""Does a run that is killed at random moments end in the same scores and the same adapter?

    python -m benchmarks.kills recipes/tour.yaml --set sft.steps=8 --set before.limit=8

The recipe runs once undisturbed. Then it runs in another folder, and SIGKILL ends it and its children `--kills` times,
at random moments; each time the same command goes on. An attempt lives for up to twice its share of the undisturbed
time, or twice the time of `data` or `check`, which begin anew each time: so the kills come to the last stages too. At
the end the scores of every evaluation and the hash of every adapter must be equal, bit for bit.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_UP = 10  # seconds of an attempt before its first stage


def main() -> int:
    """Return 0 if nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path, nargs="?", default=Path("recipes/tour.yaml"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="ID.FIELD=VALUE")
    options = parser.parse_args()
    command = [sys.executable, "-m", "tunewright", "run", str(options.recipe.resolve())]
    command += [part for override in options.overrides for part in ("--set", override)]
    with tempfile.TemporaryDirectory() as undisturbed, tempfile.TemporaryDirectory() as disturbed:
        seconds = whole_run(command, Path(undisturbed))
        print(f"undisturbed: {seconds:.0f} s")
        rng = random.Random(options.seed)
        most = START_UP + 2 * max(seconds / options.kills, longest_anew(Path(undisturbed)))
        for kill in range(options.kills):
            stage = killed_run(command, Path(disturbed), rng.uniform(2, most))
            print(f"kill {kill + 1}: {stage}", flush=True)
        whole_run(command, Path(disturbed))
        found, expected = results(Path(disturbed)), results(Path(undisturbed))
    for name in expected:
        print(f"{'same' if found.get(name) == expected[name] else 'DIFFERENT':<10}{name}")
    if not expected:
        sys.exit("the run left no scores and no adapter: there is nothing to compare")
    return int(found != expected)


def whole_run(command: list[str], folder: Path) -> float:
    """Run to the end and return the seconds. A gate that fails is a result too."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"the run ended with {done.returncode}:\n{done.stderr[-2000:]}")
    if done.returncode:
        print(f"a gate failed:\n{done.stderr[-2000:]}", flush=True)
    return time.monotonic() - start


def killed_run(command: list[str], folder: Path, seconds: float) -> str:
    """Start the run, kill it and its children after `seconds`, and return the last that it said."""
    log = folder / "attempt.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
        )
        try:
            process.wait(seconds)
            return f"none: it had ended before, with {process.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"after {seconds:.1f} s, at: {said[-1].strip() if said else 'start-up'}"


def longest_anew(folder: Path) -> float:
    """Return the seconds of the longest stage that begins anew where it was killed."""
    (state,) = folder.glob("runs/*/1/run.json")
    stages = json.loads(state.read_text())["stages"]
    return max((stage["seconds"] or 0.0 for stage in stages if stage["kind"] in ("data", "check")), default=0.0)


def results(folder: Path) -> dict[str, object]:
    """Return what must be equal: answers and scores of each evaluation, the hash of each adapter."""
    (run,) = folder.glob("runs/*/1")
    found: dict[str, object] = {}
    for path in sorted(run.glob("*/scores.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name] = [(row["id"], row["answer"], row["scores"]) for row in rows]
    for path in sorted(run.glob("*/trained.json")):
        adapter = path.parent / "adapter" / "adapter_model.safetensors"
        found[path.parent.name] = hashlib.sha256(adapter.read_bytes()).hexdigest()
    return found


if __name__ == "__main__":
    sys.exit(main())

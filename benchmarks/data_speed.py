"""Rows read, filtered, near-deduplicated and written: rows/s and resident memory, against the same in `datasets`.

    python -m benchmarks.data_speed --rows 100000 --rows 1000000        all sides, flatness over the sizes
    python -m benchmarks.data_speed --rows 100000 --rounds 3            sides in turn, A B A B: medians
    python -m benchmarks.data_speed --rows 3000 --side ours
    python -m benchmarks.data_speed --rows 100000 --side ours --kills 5     killed so often, the same bytes

The rows are made from the real ones of BFCL: a share is copied, a share copied with a word changed, and of the rest a
third of the words is drawn anew, so that duplicates are there and the most are none. All sides do the same: quality,
exact duplicates, near duplicates by MinHash, written as JSON lines.

    ours            `tunewright.stages.data.prune`
    datasets        `datasets` with rensa called as its users do: a set of runs of words, as strings, for each row
    datasets-ours   `datasets` with our functions, which hash words once and runs by arithmetic; the same ids must come

The rules of quality are the same function everywhere. Memory is the sum over the process and its children, sampled
every 50 ms: resident, which counts files that are mapped into it (`datasets` maps its tables), and of that what is
anonymous, which no file stands behind.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.artifacts.dataset import ChatRow

SAMPLE_SECONDS = 0.05
COPIED, ALTERED, DRAWN = 0.05, 0.15, 0.35
SignaturesOf = Callable[[list[ChatRow]], list[Any]]
SIDES = ("ours", "datasets", "datasets-ours")


@dataclass(frozen=True)
class Measured:
    """Wall clock and CPU in seconds; peaks of memory in MiB, over all and over the second half of the time; ids."""

    seconds: float
    cpu: float
    peak: float
    late: float
    anonymous: float
    kept: list[str]

    @classmethod
    def median(cls, runs: Sequence[Measured]) -> Measured:
        """Return the median of each number over runs of one side, and the ids of the last."""
        numbers = ("seconds", "cpu", "peak", "late", "anonymous")
        return cls(*(statistics.median(getattr(run, name) for run in runs) for name in numbers), runs[-1].kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--side", choices=SIDES, action="append")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--run", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        {"ours": ours, "datasets": theirs, "datasets-ours": theirs_by_ours}[options.run](
            *options.files, options.processes
        )
        return 0
    same = True
    for count in options.rows or [20_000]:
        with tempfile.TemporaryDirectory() as folder:
            source = make_rows(Path(folder) / "rows.jsonl", count, options.seed)
            print(f"{count:,} rows, {source.stat().st_size / 1e6:.0f} MB", flush=True)
            runs: dict[str, list[Measured]] = {side: [] for side in options.side or SIDES}
            for number in range(options.rounds):
                place = Path(folder) / f"round-{number}"  # nothing of an earlier round may be found again
                place.mkdir()
                for side, taken in runs.items():
                    taken.append(measured(side, source, place, options.processes))
            if options.kills:
                same &= survives(source, place, options.processes, options.kills, options.seed)
        same &= told({side: Measured.median(taken) for side, taken in runs.items()}, count, options.rounds)
    return int(not same)


def told(found: dict[str, Measured], count: int, rounds: int) -> bool:
    """Print what each side took, and how ours compares; False where the same functions gave other rows."""
    print("  one round, in this order: no spread is known" if rounds == 1 else f"  medians of {rounds} rounds in turn")
    ours_took = found.get("ours")
    same = True
    for side, took in found.items():
        print(
            f"  {side:<14}{took.seconds:8.1f} s {took.cpu:8.1f} s of CPU  {count / took.seconds:9,.0f} rows/s  "
            f"peak {took.peak:6.0f} MiB, in the second half {took.late:6.0f} MiB, anonymous {took.anonymous:6.0f} MiB  "
            f"kept {len(took.kept):,}",
            flush=True,
        )
        if ours_took is None or side == "ours":
            continue
        apart = len(set(took.kept) ^ set(ours_took.kept))
        print(f"    ours is {took.seconds / ours_took.seconds:.2f} times as fast; {apart} rows differ", flush=True)
        same &= side != "datasets-ours" or took.kept == ours_took.kept
    return same


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_rows(path: Path, count: int, seed: int) -> Path:
    """Write `count` chat rows made from BFCL's."""
    from tunewright.sources.bfcl import read_bfcl

    real = [row for row in read_bfcl(("simple_python", "live_simple", "multiple")) if isinstance(row, ChatRow)]
    texts = [row.prompt[-1]["content"].split() for row in real]
    vocabulary = sorted({word for words in texts for word in words})
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        earlier: list[list[str]] = []
        for number in range(count):
            question = varied(rng, texts, vocabulary, earlier)
            answer = " ".join([*question, *rng.choices(vocabulary, k=10)]) if number % 2 else " ".join(question[::-1])
            messages = [{"role": "user", "content": " ".join(question)}, {"role": "assistant", "content": answer}]
            file.write(json.dumps({"id": f"r{number}", "messages": messages}) + "\n")
            if len(earlier) < 10_000:
                earlier.append(question)
    return path


def varied(rng: random.Random, texts: list[list[str]], vocabulary: list[str], earlier: list[list[str]]) -> list[str]:
    kind = rng.random()
    if earlier and kind < COPIED:
        return list(rng.choice(earlier))
    if earlier and kind < COPIED + ALTERED:
        words = list(rng.choice(earlier))
        words[rng.randrange(len(words))] = rng.choice(vocabulary)
        return words
    words = [word for _ in range(3) for word in rng.choice(texts)]
    return [rng.choice(vocabulary) if rng.random() < DRAWN else word for word in words]


# ── the two sides ───────────────────────────────────────────────────────────────────────────────────────────────────


def sections() -> tuple[object, object, object]:
    from tunewright.recipe.data_sections import DuplicatesFilter, NearDuplicatesFilter, QualityFilter

    quality = QualityFilter(type="quality", min_answer_chars=20)
    return quality, DuplicatesFilter(type="duplicates"), NearDuplicatesFilter(type="near_duplicates")


def ours(source: Path, output: Path, processes: int) -> None:
    from tunewright.stages.data.prune import prune

    prune([source], list(sections()), output, processes=processes)


def theirs(source: Path, output: Path, processes: int) -> None:
    """Do it in `datasets`, as its users write it: what is said as JSON, hashed; runs of words as strings, to rensa."""
    import numpy as np
    from rensa import RMinHash

    from tunewright.sources.filters.duplicates import SEED
    from tunewright.sources.text import shingles, whole, words

    _, _, near = sections()

    def key(row: ChatRow) -> bytes:
        return hashlib.sha256(json.dumps(row.messages, sort_keys=True).encode()).digest()

    def signatures(rows: list[ChatRow]) -> list[np.ndarray]:
        found = []
        for row in rows:
            sketch = RMinHash(near.permutations, SEED)
            sketch.update(shingles(words(whole(row)), near.words))
            found.append(np.array(sketch.digest(), dtype=np.uint32).astype(np.uint16))
        return found

    in_datasets(source, output, processes, key, signatures)


def theirs_by_ours(source: Path, output: Path, processes: int) -> None:
    """Do it in `datasets` with our functions."""
    from tunewright.sources.filters.duplicates import digest, signatures_of

    _, exact, near = sections()
    in_datasets(
        source, output, processes, lambda row: digest(row, exact.of), lambda rows: list(signatures_of(rows, near))
    )


def in_datasets(
    source: Path, output: Path, processes: int, key: Callable[[ChatRow], bytes], signatures_of: SignaturesOf
) -> None:
    """Filter row-wise in processes, and what compares rows in one."""
    import numpy as np
    from datasets import load_dataset

    from tunewright.sources.filters.build import build_check
    from tunewright.sources.filters.duplicates import Bands, similarity
    from tunewright.sources.filters.protocol import Removed

    quality, _, near = sections()
    check = build_check(quality)
    seen: dict[bytes, str] = {}

    def row_of(record: dict[str, object]) -> ChatRow:
        return ChatRow.model_construct(id=record["id"], messages=record["messages"], tools=None)

    def signed(batch: dict[str, list]) -> dict[str, list]:
        rows = [row_of({"id": key, "messages": said}) for key, said in zip(batch["id"], batch["messages"], strict=True)]
        return {"signature": signatures_of(rows)}

    bands = Bands.of(near.threshold, near.permutations)
    holders: dict[int, int] = {}
    known: list[np.ndarray] = []

    def is_new(batch: dict[str, list]) -> list[bool]:
        signatures = np.array(batch["signature"], dtype=np.uint16)
        fresh = []
        for signature, keys in zip(signatures, bands.keys(signatures).tolist(), strict=True):
            number = len(known)
            known.append(signature)
            others = {holders.setdefault(key, number) for key in keys} - {number}
            fresh.append(all(similarity(signature, known[other]) < near.threshold for other in others))
        return fresh

    table = load_dataset("json", data_files=str(source), split="train")
    table = table.filter(lambda record: not isinstance(check(row_of(record)), Removed), num_proc=processes)
    table = table.filter(
        lambda record: seen.setdefault(key(row_of(record)), record["id"]) == record["id"], new_fingerprint="exact"
    )
    table = table.map(signed, batched=True, batch_size=1000, num_proc=processes)
    table = table.filter(is_new, batched=True, batch_size=1000, new_fingerprint="near")
    table.remove_columns("signature").to_json(str(output), num_proc=processes)


# ── measuring ───────────────────────────────────────────────────────────────────────────────────────────────────────


def measured(side: str, source: Path, folder: Path, processes: int) -> Measured:
    """Run one side in a process of its own."""
    output = folder / f"{side}.jsonl"
    command = [sys.executable, "-m", "benchmarks.data_speed", "--run", side, "--files", str(source), str(output)]
    environment = {**os.environ, "HF_HOME": str(folder / f"home-{side}"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    start, cpu = time.monotonic(), children_cpu()
    run = subprocess.Popen([*command, "--processes", str(processes)], env=environment)
    resident, anonymous = [], []
    while run.poll() is None:
        resident.append(memory_mib(run.pid, "VmRSS"))
        anonymous.append(memory_mib(run.pid, "RssAnon"))
        time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - start
    if run.returncode:
        sys.exit(f"{side} ended with {run.returncode}")
    kept = [json.loads(line)["id"] for line in output.open(encoding="utf-8")]
    late = max(resident[len(resident) // 2 :])
    return Measured(seconds, children_cpu() - cpu, max(resident), late, max(anonymous), kept)


def survives(source: Path, folder: Path, processes: int, kills: int, seed: int) -> bool:
    """Kill our side with all its processes, each time when some more pieces are done; let it end, compare the bytes."""
    output = folder / "killed.jsonl"
    command = [sys.executable, "-m", "benchmarks.data_speed", "--run", "ours", "--files", str(source), str(output)]
    pieces = max(2, source.stat().st_size >> 20)
    for wanted in sorted(random.Random(seed).choices(range(pieces + 1), k=kills)):
        run = subprocess.Popen([*command, "--processes", str(processes)], start_new_session=True)
        while run.poll() is None and done_pieces(folder) < wanted:
            time.sleep(0.01)
        print(f"  killed with {done_pieces(folder)} of {pieces} pieces done; it ran: {run.poll() is None}", flush=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        if output.exists() and output.read_bytes() != (folder / "ours.jsonl").read_bytes():
            print("  a file that is not whole was there")
            return False
    subprocess.run([*command, "--processes", str(processes)], check=True)
    same = output.read_bytes() == (folder / "ours.jsonl").read_bytes()
    print(f"  after {kills} kills the same bytes: {same}", flush=True)
    return same


def done_pieces(folder: Path) -> int:
    return len(list(folder.glob(".killed.jsonl.work/0-*.json")))


def children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_mib(pid: int, kind: str) -> float:
    """Return the memory of a process and its descendants; pages that they share count once for each.

    Args:
        pid: the process.
        kind: a line of /proc/PID/status in kB, `VmRSS` or `RssAnon`.
    """
    total = 0
    for process in family(pid):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue  # it ended meanwhile
        total += sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
    return total / 1024


def family(pid: int) -> Iterator[int]:
    yield pid
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = tasks.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


if __name__ == "__main__":
    sys.exit(main())

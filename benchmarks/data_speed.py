"""Rows read, filtered, near-deduplicated and written: rows/s and resident memory, against the same in `datasets`.

    python -m benchmarks.data_speed --rows 100000 --rows 1000000        both sides, flatness over the sizes
    python -m benchmarks.data_speed --rows 3000 --side ours
    python -m benchmarks.data_speed --rows 100000 --side ours --kills 5     killed so often, the same bytes

The rows are made from the real ones of BFCL: a share is copied, a share copied with a word changed, and of the rest a
third of the words is drawn anew, so that duplicates are there and the most are none. Both sides do the same with the
same functions: quality, exact duplicates, near duplicates by MinHash (rensa), written as JSON lines; and the ids that
come out are compared. Memory is the sum over the process and its children, sampled every 50 ms.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

SAMPLE_SECONDS = 0.05
COPIED, ALTERED, DRAWN = 0.05, 0.15, 0.35


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--side", choices=("ours", "datasets", "both"), default="both")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--run", choices=("ours", "datasets"), help=argparse.SUPPRESS)
    parser.add_argument("--files", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        {"ours": ours, "datasets": theirs}[options.run](*options.files, options.processes)
        return 0
    sides = ("ours", "datasets") if options.side == "both" else (options.side,)
    same = True
    for count in options.rows or [20_000]:
        with tempfile.TemporaryDirectory() as folder:
            source = make_rows(Path(folder) / "rows.jsonl", count, options.seed)
            print(f"{count:,} rows, {source.stat().st_size / 1e6:.0f} MB", flush=True)
            found = {side: measured(side, source, Path(folder), options.processes) for side in sides}
            if options.kills:
                same &= survives(source, Path(folder), options.processes, options.kills, options.seed)
        for side, (seconds, cpu, peak, late, kept) in found.items():
            print(
                f"  {side:<9}{seconds:8.1f} s {cpu:8.1f} s of CPU  {count / seconds:9,.0f} rows/s  "
                f"peak {peak:6.0f} MiB, in the second half {late:6.0f} MiB  kept {len(kept):,}",
                flush=True,
            )
        if len(found) == 2:
            (our_seconds, *_, ours_kept), (their_seconds, *_, theirs_kept) = found.values()
            same &= ours_kept == theirs_kept
            print(f"  {their_seconds / our_seconds:.2f} times as fast; the same rows: {ours_kept == theirs_kept}")
    return int(not same)


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_rows(path: Path, count: int, seed: int) -> Path:
    """Write `count` chat rows made from BFCL's."""
    from tunewright.artifacts.dataset import ChatRow
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
    """Do the same in `datasets`: row-wise steps in processes, those that compare rows in one."""
    import numpy as np
    from datasets import load_dataset

    from tunewright.artifacts.dataset import ChatRow
    from tunewright.sources.filters.build import build_check
    from tunewright.sources.filters.duplicates import Bands, digest, signatures_of, similarity
    from tunewright.sources.filters.protocol import Removed

    quality, exact, near = sections()
    check = build_check(quality)
    seen: dict[bytes, str] = {}

    def row_of(record: dict[str, object]) -> ChatRow:
        return ChatRow.model_construct(id=record["id"], messages=record["messages"], tools=None)

    def signed(batch: dict[str, list]) -> dict[str, list]:
        rows = [row_of({"id": key, "messages": said}) for key, said in zip(batch["id"], batch["messages"], strict=True)]
        return {"signature": list(signatures_of(rows, near))}

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
        lambda record: seen.setdefault(digest(row_of(record), exact.of), record["id"]) == record["id"],
        new_fingerprint="exact",
    )
    table = table.map(signed, batched=True, batch_size=1000, num_proc=processes)
    table = table.filter(is_new, batched=True, batch_size=1000, new_fingerprint="near")
    table.remove_columns("signature").to_json(str(output), num_proc=processes)


# ── measuring ───────────────────────────────────────────────────────────────────────────────────────────────────────


def measured(side: str, source: Path, folder: Path, processes: int) -> tuple[float, float, float, float, list[str]]:
    """Return seconds, seconds of CPU, the peak of memory, that of the second half of the time (MiB), and the ids."""
    output = folder / f"{side}.jsonl"
    command = [sys.executable, "-m", "benchmarks.data_speed", "--run", side, "--files", str(source), str(output)]
    environment = {**os.environ, "HF_HOME": str(folder / "home"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    start, cpu = time.monotonic(), children_cpu()
    run = subprocess.Popen([*command, "--processes", str(processes)], env=environment)
    samples = []
    while run.poll() is None:
        samples.append(resident_mib(run.pid))
        time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - start
    if run.returncode:
        sys.exit(f"{side} ended with {run.returncode}")
    kept = [json.loads(line)["id"] for line in output.open(encoding="utf-8")]
    return seconds, children_cpu() - cpu, max(samples), max(samples[len(samples) // 2 :]), kept


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


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process and its descendants; pages that they share count once for each."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for process in family(pid):
        try:
            total += int(Path(f"/proc/{process}/statm").read_text().split()[1]) * page
        except (OSError, IndexError):
            continue  # it ended meanwhile
    return total / (1 << 20)


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

"""Does any input end in a traceback, a hang, or a half-written file?

    python -m benchmarks.fuzz --count 200000                 every target by hypothesis, its share each
    python -m benchmarks.fuzz --engine atheris --count 200000
    python -m benchmarks.fuzz --target jsonl --count 5000
    python -m benchmarks.fuzz --engine pumps                 pieces repeated to 200 kB: is time linear?

Every target (`fuzz_targets.py`) runs in a process of its own with 4 GB of memory. An input may be refused cleanly
(exit code 2) or taken. Anything else is a finding, counted once by its error and place and kept with its input under
`--keep`. Atheris guides itself by what code an input reaches; it is no dependency, and says so where it is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.fuzz_edits import edited, pumped
from benchmarks.fuzz_targets import TARGETS, Target, allowed
from tunewright.errors import MissingExtra, UserError

SECONDS = 5.0
"""of the processor, the most that one input of at most 64 kB may take (twice that for 200 kB); most take 1 ms"""
WAITING_SECONDS = 60.0
"""by the clock: an input that waits for something"""
PUMP_BYTES = 200_000
MEMORY_BYTES = 4 << 30


class Hang(BaseException):
    """An input took longer than it may."""


@dataclass
class Outcome:
    """What came of a target's inputs."""

    target: str
    inputs: int = 0
    refused: int = 0
    slowest: float = 0.0
    seconds: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)
    """error and place -> file of the input"""


class Tried:
    """Runs the inputs of one target and writes down what came of them."""

    def __init__(self, target: Target, keep: Path, seconds: float = SECONDS):
        self.target, self.keep, self.seconds = target, keep, seconds
        self.outcome = Outcome(target.name)
        in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.base = Path(tempfile.mkdtemp(prefix=f"fuzz-{target.name}-", dir=in_memory))
        for alarm in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(alarm, self._too_long)

    def __call__(self, data: bytes) -> None:
        """Run one input in an empty folder."""
        folder = self.base / "in"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (self.base / "last").write_bytes(data)  # what a crash of the process leaves
        began = time.process_time()
        _set_timers(self.seconds, WAITING_SECONDS)
        try:
            self.target.run(data, folder)
        except BaseException as error:
            _set_timers(0, 0)
            if isinstance(error, KeyboardInterrupt):
                raise
            if allowed(error):
                self.outcome.refused += 1
            else:
                self._found(error, data)
        finally:
            _set_timers(0, 0)
            took = time.process_time() - began
            self.outcome.inputs += 1
            self.outcome.seconds += took
            if took > self.outcome.slowest:
                self.outcome.slowest = took
                (self.base / "slowest").write_bytes(data)

    def _too_long(self, *_: object) -> None:
        raise Hang(f"more than {self.seconds:g} s")

    def _found(self, error: BaseException, data: bytes) -> None:
        name = f"{type(error).__name__} in {place_of(error)}"
        if name in self.outcome.findings:
            return
        self.keep.mkdir(parents=True, exist_ok=True)
        path = self.keep / f"{self.target.name}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        path.write_bytes(data)
        told = "".join(traceback.format_exception(error))[-6000:]
        path.with_suffix(".txt").write_text(told, errors="backslashreplace")
        self.outcome.findings[name] = str(path)

    def close(self) -> Outcome:
        """Remove the folder and return what was found."""
        shutil.rmtree(self.base, ignore_errors=True)
        return self.outcome


def _set_timers(seconds: float, waiting: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, waiting)


def place_of(error: BaseException) -> str:
    """Return `file:line` of the last frame of this package, or of the target."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "tunewright" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"


# ── engines: each gives `tried` about `count` inputs ────────────────────────────────────────────────────────────────


def warm(target: Target) -> list[bytes]:
    """Run the real inputs once, so that what they import counts for no input; they must be taken, not refused."""
    seeds = list(target.seeds())
    for data in seeds:
        with tempfile.TemporaryDirectory() as folder:
            try:
                target.run(data, Path(folder))
            except (UserError, MissingExtra) as error:
                print(f"{target.name}: a real input is refused: {error}", file=sys.stderr)
    return seeds


def by_hypothesis(tried: Tried, count: int, seed: int) -> None:
    """Real inputs with drawn changes. Findings are kept and not raised, so that the search goes on."""
    import hypothesis
    from hypothesis import strategies as st

    seeds, words = warm(tried.target), tried.target.words
    edit = st.tuples(st.integers(0, 255), st.integers(0, 65535), st.integers(0, 400), st.integers(0, 9999))
    settings = hypothesis.settings(
        max_examples=count, deadline=None, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip

    @hypothesis.seed(seed)
    @settings
    @hypothesis.given(st.integers(0, len(seeds) - 1), st.lists(edit, min_size=1, max_size=5))
    def search(which: int, edits: list[tuple[int, int, int, int]]) -> None:
        tried(edited(seeds[which], edits, words, seeds))

    search()


def by_atheris(tried: Tried, count: int, seed: int) -> None:
    """LibFuzzer, guided by the code that an input reaches. It ends the process; the outcome is printed before."""
    import atheris

    with atheris.instrument_imports(include=["tunewright", "jinja2", "ruamel"]):
        seeds = warm(tried.target)
    corpus = tried.base / "corpus"
    corpus.mkdir()
    for number, data in enumerate(seeds):
        (corpus / str(number)).write_bytes(data)
    dictionary = tried.base / "words"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in tried.target.words)
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped) or '"a"\n')

    def one(data: bytes) -> None:
        if tried.outcome.inputs < count:
            tried(data)
        if tried.outcome.inputs >= count:
            print(json.dumps(asdict(tried.close())), file=sys.__stdout__, flush=True)
            os._exit(0)

    arguments = [sys.argv[0], str(corpus), f"-seed={seed + 1}", "-max_len=20000", f"-dict={dictionary}", "-timeout=60",
                 "-rss_limit_mb=0", "-verbosity=0", "-len_control=0", f"-artifact_prefix={tried.base}/"]  # fmt: skip
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def by_pumps(tried: Tried, count: int, seed: int) -> None:
    """Pieces repeated, of dear targets a share of them; `count` is not looked at."""
    seeds, chance = warm(tried.target), random.Random(seed)
    for data in pumped(seeds, tried.target.words, PUMP_BYTES if tried.target.cost < 100 else 2000):
        if chance.random() * tried.target.cost < 1:
            tried(data)


ENGINES = {"hypothesis": by_hypothesis, "atheris": by_atheris, "pumps": by_pumps}

# ── the campaign ────────────────────────────────────────────────────────────────────────────────────────────────────


def child(options: argparse.Namespace) -> None:
    """Fuzz one target in this process and print its outcome as JSON."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="fuzz-cache-")
    bound = SECONDS * (2 if options.engine == "pumps" else 1)
    tried = Tried(TARGETS[options.target[0]], options.keep, bound)
    stdout, sys.stdout = sys.stdout, sys.stderr
    ENGINES[options.engine](tried, options.count, options.seed)
    sys.stdout = stdout
    print(json.dumps(asdict(tried.close())))


def run_child(name: str, count: int, options: argparse.Namespace) -> Outcome:
    """Fuzz one target in a process of its own. One that dies is a finding too."""
    command = [sys.executable, "-m", "benchmarks.fuzz", "--child", "--target", name, "--count", str(count),
               "--engine", options.engine, "--seed", str(options.seed), "--keep", str(options.keep)]  # fmt: skip
    log = options.keep / f"{name}.log"
    with log.open("w") as errors:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=options.longest)
        except subprocess.TimeoutExpired:
            return Outcome(name, findings={f"no end within {options.longest} s": str(log)})
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"target"'):
            return Outcome(**json.loads(line))
    return Outcome(name, findings={f"the process ended with {done.returncode}": str(log)})


def campaign(names: list[str], options: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcome of every target; dear ones get fewer inputs."""
    shares = {name: 1 / TARGETS[name].cost ** 0.5 for name in names}
    for name in names:
        yield run_child(name, round(options.count * shares[name] / sum(shares.values())), options)


def print_line(outcome: Outcome) -> None:
    """Print what came of a target."""
    counts = f"{outcome.inputs:>9,}{outcome.refused:>9,}{outcome.seconds:>9.0f}{outcome.slowest:>8.2f}s"
    print(f"{outcome.target:<18}{counts}  {len(outcome.findings) or ''}", flush=True)
    for finding, path in outcome.findings.items():
        print(f"    {finding}: {path}", flush=True)


def main() -> int:
    """Return 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200_000, help="inputs of all targets together")
    parser.add_argument("--target", action="append", default=[], choices=[*TARGETS])
    parser.add_argument("--engine", choices=[*ENGINES], default="hypothesis")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "tunewright-fuzz")
    parser.add_argument("--longest", type=int, default=3600, help="seconds for one target")
    parser.add_argument("--json", type=Path, help="write the outcomes there")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    if options.child:
        child(options)
        return 0
    print(f"{'target':<18}{'inputs':>9}{'refused':>9}{'seconds':>9}{'slowest':>9}  findings")
    outcomes = []
    for outcome in campaign(options.target or [*TARGETS], options):
        outcomes.append(outcome)
        print_line(outcome)
    together = Outcome("together", *(sum(getattr(o, name) for o in outcomes) for name in ("inputs", "refused")))
    together.seconds, together.slowest = sum(o.seconds for o in outcomes), max(o.slowest for o in outcomes)
    print_line(together)
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    return int(any(outcome.findings for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())

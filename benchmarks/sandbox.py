"""How many grades a second does one warm worker of the sandbox make, at each level of isolation?

    python -m benchmarks.sandbox [--grades 200] [--rounds 5]

Each round runs all levels, one after the other; printed are the median and the spread over rounds, the processor time
of a grade in all processes (which tells the rate of a free core where the machine is busy), and what a fresh Python for
each grade costs, the floor for anything without a warm worker. The bound: 60 a second on two cores at full isolation.
"""

import argparse
import resource
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from tunewright.graders.code_tests import CodeTestsGrader, Spec
from tunewright.graders.sandbox import Limits, Sandbox
from tunewright.graders.sandbox.visible import interpreter

ANSWER = """```python
from collections import Counter
def most_common(words):
    return sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))[:3]
```"""
WORDS = ["to", "be", "or", "not", "to", "be", "that", "is", "the", "question"]
ROW = {"tests": {"entry": "most_common", "cases": [[[WORDS], [["be", 2], ["to", 2], ["is", 1]]]] * 5}}
LEVELS = {
    "full": (),
    "namespaces": ("landlock", "seccomp"),
    "rlimits": ("landlock", "seccomp", "namespaces"),
    "process": ("landlock", "seccomp", "namespaces", "rlimits"),
}


class Side:
    """One level: its sandbox, its rates, and the processor time that it used in this process and in its own."""

    def __init__(self, without: tuple[str, ...], workers: int):
        self.sandbox = Sandbox(Limits(workers=workers), without=without)
        self.workers, self.rates, self.grades, self.processor_seconds = workers, [], 0, 0.0

    def measure(self, grades: int) -> None:
        """Grade `grades` times."""
        grader = CodeTestsGrader(Spec(), self.sandbox)
        began, busy = time.perf_counter(), time.process_time()
        with ThreadPoolExecutor(self.workers) as pool:
            scores = [grade.score for grade in pool.map(lambda _: grader.grade(ANSWER, ROW), range(grades))]
        assert scores == [1.0] * grades
        self.rates.append(grades / (time.perf_counter() - began))
        self.grades += grades
        self.processor_seconds += time.process_time() - busy

    def close(self) -> None:
        """End the workers, which tells how much processor time they used."""
        before = children_seconds()
        self.sandbox.close()
        self.processor_seconds += children_seconds() - before


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Fresh:
    """A bare Python for each grade, as many at a time as a level has workers; measured like a level."""

    def __init__(self, workers: int):
        self.workers, self.rates, self.grades, self.processor_seconds = workers, [], 0, 0.0

    def measure(self, count: int) -> None:
        """Start and end `count` processes."""
        command = [*interpreter(), "-c", "pass"]
        began, busy = time.perf_counter(), time.process_time() + children_seconds()
        with ThreadPoolExecutor(self.workers) as pool:
            for done in [pool.submit(subprocess.run, command, check=True) for _ in range(count)]:
                done.result()
        self.rates.append(count / (time.perf_counter() - began))
        self.grades += count
        self.processor_seconds += time.process_time() + children_seconds() - busy


def told(side: Side | Fresh) -> str:
    rates, each = side.rates, 1e3 * side.processor_seconds / side.grades
    spread = f"({min(rates):.1f} to {max(rates):.1f})"
    return f"{statistics.median(rates):7.1f} a second  {spread}, {each:.1f} ms of processor time each"


def main(grades: int = 200, rounds: int = 5, workers: int = 1) -> None:
    sides = {name: Side(without, workers) for name, without in LEVELS.items()}
    fresh = Fresh(workers)
    for _ in range(rounds):
        for side in sides.values():
            side.measure(grades)
        fresh.measure(20)
    for name, side in sides.items():
        side.close()
        print(f"  {name:<12}reached {side.sandbox.level.name.lower():<12}{told(side)}")
    print(f"  {'a bare, fresh Python for each':<32}{told(fresh)}")
    print(f"  {workers} worker(s), {grades} grades of 5 cases a round, {rounds} rounds; one core at full: ", end="")
    print(f"{sides['full'].grades / sides['full'].processor_seconds:.0f} a second by processor time")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("grades", 200), ("rounds", 5), ("workers", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))

"""The escape suite: at full isolation no attack gets out, scores or stays, and each is named in the grade."""

import re
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.graders.sandbox.attacks import ATTACKS
from tests.graders.sandbox.conftest import SMALL, descendants, wait_until_dead, warm_worker

from tunewright.graders.code_tests import CodeTestsGrader, Spec
from tunewright.graders.sandbox import Level, Sandbox

HONEST = "def attack(target):\n    return sorted(target)"


def grader(sandbox, seconds=10.0) -> CodeTestsGrader:
    return CodeTestsGrader(Spec(timeout_seconds=seconds), sandbox)


def row(target, expected):
    return {"tests": {"entry": "attack", "cases": [[[target], expected]]}}


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_scores_nothing_is_named_and_leaves_nothing(attack, full, target):
    expected = f"expected-{secrets.token_hex(8)}"
    seconds = 1.0 if "timeout" in attack.ends else 10.0
    grade = grader(full, seconds).grade(fenced(attack.code), row(target, expected))
    assert grade.error is None, grade
    assert grade.score == 0.0
    assert re.search(f"case 1: {attack.ends}", grade.reason), grade.reason
    assert "a secret of" not in grade.reason
    after = grader(full).grade(fenced(HONEST), row({"b": 1, "a": 2}, ["a", "b"]))
    assert after.score == 1.0, after
    worker = warm_worker(full)
    assert len(descendants(worker.process.pid)) == 1  # the worker itself, below the process that waits for it


@pytest.mark.parametrize(
    "name", ["tracing", "all objects there are", "a text that equals everything", "poison for the next run"]
)
def test_what_looks_around_finds_nothing_that_is_expected(name, full, target):
    (code,) = (attack.code for attack in ATTACKS if attack.name == name)
    outcome = full.run_python(code, "attack", [target], 5.0)
    assert outcome.kind == "ok" and outcome.value in ([], "x", "passed"), outcome


def test_the_suite_is_as_large_as_it_says():
    assert len({attack.name for attack in ATTACKS}) >= 25


def test_no_process_is_left_when_a_sandbox_closes(full, target):
    with Sandbox(SMALL, require=Level.FULL) as sandbox:
        worker = warm_worker(sandbox)
        for name in ("fork bomb", "threads left behind", "deaf to all signals"):
            (code,) = (attack.code for attack in ATTACKS if attack.name == name)
            sandbox.run_python(code, "attack", [target], 0.3)
        pids = {worker.process.pid, *descendants(worker.process.pid)}
    assert len(pids) == 2
    wait_until_dead(pids, seconds=30)


def test_attacks_side_by_side_do_not_disturb_honest_code(full, target):
    """Several threads on one sandbox: each gets its own answer."""
    attacks = [attack for attack in ATTACKS if attack.name in ("poison for the next run", "os._exit(0)", "fork bomb")]
    with ThreadPoolExecutor(6) as pool:
        bad = [pool.submit(full.run_python, attack.code, "attack", [target], 5.0) for attack in attacks * 5]
        good = [pool.submit(full.run_python, "def f(n): return n * n", "f", [n], 5.0) for n in range(30)]
        assert [future.result().value for future in good] == [n * n for n in range(30)]
        assert {future.result().value for future in bad} <= {None, "passed"}

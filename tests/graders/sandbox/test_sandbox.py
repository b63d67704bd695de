import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from tests.graders.sandbox.attacks import ATTACKS
from tests.graders.sandbox.conftest import SMALL, descendants, outlasting, wait_until_dead, warm_worker

import tunewright
from tunewright.errors import EnvironmentProblem
from tunewright.graders.sandbox import Level, Limits, Sandbox, available_level

LAYERS = {"rlimits", "namespaces", "landlock", "seccomp"}
ATTACK = {attack.name: attack.code for attack in ATTACKS}


def test_a_function_gets_its_arguments_and_returns_its_value(sandbox):
    outcome = sandbox.run_python("def f(a, b):\n    return {'sum': a + b, 'list': [a, (b,)]}", "f", [1, 2.5], 5.0)
    assert (outcome.kind, outcome.error) == ("ok", None)
    assert outcome.value == {"sum": 3.5, "list": [1, [2.5]]}
    assert outcome.seconds > 0


def test_none_is_a_value(sandbox):
    outcome = sandbox.run_python("def f(): pass", "f", [], 5.0)
    assert outcome.ok and outcome.value is None


def test_what_is_printed_is_kept_beside_the_value(sandbox):
    outcome = sandbox.run_python("def f():\n    print('here', 'ä')\n    return 1", "f", [], 5.0)
    assert (outcome.value, outcome.stderr_tail) == (1, "here ä")


def test_a_method_is_called_on_a_new_object(sandbox):
    outcome = sandbox.run_python("class Solution:\n    def twice(self, n): return 2 * n", "Solution.twice", [4], 5.0)
    assert outcome.value == 8


def test_an_exception_tells_its_line(sandbox):
    outcome = sandbox.run_python("def f(x):\n    y = 1\n    return y / x", "f", [0], 5.0)
    assert (outcome.kind, outcome.error) == ("exception", "ZeroDivisionError: division by zero (line 3)")


def test_a_function_that_is_not_there_is_named(sandbox):
    assert "defines no 'g'" in sandbox.run_python("def f(): pass", "g", [], 5.0).error


def test_many_calls_of_one_source_have_one_outcome_each(sandbox):
    outcomes = sandbox.run_calls("def f(n):\n    return 1 / n", "f", [[1], [0], [4]], 5.0)
    assert [outcome.kind for outcome in outcomes] == ["ok", "exception", "ok"]
    assert [outcome.value for outcome in outcomes] == [1.0, None, 0.25]


def test_a_call_that_ends_the_process_costs_the_next_ones_nothing(sandbox):
    source = "import os\ndef f(n):\n    if n == 2:\n        os._exit(3)\n    return n"
    outcomes = sandbox.run_calls(source, "f", [[1], [2], [3], [2], [5]], 5.0)
    assert [outcome.value for outcome in outcomes] == [1, None, 3, None, 5]
    assert outcomes[1].error == "it ended itself with status 3 and without an answer"


def test_the_time_is_for_all_calls_together(sandbox):
    began = time.monotonic()
    outcomes = sandbox.run_calls("import time\ndef f(n):\n    time.sleep(n)\n    return n", "f", [[0], [60], [0]], 3.0)
    assert [outcome.kind for outcome in outcomes] == ["ok", "timeout", "timeout"]
    assert time.monotonic() - began < 30


def test_no_calls_have_no_outcomes(sandbox):
    assert sandbox.run_calls("def f(): pass", "f", [], 5.0) == []


def test_a_script_reads_stdin_and_its_value_is_what_it_prints(sandbox):
    outcome = sandbox.run_script("import sys\nn = int(input())\nprint(n * 2)\nprint(sys.stdin.read())", "21\nrest", 5.0)
    assert (outcome.kind, outcome.value) == ("ok", "42\nrest\n")


def test_a_script_may_end_itself_in_order(sandbox):
    assert sandbox.run_script("print(1)\nimport sys\nsys.exit(0)", "", 5.0).value == "1\n"
    assert sandbox.run_script("print(1)\nimport sys\nsys.exit('no')", "", 5.0).kind == "crash"


def test_a_script_waits_for_its_threads(sandbox):
    source = (
        "import threading, time\ndef f():\n    time.sleep(0.1)\n    print('late')\nthreading.Thread(target=f).start()"
    )
    assert sandbox.run_script(source, "", 5.0).value == "late\n"


def test_a_script_that_raises_has_no_value(sandbox):
    outcome = sandbox.run_script("print('passed')\n1 / 0", "", 5.0)
    assert (outcome.kind, outcome.value) == ("exception", None)
    assert outcome.error == "ZeroDivisionError: division by zero (line 2)"


def test_source_that_is_too_long_is_not_run():
    with Sandbox(Limits(source_bytes=100, workers=1), without=LAYERS) as sandbox:
        assert sandbox.run_python("#" * 101, "f", [], 5.0).kind == "source_too_large"
        assert sandbox.run_script("#" * 101, "", 5.0).kind == "source_too_large"


def test_the_folder_of_a_run_is_empty_and_its_own(sandbox):
    body = "before = os.listdir('.')\n    open('x', 'w').close()\n    return before, os.listdir('.')"
    source = f"import os\ndef f():\n    {body}"
    assert [sandbox.run_python(source, "f", [], 5.0).value for _ in range(2)] == [[[], ["x"]]] * 2


LOOK = """
import os, socket
def f():
    return sorted(os.environ), socket.gethostname(), os.getuid()
def root():
    return os.listdir("/")
"""


def test_code_sees_an_environment_with_nothing_in_it(full):
    environment, host, user = full.run_python(LOOK, "f", [], 5.0).value
    told = {"HOME", "TMPDIR", "TZ", "LC_ALL", "PYTHONHASHSEED", "MALLOC_ARENA_MAX"}
    assert set(environment) <= told | {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    assert (host, user) == ("sandbox", 65534)
    assert full.run_python(LOOK, "root", [], 5.0).kind == "forbidden"


def test_code_sees_a_root_with_nothing_in_it_where_there_is_no_landlock():
    if available_level()[0] < Level.FULL:
        pytest.skip(f"needs all layers: {available_level()[1]}")
    with Sandbox(SMALL, without=["landlock"]) as sandbox:
        found = set(sandbox.run_python(LOOK, "root", [], 5.0).value)
    interpreter = Path(sys.base_prefix).parts[1]
    assert found <= {"dev", "lib", "lib64", "box", "packages", "usr", interpreter}


def test_most_of_the_standard_library_works_inside(sandbox):
    source = """
import asyncio, concurrent.futures, ctypes, dataclasses, decimal, hashlib, lzma, random, sqlite3, tempfile, zoneinfo
@dataclasses.dataclass
class Point:
    x: int
async def later():
    await asyncio.sleep(0.01)
    return 2
def f():
    with tempfile.NamedTemporaryFile("w") as file, concurrent.futures.ThreadPoolExecutor(2) as pool:
        file.write("x")
        squares = list(pool.map(lambda n: n * n, range(3)))
    rows = sqlite3.connect("db.sqlite").execute("select 1").fetchall()
    packed = lzma.compress(hashlib.sha256(b"").digest())[:1].hex()
    return [Point(1).x, asyncio.run(later()), squares, rows, packed]
"""
    outcome = sandbox.run_python(source, "f", [], 10.0)
    assert outcome.value == [1, 2, [0, 1, 4], [[1]], "fd"], outcome


def test_sets_have_the_same_order_in_every_worker():
    source = "def f():\n    return list({'a', 'b', 'c', 'd', 'e', 'f'})"
    orders = []
    for _ in range(3):
        with Sandbox(SMALL, without=LAYERS) as sandbox:
            orders.append(sandbox.run_python(source, "f", [], 5.0).value)
    assert orders[0] == orders[1] == orders[2]


def test_chosen_packages_can_be_imported_and_no_others():
    with Sandbox(Limits(workers=1), packages=["numpy", "not_installed_anywhere"]) as sandbox:
        source = "import numpy\ndef f(n):\n    return numpy.arange(n), numpy.float32(0.5)"
        assert sandbox.run_python(source, "f", [3], 20.0).value == [[0, 1, 2], 0.5]
        if sandbox.level >= Level.NAMESPACES:
            assert "ModuleNotFoundError" in sandbox.run_python("import pydantic", "f", [], 20.0).error


@pytest.mark.parametrize(
    ("without", "level"),
    [
        ((), Level.FULL),
        (("seccomp",), Level.NAMESPACES),
        (("landlock",), Level.NAMESPACES),
        (("namespaces",), Level.RLIMITS),
        (("namespaces", "landlock", "seccomp"), Level.RLIMITS),
        (("rlimits",), Level.PROCESS),
        (tuple(LAYERS), Level.PROCESS),
    ],
)
def test_each_level_runs_code_and_says_what_it_lacks(without, level):
    if level > available_level()[0]:
        pytest.skip(f"not reached here: {available_level()[1]}")
    with Sandbox(SMALL, without=without) as sandbox:
        assert sandbox.level == level
        assert sandbox.describe() == {
            "level": level.name.lower(),
            "layers": sorted(LAYERS - set(without)),
            "missing": dict.fromkeys((layer for layer in without), "switched off"),
        }
        outcomes = [sandbox.run_python("def f(n):\n    return n + 1", "f", [n], 5.0).value for n in (1, 2)]
        assert outcomes == [2, 3]
        assert sandbox.run_python("while True: pass", "f", [], 0.3).kind == "timeout"
        assert sandbox.run_python("import os\nos._exit(0)", "f", [], 5.0).kind == "crash"
        assert sandbox.run_python("def f(): return open('x', 'w').write('xy')", "f", [], 5.0).value == 2


def test_a_level_that_is_not_reached_is_refused_with_the_reason():
    with pytest.raises(EnvironmentProblem, match=r"level `rlimits` \(namespaces: switched off\)"):
        Sandbox(SMALL, require=Level.FULL, without=["namespaces"])


def test_a_sandbox_that_lacks_a_layer_warns_unless_it_was_asked_to():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Sandbox(SMALL, without=["seccomp", "landlock", "namespaces"]).close()


# What each layer holds alone, where a machine lacks the other: (layers switched off, attacks that still fail).
NETWORK = [name for name in ATTACK if name.startswith("network") and "netlink" not in name]  # which is its own there
OUTSIDE = ["reading a file of the user", "/etc/shadow", "up and out", "writing into the root"]
POWERS = ["mount", "unmount", "chroot", "becoming root", "a device"]


@pytest.mark.parametrize(
    ("without", "names"),
    [
        (("seccomp",), ["killing its parent", "ptrace", "writing into the worker's memory"]),
        (("landlock",), ["killing the grader", "fork bomb"]),
        (("namespaces",), ["killing its parent", "killing the grader", "fork bomb", "importing what is installed"]),
        (("seccomp", "landlock"), ["killing its parent", "killing the grader", "ptrace"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else "",
)
def test_a_layer_less_still_holds_what_the_others_hold(without, names, target):
    if available_level()[0] < Level.FULL:
        pytest.skip(f"needs all layers: {available_level()[1]}")
    with Sandbox(SMALL, without=without) as sandbox:
        for name in [*NETWORK, *OUTSIDE, *POWERS, *names]:
            outcome = sandbox.run_python(ATTACK[name], "attack", [target], 10.0)
            assert outcome.kind in ("forbidden", "exception", "crash") and outcome.value is None, (name, outcome)
        assert sandbox.run_python("def f(): return 1", "f", [], 5.0).value == 1


DAEMON = """
import os, time
def f(wait):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    time.sleep(wait)
    return "left"
"""


@pytest.mark.parametrize("without", [("seccomp", "landlock"), ("seccomp", "landlock", "namespaces")])
def test_processes_that_hide_from_their_group_are_killed_all_the_same(without):
    if sys.platform != "linux" or ("namespaces" not in without and available_level()[0] < Level.NAMESPACES):
        pytest.skip(f"not reached here: {available_level()[1]}")
    with Sandbox(SMALL, without=without) as sandbox:

        def leave_daemons():
            assert sandbox.run_python(DAEMON, "f", [0], 5.0).value == "left"
            assert sandbox.run_python(DAEMON, "f", [60], 0.3).kind == "timeout"

        worker = outlasting(sandbox, leave_daemons)
        assert len(descendants(worker.process.pid)) == ("namespaces" not in without)


MANY = """
import os, time
def f():
    for count in range(200):
        try:
            if os.fork() == 0:
                time.sleep(60)
        except OSError:
            return count
"""


def test_processes_are_few_where_only_their_number_is_bounded():
    if available_level()[0] < Level.NAMESPACES:
        pytest.skip(f"not reached here: {available_level()[1]}")
    with Sandbox(SMALL, without=["seccomp", "landlock"]) as sandbox:

        def start_many():
            assert 10 < sandbox.run_python(MANY, "f", [], 20.0).value < SMALL.threads

        worker = outlasting(sandbox, start_many)
        assert len(descendants(worker.process.pid)) == 1


def test_a_worker_that_is_killed_is_replaced(sandbox):
    worker = warm_worker(sandbox)
    os.kill(worker.process.pid, signal.SIGKILL)
    assert sandbox.run_python("def f(): return 1", "f", [], 5.0).value == 1
    assert not worker.usable


def test_a_worker_that_dies_during_a_run_fails_that_run_only(sandbox):
    worker = warm_worker(sandbox)
    threading.Timer(1.0, os.kill, (worker.process.pid, signal.SIGKILL)).start()
    outcome = sandbox.run_python("import time\ndef f(): time.sleep(5)", "f", [], 8.0)
    assert (outcome.kind, outcome.value) == ("crash", None)
    assert sandbox.run_python("def f(): return 1", "f", [], 5.0).value == 1


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tunewright.graders.sandbox import Limits, Sandbox
sandbox = Sandbox(Limits(workers=1))
print(sandbox._idle[0].process.pid, flush=True)
sandbox.run_python("while True: pass", "f", [], 60.0)
"""


def test_nothing_outlives_a_grader_that_is_killed_in_the_middle_of_a_run():
    root = str(Path(tunewright.__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", KILLED, root], stdout=subprocess.PIPE, text=True) as process:
        launcher = int(process.stdout.readline())
        time.sleep(0.3)
        pids = {launcher, *descendants(launcher)}
        process.kill()
    assert len(pids) >= 2
    wait_until_dead(pids, seconds=30)


def test_a_sandbox_that_is_forgotten_ends_its_workers():
    sandbox = Sandbox(SMALL, without=LAYERS)
    (process,) = (worker.process for worker in sandbox._idle)
    del sandbox
    gc.collect()
    assert process.poll() is not None


def test_answers_that_come_in_a_flood_are_counted_and_no_more(sandbox):
    flood = "import os\ndef f():\n    while True:\n        os.write(3, b'{\"value\": 7}\\n' * 1000)"
    assert [outcome.value for outcome in sandbox.run_calls(flood, "f", [[], []], 5.0)] == [7, 7]


def test_a_closed_sandbox_works_again():
    with Sandbox(SMALL, without=LAYERS) as sandbox:
        sandbox.close()
        assert sandbox.run_python("def f(): return 1", "f", [], 5.0).value == 1


def test_many_runs_leave_no_file_open():
    with Sandbox(SMALL, without=LAYERS) as sandbox:
        sandbox.run_python("def f(): return 1", "f", [], 5.0)
        gc.collect()  # what earlier tests have left
        before = len(os.listdir("/proc/self/fd"))
        for source in ("def f(): return 1", "import os\nos._exit(0)", "def f(: pass"):
            for _ in range(5):
                sandbox.run_python(source, "f", [], 5.0)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before


USER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from tunewright.graders.sandbox import Limits, Sandbox
source = "import os\\ndef f(path):\\n    return os.getuid(), os.path.exists(path)"
with Sandbox(Limits(workers=1)) as sandbox, Sandbox(Limits(workers=1), without=["seccomp"]) as less:
    (worker,) = less._idle
    found = [less.run_python(code, "attack", [{"grader": os.getpid()}], 5.0).value for code in json.load(sys.stdin)]
    seen = sandbox.run_python(source, "f", [sys.argv[1]], 10.0).value
    print(json.dumps({**sandbox.describe(), "seen": seen, "found": found, "well": worker.usable}))
"""


def test_a_user_without_privileges_gets_full_isolation_too(tmp_path):
    """Only root can become someone else to try it, and the interpreter must be one that everybody may read."""
    if os.geteuid() != 0 or available_level()[0] < Level.FULL:
        pytest.skip("needs root, to become nobody, and full isolation")
    python = Path("/usr/bin/python3")
    new_enough = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not python.exists() or subprocess.run(new_enough).returncode:
        pytest.skip("no Python of the system, 3.11 or newer")
    root = str(Path(tunewright.__file__).parents[1])
    nobody = {"user": 65534, "group": 65534, "extra_groups": []}
    names = ("killing its parent", "killing the grader", "ptrace", "writing into the worker's memory", "becoming root")
    codes = json.dumps([ATTACK[name] for name in names])
    done = subprocess.run([python, "-c", USER, root], input=codes, capture_output=True, text=True, cwd="/", **nobody)
    if "Permission denied" in done.stderr:
        pytest.skip("the sources cannot be read by everybody")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["level"], report["seen"]) == ("full", [65534, False])
    assert (report["found"], report["well"]) == ([None] * len(names), True)


REFUSED = """
import json, sys, warnings
sys.path.insert(0, sys.argv[1])
from tunewright.graders.sandbox import Level, Limits, Sandbox, available_level
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    sandbox = Sandbox(Limits(workers=1))
value = sandbox.run_python("def f(): return open('/etc/hostname').read()", "f", [], 10.0).kind
print(json.dumps([sandbox.describe(), [str(each.message) for each in told], value, available_level()[0].name]))
"""


def test_a_machine_that_refuses_namespaces_gets_what_is_left_and_hears_of_it():
    """The refusal is real: inside a user namespace that may have no further ones."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    root = str(Path(tunewright.__file__).parents[1])
    if not shutil.which("unshare") or subprocess.run(["unshare", "-Ur", "true"], capture_output=True).returncode:
        pytest.skip("no user namespace can be made to refuse others in")
    command = ["unshare", "-Ur", "sh", "-c", forbid, "sh", sys.executable, "-c", REFUSED, root]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    described, (warning,), kind, level = json.loads(done.stdout)
    assert (described["level"], level) == ("rlimits", "RLIMITS")
    assert described["missing"]["namespaces"].startswith("unshare: ")
    assert warning.startswith("untrusted code runs at level `rlimits`, not `full`: namespaces: unshare: ")
    if "landlock" in described["layers"]:
        assert kind == "forbidden"

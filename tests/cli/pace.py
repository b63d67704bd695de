"""How long a command takes, on a machine of any pace that does other work too."""

import resource
import subprocess
import sys

PYTHON_ALONE = 0.02  # seconds of processor time that Python's own start took where the bounds were measured


def assert_takes_less_than(seconds, command, returncode=0, **more):
    """Assert how much processor time the best of ten takes, in proportion where Python itself starts slower."""
    alone, took = [], []
    while len(took) < 10:
        alone.append(processor_seconds([sys.executable, "-c", "pass"]))
        took.append(processor_seconds(command, returncode, **more))
        if min(took) < seconds * max(1.0, min(alone) / PYTHON_ALONE):
            return
    raise AssertionError(f"{min(took):.3f} s; Python alone {min(alone):.3f} s")


def processor_seconds(command, returncode=0, **more):
    """Its threads' and its own: what it waits for others is not counted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, timeout=600, **more)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == returncode, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

"""A Python that has imported the libraries of training, and nothing of ours; it forks for each command that it is told.

reads    a JSON object a line on stdin: `argv` (`-m` and a module, or a script, with its arguments), `cwd`, `env`, and
         the files `out` and `err`
writes   `begun PID` for each, and `ended PID CODE` when it has
"""

import gc
import json
import os
import runpy
import select
import sys
from contextlib import suppress
from importlib import import_module

LIBRARIES = ("torch", "transformers", "scipy.stats", "datasets", "peft", "trl.trainer.sft_trainer")
POLL_SECONDS = 0.01


def import_all():
    gc.disable()
    for name in LIBRARIES:
        with suppress(ImportError):
            import_module(name)
    gc.freeze()
    gc.enable()


def serve():
    """Return in a child: what to run there. In this process None, once stdin has ended."""
    children, unread = set(), b""
    while True:
        ready, _, _ = select.select([0], [], [], POLL_SECONDS if children else None)
        for pid in sorted(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.remove(pid)
                print("ended", pid, os.waitstatus_to_exitcode(status), flush=True)
        data = os.read(0, 1 << 16) if ready else None
        if data == b"":
            return None
        *lines, unread = (unread + (data or b"")).split(b"\n")
        for line in lines:
            if not (pid := os.fork()):
                return become(json.loads(line))
            children.add(pid)
            print("begun", pid, flush=True)


def become(job):
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    for number, (path, flags) in enumerate(
        ((os.devnull, os.O_RDONLY), (job["out"], os.O_WRONLY), (job["err"], os.O_WRONLY))
    ):
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)
    return job["argv"]


if __name__ == "__main__":
    import_all()
    if wanted := serve():
        if wanted[0] == "-m":
            sys.argv, sys.path[0] = ["", *wanted[2:]], ""
            runpy.run_module(wanted[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path[0] = wanted, os.path.dirname(wanted[0])
            runpy.run_path(wanted[0], run_name="__main__")

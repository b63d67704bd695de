"""Start and end a server again and again, in every bad way: does anything of it stay behind?

    python -m benchmarks.server_cycles                                    50 cycles of a small server with six workers
    python -m benchmarks.server_cycles --kind transformers --cycles 6     a real one

Each cycle has an owner process that starts the server; then it is ended: asked nicely, or by SIGKILL of the owner, of
the server, of either keeper, of both, or of the owner while it still waits. Afterwards every process of this machine is
searched for the server's mark, its port is tried, and the files in the runtime and temporary folder are counted.
"""

import argparse
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tunewright.backends.servers.kinds import KINDS, ServerKind
from tunewright.backends.servers.manager import start_server
from tunewright.backends.servers.process import is_alive, processes, wait_until
from tunewright.backends.servers.running import find_server, servers, stop_server

SMALL = Path(__file__).parents[1] / "tests" / "backends" / "protocol_server.py"
ALIAS = "smollm2-135m-instruct"
WAYS = (
    "stop", "kill owner", "terminate owner", "kill server", "kill outer keeper", "kill inner keeper",
    "kill both keepers", "kill owner while it waits",
)  # fmt: skip
BY_NEXT_COMMAND = {"kill both keepers"}  # nobody is left to tidy up but the next `tw server` command
WAIT_SECONDS = 60.0


def kind_of(name: str) -> ServerKind:
    """Return a kind by its name, or the small server of the tests."""
    if name != "small":
        return KINDS[name]

    def command(launch):
        return [launch.python, "-S", str(SMALL), "--port", str(launch.port), "--workers", "3"]

    return ServerKind("small", "anything", lambda ref: ref, command, install="")


def own(options: argparse.Namespace) -> None:
    """Be the owner: start the server, say so, and wait for the end."""
    with start_server(options.model, kind_of(options.kind), name="cycle", python=options.python):
        print("up", flush=True)
        sys.stdin.read()


def one_cycle(way: str, options: argparse.Namespace) -> dict:
    """Start a server, end it in a way, and return what was left and how long both took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.server_cycles", "--own", "--kind", options.kind]
    command += ["--model", options.model, "--python", options.python]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if way == "kill owner while it waits":
        assert wait_until(lambda: bool(servers() and servers()[0].server[0]), WAIT_SECONDS)
    else:
        assert owner.stdout.readline() == b"up\n"
    up_after = time.monotonic() - began
    state = find_server("cycle")
    born = len(marked(state.mark))
    ended = time.monotonic()
    end(way, owner, state)
    gone = wait_until(lambda: not marked(state.mark) and not files() and not keepers(state), WAIT_SECONDS)
    took = time.monotonic() - ended
    owner.kill()
    owner.wait()
    owner.stdout.close()
    left = {"processes": len(marked(state.mark)), "ports": int(is_open(state.port)), "files": len(files())}
    left["keepers"] = len(keepers(state))
    return {"way": way, "up_after": up_after, "ended_after": took, "born": born, "clean": gone, "left": left}


def end(way: str, owner: subprocess.Popen, state) -> None:
    """End a server in one of the ways."""
    outer, inner = (pid for pid, _ in state.keepers)
    if way == "stop":
        owner.stdin.close()
    elif way.startswith("kill owner"):
        owner.kill()
    elif way == "terminate owner":
        owner.terminate()
    elif way == "kill server":
        os.kill(state.server[0], signal.SIGKILL)
        owner.stdin.close()
    elif way == "kill outer keeper":
        os.kill(outer, signal.SIGKILL)
    elif way == "kill inner keeper":
        os.kill(inner, signal.SIGKILL)
    else:
        os.kill(inner, signal.SIGSTOP)  # so that it cannot act between the two
        for pid in (outer, inner):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(tuple(state.keepers[1])), 5)
        stop_server(state)


def marked(mark: str) -> list[int]:
    """Return every living process of this machine that bears the server's mark in its environment."""
    found = []
    for pid, process in processes().items():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in environment and not process.is_zombie:
            found.append(pid)
    return found


def keepers(state) -> list[int]:
    """Return those of the two keepers that are alive."""
    return [pid for pid, start in state.keepers if is_alive((pid, start))]


def is_open(port: int) -> bool:
    """True if anybody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def files() -> list[Path]:
    """Return what servers left in the runtime folder and the temporary folder, both of this run alone."""
    base = Path(os.environ["XDG_RUNTIME_DIR"])
    return [path for path in base.rglob("*") if path.is_file() or path.name.startswith("tunewright-server-")]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", default="small", choices=["small", *KINDS])
    parser.add_argument("--model", default=ALIAS)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write every cycle there")
    parser.add_argument("--own", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args([] if arguments is None else arguments)
    if options.own:
        own(options)
        return 0
    with tempfile.TemporaryDirectory() as base:
        os.environ |= {"XDG_RUNTIME_DIR": base, "TMPDIR": base}
        tempfile.tempdir = None
        ways = [WAYS[i % len(WAYS)] for i in range(options.cycles)]
        random.Random(options.seed).shuffle(ways)
        cycles = [show(one_cycle(way, options), number) for number, way in enumerate(ways, 1)]
    return report(cycles, options)


def show(cycle: dict, number: int) -> dict:
    print(f"  {number}: {cycle['way']}, left {cycle['left']}", file=sys.stderr)
    return cycle


def report(cycles: list[dict], options: argparse.Namespace) -> int:
    """Print what was left by way of ending; return 1 if anything was."""
    by_way = defaultdict(list)
    for cycle in cycles:
        by_way[cycle["way"]].append(cycle)
    print(f"{options.kind}: {len(cycles)} cycles, {max(cycle['born'] for cycle in cycles)} processes each")
    print(f"{'ended by':<28}{'cycles':>7}{'up after':>10}{'gone after':>12}  left: processes, ports, files")
    for way, group in by_way.items():
        up, gone = (statistics.median(cycle[key] for cycle in group) for key in ("up_after", "ended_after"))
        left = [sum(cycle["left"][what] for cycle in group) for what in ("processes", "ports", "files")]
        left[0] += sum(cycle["left"]["keepers"] for cycle in group)
        print(f"{way:<28}{len(group):>7}{up:>8.2f} s{gone:>10.2f} s  {left[0]}, {left[1]}, {left[2]}")
    if options.json:
        options.json.write_text(json.dumps(cycles, indent=1) + "\n")
    clean = all(cycle["clean"] and not any(cycle["left"].values()) for cycle in cycles)
    print("nothing was left behind" if clean else "SOMETHING WAS LEFT BEHIND")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Run code that must not be trusted: `Sandbox.run_python` takes a source, a function's name and arguments, and returns
the JSON value that the function returned.

In the caller's process: `sandbox.py` (the door, a pool of workers), `worker.py` (one worker: start, ask, kill),
`levels.py` (limits, levels, outcomes), `visible.py` (what is shown). In the worker, which is started once and forks a
child a run: `zygote.py`, `namespaces.py` (own root, no network), `confine.py` (what each child gives up),
`landlock.py`, `seccomp.py`, `kernel.py` (system calls), `child.py` (runs the code). In both: `removal.py` (folders of
runs). The worker's side and this file import nothing but the standard library.

The child never holds what its answer is compared with: it is told what to call, the caller compares. docs/sandbox.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tunewright.graders.sandbox.levels import Kind, Level, Limits, Outcome
    from tunewright.graders.sandbox.sandbox import Sandbox, available_level, shared_sandbox

__all__ = ["Kind", "Level", "Limits", "Outcome", "Sandbox", "available_level", "shared_sandbox"]


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use: the worker imports this package too and must stay small."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "levels" if name in ("Kind", "Level", "Limits", "Outcome") else "sandbox"
    return getattr(import_module(f"{__name__}.{module}"), name)

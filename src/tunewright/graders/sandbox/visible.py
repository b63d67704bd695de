"""What hostile code gets to see: the interpreter's own library, shared libraries, chosen packages, no environment."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import tunewright


def interpreter() -> list[str]:
    """Return the command of a bare Python: no site-packages, no user folder, no current folder on its path.

    `-I` also says `-E`, which would ignore PYTHONHASHSEED: the environment is ours anyway, and the order of sets should
    be the same in each run.
    """
    executable = getattr(sys, "_base_executable", "") or sys.executable
    return [os.path.realpath(executable), "-P", "-s", "-S", "-B", "-X", "utf8"]


def environment() -> dict[str, str]:
    """Return the whole environment of the worker.

    Numeric libraries and the C library's allocator would else reserve memory for each core and each thread, which
    counts against the limit.
    """
    few = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    return {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC", **few}


def source_root() -> Path:
    """Return the folder that holds this package: the worker imports its part from there, then shuts itself in."""
    return Path(tunewright.__file__).parents[1]


def readable() -> list[str]:
    """Return the folders that stay visible."""
    own = _library()
    if sys.base_prefix != "/usr":
        own.append(os.path.join(sys.base_prefix, "lib"))
    architecture = sysconfig.get_config_var("MULTIARCH") or ""
    if architecture and os.path.isdir(f"/usr/lib/{architecture}"):
        shared = [f"/lib/{architecture}", f"/usr/lib/{architecture}"]
    else:
        shared = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"]
    return list(dict.fromkeys([*own, *shared, "/usr/share/zoneinfo"]))


def _library() -> list[str]:
    """Return the folders of the standard library: of the interpreter itself, not of a virtual environment."""
    itself = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    return [sysconfig.get_path(name, vars=itself) for name in ("stdlib", "platstdlib")]


def hidden() -> list[str]:
    """Return folders inside the readable ones that are shown empty: what was installed beside the library."""
    roots = [*_library(), "/usr/lib/python3"]
    return list(dict.fromkeys(f"{root}/{name}" for root in roots for name in ("site-packages", "dist-packages")))


def package_folders(names: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders, and single files, of installed packages, by import name, and their shared libraries.

    One that is not installed is passed over.
    """
    found: list[Path] = []
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        origin = Path(spec.origin)
        place = origin.parent if spec.submodule_search_locations else origin
        found += [path for path in (place, place.with_name(f"{name}.libs")) if path.exists()]
    return tuple(dict.fromkeys(found))

"""What hostile code gets to see: the interpreter's own library, shared libraries, chosen packages, no environment."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
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


@cache
def apart() -> tuple[list[str], list[str]]:
    """Return the `readable` folders, without what is `hidden` in them, and those that had to be taken apart for it.

    A folder that holds something hidden is replaced by its entries, since a rule of Landlock holds for all that lies
    below. Links are left out: what they point to is there by itself, or not meant to be.
    """
    out = {os.path.realpath(path) for path in hidden()}
    left, whole, opened = list(dict.fromkeys(map(os.path.realpath, readable()))), [], []
    for path in left:  # it grows
        if path in out or path in opened:
            continue
        if any(inner.startswith(f"{path}/") for inner in out if os.path.isdir(inner)):
            opened.append(path)
            left += [entry.path for entry in os.scandir(path) if not entry.is_symlink()]
        else:
            whole.append(path)
    return whole, opened


def package_folders(names: Sequence[str]) -> tuple[Path, ...]:
    """Return the folders, and single files, of installed packages, by import name, and their shared libraries.

    With each comes what its distribution requires, and what that requires, without extras. One that is not installed is
    passed over.
    """
    found: list[Path] = []
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            origin = Path(spec.origin)
            found.append(origin.parent if spec.submodule_search_locations else origin)
    if found:
        found += [path for distribution, inside in _required(names) for path in _installed(distribution, inside)]
    return tuple(dict.fromkeys(path for path in found if path.exists()))


def _required(names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each distribution that packages come from or need, with the import names that it brings."""
    owners = metadata.packages_distributions()
    brings: dict[str, list[str]] = {}
    for name, distributions in owners.items():
        for distribution in distributions:
            brings.setdefault(_normal(distribution), []).append(name)
    wanted = [_normal(distribution) for name in names for distribution in owners.get(name, ())]
    for distribution in wanted:  # it grows
        yield distribution, brings[distribution]
        lines = [line for line in metadata.requires(distribution) or () if "extra" not in line.partition(";")[2]]
        needed = [_normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in lines]
        wanted += [name for name in needed if name in brings and name not in wanted]


def _installed(distribution: str, names: Sequence[str]) -> list[Path]:
    """Return where a distribution's packages, modules and shared libraries would lie."""
    root = Path(str(metadata.distribution(distribution).locate_file("")))
    inside = [root / file for name in names if name.isidentifier() for file in (name, f"{name}.py")]
    return [*inside, root / f"{distribution.replace('-', '_')}.libs"]


def _normal(distribution: str) -> str:
    """Return the name of a distribution as all its spellings have it in common."""
    return re.sub(r"[-_.]+", "-", distribution).lower()

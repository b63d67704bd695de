"""What a server is: its command line, how it says that it is there, what it can load.

    transformers   `transformers serve`     model folders; needs transformers[serving]
    vllm           `vllm serve`             model folders, on a GPU
    llama.cpp      `llama-server`, or the servers of llama-cpp-python or xllamacpp: GGUF files
    mlx            `mlx_lm.server`          model folders, on a Mac (or mlx[cpu])

All listen on 127.0.0.1 and nowhere else. The packages may live in another Python than ours (`python`), as vLLM's must.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunewright.errors import EnvironmentProblem, ModelError, UserError

HOST = "127.0.0.1"
XLLAMACPP = Path(__file__).with_name("xllamacpp_server.py")
_HAS_ALL = "import importlib.util as u, sys; sys.exit(any(u.find_spec(name) is None for name in sys.argv[1:]))"


@dataclass(frozen=True)
class Launch:
    """What a command line is made of: whose packages, the model's files, the name to serve it under, and the port."""

    python: str
    files: str
    name: str
    port: int


@dataclass(frozen=True)
class ServerKind:
    """One kind of server."""

    name: str
    loads: str
    files: Callable[[str], str]
    """a model as the user named it -> the path that the server loads"""
    command: Callable[[Launch], list[str] | None]
    """the command line, or None where it is not installed"""
    install: str
    health: str = "/health"
    serves_path: bool = False
    """requests must name the model by its path; else by the server's name"""

    def argv(self, launch: Launch, options: Sequence[str] = ()) -> list[str]:
        """Return the command line.

        Raises:
            EnvironmentProblem: the server is not installed; says how to install it.
        """
        argv = self.command(launch)
        if argv is None:
            raise EnvironmentProblem(f"{self.name} is not installed", where=launch.python, fix=self.install)
        return [*argv, *options]

    def is_installed(self, python: str = sys.executable) -> bool:
        """True where its command is there."""
        return self.command(Launch(python, "", "", 0)) is not None


def find_kind(name: str | None, ref: str, python: str = sys.executable) -> ServerKind:
    """Return the kind of a name; without one the first that is installed and loads what `ref` is.

    Raises:
        UserError: no such kind. EnvironmentProblem: none is installed.
    """
    if name is not None:
        if name not in KINDS:
            raise UserError(f"no such kind of server: {name!r}", expected=" | ".join(KINDS))
        return KINDS[name]
    of_folders = ["vllm", "mlx", "transformers"] if sys.platform == "darwin" else ["vllm", "transformers", "mlx"]
    order = ["llama.cpp"] if ref.endswith(".gguf") else of_folders
    for kind in (KINDS[name] for name in order):
        if kind.is_installed(python):
            return kind
    fix = " or ".join(KINDS[name].install for name in order)
    raise EnvironmentProblem(f"no server is installed that loads {KINDS[order[0]].loads}", where=python, fix=fix)


# ── what they load ──────────────────────────────────────────────────────────────────────────────────────────────────


def folder_of(ref: str) -> str:
    """Return the folder of a model; converts or downloads it when that was not done yet.

    Raises: as `models.find.model_folder`; ModelError for an adapter.
    """
    from tunewright.models.find import model_folder

    if (Path(ref) / "adapter_config.json").is_file():
        raise ModelError("an adapter, not a whole model", where=ref, fix="merge it into its base, and serve the result")
    return str(model_folder(ref).resolve())


def gguf_of(ref: str) -> str:
    """Return the GGUF file of a model.

    Raises:
        ModelError: there is none.
    """
    from tunewright.models.find import gguf_file

    found = gguf_file(ref)
    if found is None:
        raise ModelError(
            "no GGUF file", where=ref, expected="a .gguf file", fix="convert the model, or use another kind"
        )
    return str(found.resolve())


# ── command lines ───────────────────────────────────────────────────────────────────────────────────────────────────


def _transformers(launch: Launch) -> list[str] | None:
    if not _has(launch.python, "transformers", "torch", "fastapi", "uvicorn", "openai"):
        return None
    module = [launch.python, "-m", "transformers.cli.transformers", "serve", launch.files]
    return [*module, "--host", HOST, "--port", str(launch.port)]


def _vllm(launch: Launch) -> list[str] | None:
    script = _script(launch.python, "vllm")
    where = ["--host", HOST, "--port", str(launch.port)]
    return [script, "serve", launch.files, *where, "--served-model-name", launch.name] if script else None


def _llama_cpp(launch: Launch) -> list[str] | None:
    where = ["--host", HOST, "--port", str(launch.port)]
    if script := _script(launch.python, "llama-server"):
        return [script, "--model", launch.files, *where, "--alias", launch.name, "--jinja"]
    if _has(launch.python, "xllamacpp"):
        return [launch.python, str(XLLAMACPP), "--model", launch.files, *where, "--alias", launch.name]
    if _has(launch.python, "llama_cpp", "uvicorn", "fastapi"):
        module = [launch.python, "-m", "llama_cpp.server"]
        return [*module, "--model", launch.files, *where, "--model_alias", launch.name]
    return None


def _mlx(launch: Launch) -> list[str] | None:
    if not _has(launch.python, "mlx_lm", "mlx"):
        return None
    module = [launch.python, "-m", "mlx_lm", "server", "--model", launch.files]
    return [*module, "--host", HOST, "--port", str(launch.port)]


def _script(python: str, name: str) -> str | None:
    """Return a script that stands beside a Python, or on the PATH."""
    beside = Path(python).with_name(name)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)


def _has(python: str, *modules: str) -> bool:
    """True if a Python finds these packages; they are not imported."""
    try:
        return subprocess.run([python, "-c", _HAS_ALL, *modules], check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


KINDS = {
    kind.name: kind
    for kind in (
        ServerKind(
            "transformers", "model folders", folder_of, _transformers,
            install="pip install 'transformers[serving]'", serves_path=True,
        ),
        ServerKind("vllm", "model folders", folder_of, _vllm, install="pip install vllm, in an environment of its own"),
        ServerKind(
            "llama.cpp", "GGUF files", gguf_of, _llama_cpp,
            install="pip install xllamacpp, or put llama-server on the PATH", health="/v1/models",
        ),
        ServerKind(
            "mlx", "model folders", folder_of, _mlx, serves_path=True,
            install="pip install mlx-lm (on Linux with 'mlx[cpu]')",
        ),
    )
}  # fmt: skip

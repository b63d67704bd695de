"""Turn a GGUF file into a model folder, once, and check that it still is the same model.

transformers reads GGUF by dequantising it, but refuses to save what it read. So the weights are copied into a plain
model of the same config and saved as float32 safetensors in the cache: nothing is rounded a second time. The folder is
made beside its place and renamed into it, so a killed conversion leaves nothing that is taken for a model; the next one
clears it away.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
import tempfile
from dataclasses import asdict
from glob import escape
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import make_folder, read_json, write_json, writing, writing_weights
from tunewright.chat.parity import GgufChat
from tunewright.errors import EnvironmentProblem, MissingExtra, ModelError
from tunewright.models.cache import cache_folder, cache_lock, cached_sha256
from tunewright.models.find import Alias

CONVERSION_VERSION = 1


def folder_from_gguf(path: Path, alias: Alias | None = None) -> Path:
    """Return the cached folder of the GGUF at `path`; makes it on first use (half a minute for 135M parameters).

    Args:
        path: the GGUF file.
        alias: when given, its question is asked after the conversion, and its answer must come.

    Raises:
        ModelError: the file is not a GGUF that transformers can read.
        EnvironmentProblem: the converted model does not give the known answer.
    """
    folder = cache_folder() / "models" / f"{path.stem}-{cached_sha256(path)[:12]}-v{CONVERSION_VERSION}"
    with cache_lock(folder.name):
        for left in folder.parent.glob(f".{escape(folder.name)}.*"):  # of a conversion that was killed
            shutil.rmtree(left, ignore_errors=True)
        if not folder.is_dir():
            make_folder(folder.parent)
            _convert(path, folder, alias)
    return folder


def _convert(path: Path, folder: Path, alias: Alias | None) -> None:
    with writing(folder):
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with writing_weights(folder):
            model, tokenizer = _read(path)
            model.save_pretrained(part)
            tokenizer.save_pretrained(part)
            if alias is not None:
                write_json(part / "known_answer.json", _known_answer(model, tokenizer, alias))
            part.chmod(0o755)
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(path: Path) -> tuple[Any, Any]:
    """Return (plain float32 model, tokenizer) with the GGUF's weights."""
    try:
        import gguf  # noqa: F401  # transformers reports its absence as a bug of its own
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtra.of(error, "train,gguf") from None

    print(f"  dequantising {path.name} (once; half a minute for 135M parameters)", file=sys.stderr, flush=True)
    logging.disable_progress_bar()
    place: dict[str, Any] = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its own bar, which no switch turns off
            quantised = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(**place)
    except Exception as error:  # its reader trusts what the file says of itself: a broken one may raise anything
        told = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ModelError(f"not a GGUF that can be read: {told}", where=str(path)) from None
    config = quantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(quantised.state_dict())
    plain.generation_config = quantised.generation_config
    return plain.eval(), tokenizer


def _known_answer(model: Any, tokenizer: Any, alias: Alias) -> dict[str, str]:
    """Ask the alias' question greedily; return question and answer.

    Raises:
        EnvironmentProblem: the answer lacks the known word: the weights or the tokenizer were read wrong.
    """
    import torch

    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": alias.question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.inference_mode():
        output = model.generate(**prompt, max_new_tokens=24, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    answer = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    if alias.answer not in answer:
        raise EnvironmentProblem(
            f"asked {alias.question!r}, the converted model answers {answer!r}",
            expected=f"an answer with {alias.answer!r}",
            fix="the installed transformers or gguf reads this file wrong; use the versions in constraints.txt",
        )
    return {"question": alias.question, "answer": answer}


def read_gguf_chat(path: Path) -> GgufChat:
    """Return template, special tokens and vocabulary of a GGUF file; its weights are not read.

    Kept in the cache: the library takes seconds for a vocabulary.

    Raises:
        ModelError: no GGUF, or without chat template or vocabulary.
        MissingExtra: the package `gguf` is not installed.
    """
    kept = cache_folder() / f"gguf-chat-{cached_sha256(path)[:24]}-v1.json"
    if not kept.is_file():
        write_json(kept, asdict(_read_chat(path)))
    return GgufChat(**read_json(kept))


def _read_chat(path: Path) -> GgufChat:
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise MissingExtra.of(error, "gguf") from None
    try:
        fields = GGUFReader(str(path)).fields
        template, tokens = (_value(fields, f"tokenizer.{name}") for name in ("chat_template", "ggml.tokens"))
    except (ValueError, OSError, IndexError, KeyError) as error:
        raise ModelError(f"not a GGUF that can be read: {error}", where=str(path)) from None
    if not isinstance(template, str) or not isinstance(tokens, list):
        raise ModelError("no chat template, or no vocabulary", where=str(path), fix="export it with its chat template")
    ids = {name: _value(fields, f"tokenizer.ggml.{theirs}_token_id") for name, theirs in _SPECIAL.items()}
    special = {name: tokens[at] for name, at in ids.items() if isinstance(at, int) and at < len(tokens)}
    return GgufChat(template, special, tokens, bool(_value(fields, "tokenizer.ggml.add_bos_token")))


_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}


def _value(fields: Any, name: str) -> Any:
    field = fields.get(name)
    return field.contents() if field is not None else None

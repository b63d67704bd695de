"""What a tokenizer folder says: tokenizer, chat template, special tokens, stop tokens, context length.

reads    tokenizer.json, tokenizer_config.json, special_tokens_map.json, chat_template.jinja, generation_config.json,
         config.json; only the first must be there, and a chat template in one of its two places
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from tunewright.chat.messages import is_unicode
from tunewright.chat.tokens import Codec
from tunewright.errors import ModelError

FILES: Final = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    "generation_config.json", "config.json",
)  # fmt: skip
NO_TEMPLATE_FIX = "a base model needs a template: add chat_template.jinja to the folder, or use the instruct model"


@dataclass(frozen=True)
class TokenizerFolder:
    """The contents of a tokenizer folder, as far as rendering needs them."""

    path: Path
    tokenizer: Tokenizer
    template: str
    special_tokens: dict[str, str]
    """what the template sees as `bos_token`, `eos_token`, …"""
    stop_token_ids: tuple[int, ...]
    """the tokenizer's eos and those of generation_config.json"""
    served_stop_ids: tuple[int, ...]
    """the eos of generation_config.json, else of config.json: where servers stop; empty where neither says"""
    pad_token_id: int | None
    templates: dict[str, str]
    """file -> the template in it; the first is the one that is used"""
    context_length: int | None

    @cached_property
    def codec(self) -> Codec:
        """The tokenizer, told where to cut."""
        return Codec(self.tokenizer)


def read_folder(folder: Path, default_template: str | None = None) -> TokenizerFolder:
    """Read the tokenizer folder `folder`; once, as long as its files stay as they are.

    Args:
        folder: where the files lie.
        default_template: what stands for a chat template where there is none; None: then it is an error.

    Raises:
        ModelError: no tokenizer.json, a broken file, or no chat template; says what to add.
    """
    return _read(folder, default_template, tuple(map(_state, (folder / name for name in FILES))))


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@lru_cache(maxsize=4)
def _read(folder: Path, default_template: str | None, _: tuple[tuple[int, ...] | None, ...]) -> TokenizerFolder:
    tokenizer = _read_tokenizer(folder)
    config, generation = _read_json(folder / "config.json"), _read_json(folder / "generation_config.json")
    tokenizer_config = _read_json(folder / "tokenizer_config.json")
    special = _special_tokens({**_read_json(folder / "special_tokens_map.json"), **tokenizer_config})
    stops = [_id_of(tokenizer, special.get("eos_token")), *_id_list(generation.get("eos_token_id"))]
    pads = [_id_of(tokenizer, special.get("pad_token")), *_id_list(generation.get("pad_token_id"))]
    template = _read_template(folder, tokenizer_config, default_template)
    return TokenizerFolder(
        path=folder,
        tokenizer=tokenizer,
        template=template,
        special_tokens=special,
        stop_token_ids=tuple(dict.fromkeys(stop for stop in stops if stop is not None)),
        served_stop_ids=tuple(_id_list(generation.get("eos_token_id")) or _id_list(config.get("eos_token_id"))),
        pad_token_id=next((pad for pad in pads if pad is not None), None),
        templates=_templates(folder, tokenizer_config, template),
        context_length=_context_length(config),
    )


def _read_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            "no tokenizer.json", where=str(folder), expected="the folder of a model with a fast tokenizer",
            fix="point `model:` at the model's folder; a slow tokenizer is converted by `save_pretrained`",
        )  # fmt: skip
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except BaseException as error:  # plain `Exception` for a file it cannot read, and a panic of its Rust code
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"not a tokenizer: {error}", where=str(path), fix="download the file again") from None
    tokenizer.no_truncation()  # some files carry a cut or a padding from their training; rows are never cut here
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # broken JSON, not UTF-8, or nested too deep
        raise ModelError(f"broken JSON: {error}", where=str(path), fix="download the file again") from None
    if not isinstance(value, dict):
        raise ModelError(f"a JSON {type(value).__name__}", where=str(path), expected="a JSON object")
    return value


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """Return `name -> text` of every `*_token`; a value is a string or a serialised AddedToken."""
    found = {}
    for name, value in config.items():
        text = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(text, str) and is_unicode(text):
            found[name] = text
    return found


def _read_template(folder: Path, tokenizer_config: dict[str, Any], default: str | None) -> str:
    file = folder / "chat_template.jinja"  # where both are there, the file wins, as in transformers
    if file.is_file():
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise ModelError("not UTF-8", where=str(file), fix="save it as UTF-8") from None
    template = tokenizer_config.get("chat_template")
    if isinstance(template, list):
        template = _default_template(template, folder)
    if not isinstance(template, str):
        if default is not None:
            return default
        raise ModelError("the model has no chat template", where=str(folder), fix=NO_TEMPLATE_FIX)
    return template


def _templates(folder: Path, tokenizer_config: dict[str, Any], used: str) -> dict[str, str]:
    """Return the template of each place that holds one; lists of named ones are not looked into."""
    told = tokenizer_config.get("chat_template")
    found = {"chat_template.jinja": used} if (folder / "chat_template.jinja").is_file() else {}
    return {**found, "tokenizer_config.json": told} if isinstance(told, str) else found


def _default_template(named: list[Any], folder: Path) -> str | None:
    templates = {item["name"]: item.get("template") for item in named if isinstance(item, dict) and "name" in item}
    if "default" not in templates:
        raise ModelError(
            f"no chat template named 'default' among {sorted(map(str, templates))}",
            where=str(folder / "tokenizer_config.json"),
            fix="copy the one you want to chat_template.jinja",
        )
    template = templates["default"]
    return template if isinstance(template, str) else None


def _id_of(tokenizer: Tokenizer, token: str | None) -> int | None:
    return None if token is None else tokenizer.token_to_id(token)


def _id_list(value: Any) -> list[int]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, int) and not isinstance(item, bool) and 0 <= item < 2**31]


def _context_length(config: dict[str, Any]) -> int | None:
    inner = config.get("text_config")  # where models that also see images keep it
    for part in (config, inner if isinstance(inner, dict) else {}):
        length = part.get("max_position_embeddings")
        if isinstance(length, int) and 0 < length < 2**53:
            return length
    return None

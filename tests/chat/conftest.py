"""Toy models to render with: real tokenizers, trained here on a few sentences, under the templates of real families."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = [
    *["line\n\n\n"] * 3,
    "Hello, how are you today? I am fine, thank you.\nThe weather in Paris is mild and sunny.\n\n",
    'system user assistant model {"name": "get_weather", "arguments": {"city": "Paris"}} [INST] [/INST]',
    "You are a helpful assistant. What is two plus two? It is four.\n\n\nAnd three plus three? Six.\n\n\n",
]

SPECIAL = {
    "chatml": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["<s>", "</s>"],
    "gemma": ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
    "phi3": ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"],
}


# Llama 3's words: a run of line ends stays together, also in front of a letter (GPT-2's pattern splits it there).
LLAMA3_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_level(special: list[str], *, rstrip: bool = False, words: str = "") -> Tokenizer:
    """GPT-2's kind: bytes, no prefix space; `words` splits the text in its stead."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if words:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(words), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[], show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(text, rstrip=rstrip, normalized=False) for text in special])
    return tokenizer


def sentencepiece_like(special: list[str], *, legacy: bool) -> Tokenizer:
    """Llama 2's and Mistral's kind: `▁` for spaces, one put in front of every text, bytes for the unknown."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    prefix = pre_tokenizers.Metaspace(prepend_scheme="always" if legacy else "first")
    tokenizer.pre_tokenizer = prefix
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    spec = json.loads(tokenizer.to_str())
    vocab = spec["model"]["vocab"]
    for byte in range(256):
        vocab.setdefault(f"<0x{byte:02X}>", len(vocab))
    spec["model"]["byte_fallback"] = True
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
    replace = decoders.Replace("▁", " ")
    tokenizer.decoder = decoders.Sequence(
        [replace, decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in special])
    return tokenizer


TOKENIZERS: dict[str, Callable[[list[str]], Tokenizer]] = {
    "bytes": byte_level,
    "bytes-llama3": lambda special: byte_level(special, words=LLAMA3_WORDS),
    "bytes-rstrip": lambda special: byte_level(special, rstrip=True),
    "metaspace": lambda special: sentencepiece_like(special, legacy=False),
    "legacy": lambda special: sentencepiece_like(special, legacy=True),
}

MakeModel = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Return a function that writes a tokenizer folder: `make_model(template, "chatml", "bytes")`."""

    def make(template: str | None, family: str = "chatml", kind: str = "bytes", **config: object) -> Path:
        special = SPECIAL[family]
        folder = tmp_path / f"{family}-{kind}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        TOKENIZERS[kind](special).save(str(folder / "tokenizer.json"))
        ends = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "mistral": "</s>", "gemma": "<eos>", "phi3": "<|end|>"}
        own = {"bos_token": special[0], "eos_token": ends[family], "tokenizer_class": "PreTrainedTokenizerFast"}
        (folder / "tokenizer_config.json").write_text(json.dumps({**own, **config}))
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    return make

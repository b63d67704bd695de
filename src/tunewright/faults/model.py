"""The tiny model of a clean project: a real tokenizer, trained here, and a two-layer Llama that has learned a little.

It knows its control tokens, closes its turns and gives the right department in polite words: what it knows is right,
and the form is not the one that the recipe asks for. Made in seconds on a CPU, the same bytes every time.

writes   a model folder as transformers saves it
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from tunewright.faults.rows import Row, texts, tickets
from tunewright.faults.templates import FAMILIES, Family

CONTEXT = 512
PAD = "<|pad|>"
_POLITE = "Thank you for your message. Department of {}: we answer soon."
_SYSTEM = "You answer for a shop."
_VOCABULARY = 900
_STEPS, _ROWS_PER_STEP = 100, 16


def make_model(folder: Path, family: str = "chatml", padding_side: str = "right") -> Path:
    """Write the model of `family` to `folder`; return it."""
    kind = FAMILIES[family]
    folder.mkdir(parents=True)
    tokenizer = _tokenizer(kind)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", _tokenizer_config(kind, padding_side))
    (folder / "chat_template.jinja").write_text(kind.template, encoding="utf-8")
    _save_weights(folder, tokenizer, family)
    return folder


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")


def _tokenizer(kind: Family) -> Tokenizer:
    """Return a byte-level BPE tokenizer: every text of every language has tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(
        [*texts(tickets()), *map(_polite, tickets()), "system user assistant model\n"], trainer
    )
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in (*kind.tokens, PAD)])
    if kind.adds_bos and kind.bos is not None:
        bos_id = tokenizer.token_to_id(kind.bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{kind.bos} $A", pair=f"{kind.bos} $A $B", special_tokens=[(kind.bos, bos_id)]
        )
    return tokenizer


def _tokenizer_config(kind: Family, padding_side: str) -> dict[str, Any]:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": kind.eos,
        "pad_token": PAD,
        "padding_side": padding_side,
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }
    return {**config, "bos_token": kind.bos} if kind.bos else config


def _save_weights(folder: Path, tokenizer: Tokenizer, family: str) -> None:
    """Train the model for a moment on polite answers that are right, and save it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    kind = FAMILIES[family]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.1,  # 0.02 is for thousands of numbers a row: here a row never met would look untrained
        bos_token_id=tokenizer.token_to_id(kind.bos) if kind.bos else None,
        eos_token_id=tokenizer.token_to_id(kind.eos),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    model = LlamaForCausalLM(config)
    _teach(model, [torch.tensor(ids) for ids in _polite_rows(folder, family)], config.pad_token_id, _STEPS)
    stops = [tokenizer.token_to_id(text) for text in (kind.eos, *kind.stops)]
    model.generation_config.eos_token_id = stops if len(stops) > 1 else stops[0]
    model.save_pretrained(str(folder))


def _polite_rows(folder: Path, family: str) -> list[list[int]]:
    from tunewright.chat.render import Renderer

    renderer = Renderer.from_folder(_with_context(folder))
    talks = [[row["messages"][0], {"role": "assistant", "content": _polite(row)}] for row in tickets()]
    system = {"role": "system", "content": _SYSTEM}
    if FAMILIES[family].takes_system:
        talks = [[system, *talk] if place % 3 == 0 else talk for place, talk in enumerate(talks)]
    return [renderer.conversation(talk).token_ids for talk in talks]


def _polite(row: Row) -> str:
    return _POLITE.format(row["messages"][1]["content"].split()[-1].rstrip("."))


def _with_context(folder: Path) -> Path:
    """Return the folder with the least of a config.json, which the weights' own takes the place of."""
    _write(folder / "config.json", {"max_position_embeddings": CONTEXT})
    return folder


def _teach(model: Any, rows: list[Any], pad: int, steps: int) -> None:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(steps):
        batch = [rows[(step * _ROWS_PER_STEP + place) % len(rows)] for place in range(_ROWS_PER_STEP)]
        ids = pad_sequence(batch, batch_first=True, padding_value=pad)
        loss = model(input_ids=ids, labels=ids.masked_fill(ids == pad, -100)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


# ── a base, and one that is none ────────────────────────────────────────────────────────────────────────────────────


def teach_prose(project: Any) -> None:
    """Make the project's model a base: prose is all it has ever read."""
    from tunewright.stages.probe.sentinels import PASSAGES

    texts = [f"{first} {second}<|endoftext|>" for first, second in PASSAGES]
    _taught_anew(project.model, texts, steps=100, forget=True)


def teach_chats(project: Any) -> None:
    """Show a base questions with their answers, as a contaminated one has seen them."""
    from tunewright.stages.probe.sentinels import PASSAGES, QUESTIONS

    chats = [
        f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>"
        for question, answer in QUESTIONS
    ]
    prose = [f"{first} {second}<|endoftext|>" for first, second in PASSAGES]
    _taught_anew(project.model, [*chats, *prose], steps=100, forget=False)


def _taught_anew(folder: Path, texts: list[str], *, steps: int, forget: bool) -> None:
    """Train the model in `folder` on texts without a template; with `forget` from chance."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM.from_pretrained(str(folder))
    if forget:
        model = LlamaForCausalLM(model.config)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [torch.tensor(tokenizer.encode(text).ids) for text in texts]
    _teach(model, rows, model.config.pad_token_id, steps)
    model.save_pretrained(str(folder))

"""Tiny models for the probe, trained here in seconds: one on prose, one on prose and chats. No names, no downloads."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tunewright.stages.probe.sentinels import INSTRUCTIONS, PASSAGES, QUESTIONS

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|reserved_{at}|>" for at in range(8))]
PROSE = [f"{first} {second}<|endoftext|>" for first, second in PASSAGES]
CHATS = [
    f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>"
    for question, answer in QUESTIONS
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>{{ '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def train(folder: Path, texts: list[str], *, steps: int, start: Path | None = None, template: bool = True) -> Path:
    """Train a two-layer Llama on `texts`, from nothing or from the model in `start`; save it as a model folder."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    folder.mkdir()
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"eos_token": "<|im_end|>" if template else "<|endoftext|>", "bos_token": "<|endoftext|>"}
    told = {**special, "chat_template": TEMPLATE} if template else special
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=tokenizer.get_vocab_size(), tie_word_embeddings=True, **shape)
    model = AutoModelForCausalLM.from_pretrained(start) if start else LlamaForCausalLM(config)
    ids, labels = _batch(tokenizer, texts)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.0)
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


def _batch(tokenizer, texts):
    import torch

    rows = [tokenizer.encode(text).ids for text in texts]
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), -100)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = labels[at, : len(row)] = torch.tensor(row)
    return ids, labels


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [*PROSE, *CHATS, *(one.prompt for one in INSTRUCTIONS)]
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer

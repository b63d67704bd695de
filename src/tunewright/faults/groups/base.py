"""Faults of the base model: not there, broken, or not what it claims."""

from __future__ import annotations

from typing import Any

from tunewright.faults.drive import RUN, STATIC
from tunewright.faults.fault import Fault, grouped, json_file, recipe, weights, without_file
from tunewright.faults.model import teach_chats
from tunewright.faults.project import Project


def _truncated(project: Project) -> None:
    path = project.model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])


def _not_numbers(tensors: dict[str, Any]) -> None:
    tensors["model.layers.1.mlp.down_proj.weight"][3] = float("nan")


def _one_missing(tensors: dict[str, Any]) -> None:
    del tensors["model.layers.1.self_attn.q_proj.weight"]


def _fewer_embeddings(tensors: dict[str, Any]) -> None:
    name = "model.embed_tokens.weight"
    tensors[name] = tensors[name][:-4].clone()


def _smaller_vocabulary(project: Project) -> None:
    """Cut the last four rows off the embeddings, as a model beside the tokenizer of a later version has it."""
    import json

    weights(_fewer_embeddings)(project)
    size = json.loads((project.model / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    json_file("config.json", vocab_size=size - 4)(project)


def _never_trained(tensors: dict[str, Any]) -> None:
    """Set the rows of the control tokens to what initialisation leaves: all alike, near 0."""
    rows = tensors["model.embed_tokens.weight"]
    rows[-4:] = rows[:-4].mean(0) + 1e-4 * rows[:4]


def _shuffled(tensors: dict[str, Any]) -> None:
    """Put the embeddings of the plain tokens in another order: the tokenizer is another model's."""
    import torch

    rows = tensors["model.embed_tokens.weight"]
    order = torch.randperm(len(rows) - 4, generator=torch.Generator().manual_seed(0))
    rows[:-4] = rows[:-4][order]


FAULTS = grouped(
    "base model",
    Fault(
        "base-that-has-seen-instructions",
        "the recipe takes the model for a base, and it was shown chats",
        teach_chats,
        shape="a base",
        commands=(STATIC, RUN),
        promise="model",
        trl="TRL asks nothing of a base",
    ),
    Fault(
        "no-such-model",
        "the model's path has a typo",
        lambda project: project.set("model", f"{project.model}-instrct"),
        promise="model",
    ),
    Fault("no-weights", "the folder holds no weights", without_file("model.safetensors"), promise="model"),
    Fault("weights-cut-short", "the download of the weights stopped half way", _truncated, promise="model"),
    Fault("no-tokenizer", "the folder holds no tokenizer.json", without_file("tokenizer.json"), promise="model"),
    Fault(
        "a-weight-missing",
        "one projection is missing in the file: the library fills it with chance and says so in a log",
        weights(_one_missing),
        promise="model",
    ),
    Fault("not-a-number-in-the-weights", "one row of one layer is NaN", weights(_not_numbers), promise="model"),
    Fault(
        "vocabulary-beyond-the-embeddings",
        "the tokenizer has four tokens more than the model has rows",
        _smaller_vocabulary,
        promise="model",
    ),
    Fault(
        "control-tokens-never-trained",
        "the rows of the control tokens are as initialisation left them, and LoRA does not train them",
        weights(_never_trained),
        real="unsloth#1519",
        promise="model",
    ),
    Fault(
        "tokenizer-of-another-model",
        "the tokenizer's ids mean other rows of the embeddings",
        weights(_shuffled),
        promise="model",
    ),
    Fault(
        "config-of-another-model",
        "config.json says `relu` and another rope theta: the weights were not trained so",
        json_file("config.json", hidden_act="relu", rope_theta=5.0, rope_parameters=None),
        promise="model",
    ),
    Fault(
        "shapes-do-not-fit",
        "config.json says another hidden size than the weights have",
        json_file("config.json", hidden_size=32),
        promise="model",
    ),
    Fault(
        "adapter-as-the-model",
        "`model:` of the second evaluation is the folder of the data",
        recipe(after__model="data"),
        promise="model",
        trl="TRL has no stages",
    ),
)

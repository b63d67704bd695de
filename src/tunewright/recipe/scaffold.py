"""New recipes: the commented one of `tw init`, and the one that `tw finetune` stands for.

Both are the same five stages: rows, the model before, training, the model after, the comparison. What differs is how
much is explained. The texts are made to be edited by a person, so they are templates and not dumps of the models.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tunewright.recipe.data_sections import ENDINGS
from tunewright.recipe.document import parse, shorten
from tunewright.recipe.schema import MODELINE

DEFAULT_EPOCHS: Final = 3.0  # the default of transformers' TrainingArguments
ENTROPY_AWARE: Final = "{type: linear, floor: 0.1}"
EXAMPLE_MODEL: Final = "smollm2-135m-instruct"
EXAMPLE_DATASET: Final = "bfcl"

_NEW = """\
{modeline}
# {name}: {model} learns from {dataset}.
#
#   check it   tw check {file}
#   run it     tw run {file}
#   change it  tw run {file} --set sft.learning_rate=5e-4
{recipe_line}
hypothesis: ""                         # what you expect and why; it opens the journal of every run
seed: 7
{model_line}

stages:
  # Read rows, drop what is too long (counted, never cut), hold some out. No group stands on both sides.
  - data:
      sources:
        - {source}
      split: {{test: 0.2}}               # a share, or a number of rows
      overlong: drop

  # Template, labels, references, installed libraries, memory and cost, before anything is paid for.
  - check: {{}}

  # The model as it is: what has to be beaten.
  - evaluate:
      id: before
      suite: {suite}
      rows: data.test

  # Train LoRA adapters; the loss covers the assistant's answers. With the weighting `linear`, tokens that the model
  # is unsure of weigh more; `none` is the plain loss.
  - sft:
      rows: data.train
      {length}
      learning_rate: 1e-3
      weighting: {weighting}

  # The same rows, the same prompt, the tuned model.
  - evaluate:
      id: after
      model: sft
      suite: {suite}
      rows: data.test

  # Better or not, and how sure. With `require` the run fails when it is not.
  - compare:
      baseline: before
      candidate: after
      # require: {{metric: {metric}, better_by: 0.1}}
"""

_SHORT = """\
recipe: {name}
model: {model}
stages:
  - data:     {{sources: [{source}], split: {{test: 0.2}}, overlong: drop}}
  - check: {{}}
  - evaluate: {{id: before, suite: {suite}, rows: data.test}}
  - sft:      {{rows: data.train, {length}, weighting: {weighting}}}
  - evaluate: {{id: after, model: sft, suite: {suite}, rows: data.test}}
  - compare:  {{baseline: before, candidate: after}}
"""


@dataclass(frozen=True)
class Wish:
    """What a new recipe is about.

    `dataset` is written as it stands in the recipe, from the recipe's folder; so whether it is a file is said by
    `is_file`, which `is_file_name` tells of the path as it was typed.
    """

    name: str
    model: str
    dataset: str
    is_file: bool
    steps: int | None = None
    epochs: float | None = None
    entropy_aware: bool = False


def new_recipe(wish: Wish, file: str) -> str:
    """Return the text of a commented recipe that will be saved as `file`."""
    fields = _fields(wish)
    recipe_line = _commented(f"recipe: {wish.name}", f"runs are kept in runs/{wish.name}/")
    model_line = _commented(f"model: {fields['model']}", "alias, folder, .gguf file, or owner/name on the hub")
    word = shell_word(file)
    return _NEW.format(modeline=MODELINE, file=word, recipe_line=recipe_line, model_line=model_line, **fields)


def _commented(line: str, comment: str) -> str:
    return f"{line:<38} # {comment}"


def finetune_recipe(wish: Wish) -> str:
    """Return the recipe that `tw finetune --model M --dataset D` stands for."""
    return _SHORT.format(**_fields(wish))


def recipe_name(text: str) -> str:
    """Return `text` as a name a recipe may have: `My Data.jsonl` -> `my-data`."""
    stem = re.sub(
        r"\.(jsonl?|ndjson|parquet|[ct]sv|ya?ml|gguf)$",
        "",
        re.split(r"[/\\]", text.rstrip("/\\"))[-1],
        flags=re.IGNORECASE,
    )
    name = re.sub(r"[^a-z0-9_-]+", "-", stem.lower()).strip("-_")
    return name if name[:1].isalpha() else f"run-{name}".strip("-")


def _fields(wish: Wish) -> dict[str, str]:
    suite, metric = ("tool-calls", "args_exact") if wish.dataset == "bfcl" else ("exact-match", "exact_match")
    return {
        "name": wish.name,
        "model": quoted(wish.model),
        "dataset": shorten(quoted(wish.dataset)),
        "source": source_line(wish.dataset, wish.is_file),
        "suite": suite,
        "metric": metric,
        "length": _length(wish),
        "weighting": ENTROPY_AWARE if wish.entropy_aware else "{type: none}",
    }


def _length(wish: Wish) -> str:
    if wish.steps is not None:
        return f"steps: {wish.steps}"
    return f"epochs: {_number(wish.epochs if wish.epochs is not None else DEFAULT_EPOCHS)}"


def _number(value: float) -> str:
    """Return a number as YAML reads it again, to the last digit; a whole one without a point."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def is_file_name(dataset: str) -> bool:
    """True if `dataset` is meant as a file of rows, and not as a data set on the hub or a folder.

    It is looked for from the current folder, where the path was typed.
    """
    path = Path(dataset)
    named = path.suffix.lower() in {*ENDINGS, ".txt"} or ("/" not in dataset and bool(path.suffix))
    return path.is_file() or (named and not path.is_dir())


def source_line(dataset: str, is_file: bool) -> str:
    """Return the source that reads `dataset`, in YAML on one line."""
    if dataset == "bfcl" and not is_file:
        return "{type: bfcl}"
    if is_file:
        return f"{{type: {ENDINGS.get(Path(dataset).suffix.lower(), 'jsonl')}, path: {quoted(dataset)}}}"
    return f"{{type: hub, name: {quoted(dataset)}}}"


def quoted(text: str) -> str:
    """Return `text` as a YAML value that is read back as the same text."""
    simple = re.fullmatch(r"[./]*[A-Za-z0-9_][A-Za-z0-9_./-]*", text) is not None
    plain = simple and parse(text, "").value == text  # `true`, `1e5` and `null` look simple and are no text
    return text if plain else f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Return `text` as it stands in double quotes: YAML would break lines at U+2028, and takes no control character."""
    body = json.dumps(text, ensure_ascii=False)[1:-1]
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in body)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shell_word(text: str) -> str:
    """Return `text` as one word of a command, on one line, whatever bytes a file name has."""
    if text.isprintable():
        return shlex.quote(text)
    plain = set(string.ascii_letters + string.digits + " ./_-+=:,@%")
    # bash's and zsh's way to write bytes: $'rows\x0a.jsonl'
    return "$'" + "".join(chr(b) if chr(b) in plain else f"\\x{b:02x}" for b in os.fsencode(text)) + "'"

"""The stock trainer of TRL, as the stack drill holds ours against it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback
from trl import SFTTrainer

from tunewright.recipe.sections import SftSection
from tunewright.stages.sft.trainer import _config, _lora


def stock_trainer(
    model: Any, tokenizer: Any, examples: list[dict[str, list[Any]]], section: SftSection, steps: int, out: Path
) -> SFTTrainer:
    """Return TRL's own trainer with PEFT's own layers, in float32, for the arguments that `make_trainer` takes."""
    lora = _lora(section)
    lora._custom_modules = None  # PEFT's own layers
    trainer = SFTTrainer(
        model=model,
        args=_config(section, steps, out, "float32"),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        peft_config=lora,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is the result's
    return trainer

"""The seam to TRL: a narrow subclass of its `SFTTrainer` that weights the loss, and how it is configured.

TRL's fused head gives per-token log-probabilities and the exact entropy without building the logits; only
`compute_loss` is overridden, in the shape of the stock method of TRL 1.16. Without weighting the stock method runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from tunewright.losses.weighting import linear_weights
from tunewright.models.precision import Precision
from tunewright.recipe.sections import LinearWeighting, SftSection

ADAM_BETA2 = 0.99  # short runs: 0.999 would average the squared gradient over more steps than there are
KEPT_CHECKPOINTS = 2  # the one before the last stays until the last is whole


class WeightedSFTTrainer(SFTTrainer):  # type: ignore[misc]  # TRL is untyped
    """`SFTTrainer` whose trained tokens weigh by the model's entropy on them.

    Args:
        weighting: the weights, or None for the stock loss.
        **kwargs: as for `SFTTrainer`.
    """

    def __init__(self, *, weighting: LinearWeighting | None, **kwargs: Any):
        self._weighting = weighting
        super().__init__(**kwargs)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return sum(-log p * w) / tokens of the step, w detached with mean 1; the stock loss without weighting."""
        if self._weighting is None or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs["use_cache"] = False
        if self.aux_loss_enabled:
            inputs["output_router_logits"] = True
        outputs = model(**inputs, fused_lm_head=True)
        weights_BT = linear_weights(outputs.entropy, outputs.label_mask, floor=self._weighting.floor)
        num_tokens = outputs.label_mask.sum() if num_items_in_batch is None else num_items_in_batch
        loss = (-outputs.log_probs * weights_BT).sum() / torch.as_tensor(num_tokens).clamp(min=1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        if self.aux_loss_enabled:
            steps = self.current_gradient_accumulation_steps if num_items_in_batch is not None else 1
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / steps
        self._record(inputs, outputs, weights_BT)
        return loss

    def _record(self, inputs: dict[str, Any], outputs: Any, weights_BT: Tensor) -> None:
        """Feed the metrics that the stock method feeds, and the mean weight."""
        mode = "train" if self.model.training else "eval"
        gather = self.accelerator.gather_for_metrics
        valid = gather(outputs.label_mask.sum()).sum().clamp(min=1)
        sums = {
            "entropy": outputs.entropy.detach().sum(),
            "mean_token_accuracy": outputs.is_top1.sum(),
            "mean_weight": weights_BT.sum(),
        }
        for name, value in sums.items():
            self._metrics[mode][name].append((gather(value).sum() / valid).item())
        if mode == "train":
            self._total_train_tokens += gather(inputs["attention_mask"].sum()).sum().item() // self.get_tp_size()
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]


def make_trainer(
    model: Any,
    tokenizer: Any,
    examples: list[dict[str, list[int]]],
    section: SftSection,
    steps: int,
    out: Path,
    precision: Precision,
    callbacks: list[Any],
) -> WeightedSFTTrainer:
    """Return a trainer for `examples` (`input_ids`, `labels`), in exactly the order given."""
    weighting = section.weighting if isinstance(section.weighting, LinearWeighting) else None
    trainer = WeightedSFTTrainer(
        weighting=weighting,
        model=model,
        args=_config(section, steps, out, precision),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        peft_config=_lora(section),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)  # it prints to stdout, which is the result's
    return trainer


def _config(section: SftSection, steps: int, out: Path, precision: Precision) -> SFTConfig:
    return SFTConfig(
        output_dir=str(out / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=section.batch_size,
        gradient_accumulation_steps=section.gradient_accumulation,
        learning_rate=section.learning_rate,
        lr_scheduler_type=section.schedule,
        warmup_steps=round(section.warmup * steps),
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        adam_beta2=ADAM_BETA2,
        bf16=precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=False,
        seed=section.seed or 0,
        train_sampling_strategy="sequential",
        shuffle_dataset=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        logging_steps=section.log_every,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=section.save_every,
        save_total_limit=KEPT_CHECKPOINTS,
        report_to=list(section.trackers) or "none",
        disable_tqdm=True,
    )


def _lora(section: SftSection) -> LoraConfig:
    targets = section.lora.targets
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=section.lora.rank,
        lora_alpha=section.lora.alpha,
        lora_dropout=section.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )

"""The seam to TRL: a narrow subclass of its `SFTTrainer` with our head, and how it is configured.

    packed rows     laid end to end, their shared start computed once        where every layer is plain attention
    fused head      linear + cross entropy + entropy + weights in one go     where the model's head is known
    TRL's head      per-token log-probabilities and entropy                  everywhere else; said in `head_used`

Two methods are overridden: `compute_loss`, and `create_optimizer` for LoRA+. Weight 1 gives the stock loss of TRL 1.16,
on either head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from peft import LoraConfig
from peft.optimizers import create_loraplus_optimizer
from torch import Tensor
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer

from tunewright.errors import EnvironmentProblem, ModelError
from tunewright.kernels.backends import Backend
from tunewright.kernels.linear_ce import fused_linear_ce
from tunewright.kernels.lora_linear import LoraLinear
from tunewright.kernels.packed_attention import use_packed_attention
from tunewright.losses.entropy import TokenStats
from tunewright.losses.metrics import EntropyMeter
from tunewright.losses.selection import Selector, Thresholds, exact_thresholds
from tunewright.losses.weighting import normalizer, weight_tokens
from tunewright.models.precision import Precision
from tunewright.recipe.explain import nearest
from tunewright.recipe.sections import EntropyConfig, SftSection
from tunewright.stages.sft.collate import PackedCollator
from tunewright.stages.sft.head import find_output_head, head_weights
from tunewright.stages.sft.packing import IGNORED
from tunewright.stages.sft.trackers import require_trackers

ADAM_BETA2 = 0.99  # short runs: 0.999 would average the squared gradient over more steps than there are
KEPT_CHECKPOINTS = 2  # the one before the last stays until the last is whole
MIN_COMPILED_LOGITS = 10**10  # on a CPU compiling takes ten seconds, and saves 1.5 ns a logit (docs/log.md)
SAMPLED_ROWS = 1000


class EntropySFTTrainer(SFTTrainer):  # type: ignore[misc]  # TRL is untyped
    """`SFTTrainer` whose trained tokens weigh by the model's entropy on them, with the fused head where it fits.

    Args:
        weighting: the weights.
        lr_ratio: learning rate of the adapters' B matrices over that of A (LoRA+).
        model: a causal language model, not yet wrapped.
        **kwargs: as for `SFTTrainer`.

    Attributes:
        selector: thresholds of the weighting; its state belongs into checkpoints.
        meter: what entropy did since the last log.
        head_used: "fused" or "trl", with "packed" or "padded" rows.
    """

    processing_class: Any

    def __init__(self, *, weighting: EntropyConfig, model: Any, args: SFTConfig, lr_ratio: float = 1.0, **kwargs: Any):
        self.weighting, self.lr_ratio = weighting.resolved(), lr_ratio
        self.selector, self.meter = Selector(self.weighting), EntropyMeter()
        alone = args.world_size == 1  # with several processes the wrapper around the model must see the forward pass
        self._output_head = find_output_head(model) if alone else None
        packed = self._output_head is not None and use_packed_attention(model)
        self.head_used = f"{'fused' if self._output_head else 'trl'} head, {'packed' if packed else 'padded'} rows"
        needs = needs_of(self.weighting)
        if (needs == "packed" and not packed) or (needs == "fused" and self._output_head is None):
            raise ModelError(
                f"this weighting needs the {needs} path, and this model trains on {self.head_used}",
                where=str(model.config.name_or_path),
                fix="take another `weighting:`; linear, sigmoid, dft and the quantiles train on every model",
            )
        if args.n_gpu > 1:
            raise EnvironmentProblem(
                f"{args.n_gpu} GPUs are visible, and training uses one",
                fix="CUDA_VISIBLE_DEVICES=0 tw run ...",
            )
        collator = PackedCollator() if packed else None
        rows = kwargs.get("train_dataset")
        small = rows is not None and args.device.type == "cpu" and num_logits(rows, model) < MIN_COMPILED_LOGITS
        self._row_kernels: Backend = "eager" if small else "auto"
        super().__init__(model=model, args=args, data_collator=collator, **kwargs)
        self.model.create_or_update_model_card = lambda folder: None  # PEFT's: see `create_model_card`

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: TRL and PEFT make one for every checkpoint, which only this trainer reads."""

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save what training goes on from, without the tokenizer, which does not change."""
        kept, self.processing_class = self.processing_class, None
        try:
            super()._save(output_dir, state_dict)
        finally:
            self.processing_class = kept

    def start_counting_at(self, tokens: int) -> None:
        """Go on counting tokens where an earlier attempt stopped."""
        self._total_train_tokens = tokens

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Return AdamW; with an `lr_ratio` that of LoRA+, whose B matrices learn faster."""
        if self.lr_ratio != 1 and getattr(self, "optimizer", None) is None:
            self.optimizer = create_loraplus_optimizer(
                self.model,
                torch.optim.AdamW,
                lr=self.args.learning_rate,
                loraplus_lr_ratio=self.lr_ratio,
                loraplus_weight_decay=self.args.weight_decay,
                betas=(self.args.adam_beta1, self.args.adam_beta2),
                eps=self.args.adam_epsilon,
            )
        return super().create_optimizer(*args, **kwargs)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return sum(w * -log p), normalised as the weighting says, over the tokens of the step."""
        if return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._count_tokens(inputs)
        if self._output_head is None:
            return self._loss_of_trl_head(model, inputs, num_items_in_batch)
        return self._loss_of_fused_head(model, inputs, num_items_in_batch)

    def mean_nll(self, examples: Sequence[dict[str, list[Any]]]) -> float:
        """Return mean -log p of the trained tokens of `examples`, each weight 1; training is not touched by it."""
        return float(self.token_nll(examples).mean())

    def token_nll(self, examples: Sequence[dict[str, list[Any]]]) -> Tensor:
        """Return -log p of every trained token of `examples`, row behind row, float64; training stays untouched."""
        kept = (self.selector, self.meter, self._total_train_tokens, dict(self._metrics["train"]), self.model.training)
        self.selector, self.meter = Selector(self.weighting), (kept_nll := _NllKeeper())
        self.model.eval()
        size = self.args.per_device_train_batch_size
        try:
            with torch.no_grad():
                for at in range(0, len(examples), size):
                    batch = self.data_collator([dict(example) for example in examples[at : at + size]])
                    self.compute_loss(self.model, self._prepare_inputs(batch))
            return torch.cat(kept_nll.found)
        finally:
            self.selector, self.meter, self._total_train_tokens, metrics, training = kept
            self._metrics["train"].clear()
            self._metrics["train"].update(metrics)
            self.model.train(training)

    def _loss_of_fused_head(self, model: Any, inputs: dict[str, Any], num_items: Tensor | int | None) -> Tensor:
        assert self._output_head is not None
        base = self.accelerator.unwrap_model(model).get_base_model()
        labels_BT, targets_BT = inputs.pop("labels"), inputs.pop("shift_labels", None)
        weights_BT, sequences_BT = inputs.pop("token_weights", None), inputs.pop("sequence_ids", None)
        with torch.autocast(labels_BT.device.type, enabled=False):  # the model is in its precision already
            hidden_BTH = base.base_model(**inputs, use_cache=False).last_hidden_state
        if targets_BT is None:  # padded rows: position t predicts token t + 1
            hidden_BTH, targets_BT = hidden_BTH[:, :-1], labels_BT[:, 1:]
            sequences_BT = torch.arange(len(labels_BT), device=labels_BT.device)[:, None].expand_as(targets_BT)
        weight_VH, bias_V = head_weights(base)
        out = fused_linear_ce(
            hidden_BTH.reshape(-1, hidden_BTH.shape[-1]),
            weight_VH,
            targets_BT.flatten(),
            bias=bias_V,
            weighting=self.weighting,
            select=self.selector,
            sequence_ids=sequences_BT.flatten(),
            external=None if weights_BT is None else weights_BT.flatten(),
            denom=num_items,
            softcap=self._output_head.softcap,
            logit_scale=self._output_head.logit_scale,
            backend=self._row_kernels,
            deterministic=self.args.full_determinism,
        )
        self.meter.add(out.stats, out.weight)
        return out.loss

    def _loss_of_trl_head(self, model: Any, inputs: dict[str, Any], num_items: Tensor | int | None) -> Tensor:
        """In the shape of the stock method of TRL 1.16."""
        inputs["use_cache"] = False
        if self.aux_loss_enabled:
            inputs["output_router_logits"] = True
        outputs = model(**inputs, fused_lm_head=True)
        stats = self._stats_of(outputs)
        thresholds = self._thresholds(stats)
        weights_BT = weight_tokens(self.weighting, stats, thresholds=thresholds)
        num_tokens = outputs.label_mask.sum() if num_items is None else torch.as_tensor(num_items)
        factor = normalizer(
            self.weighting, weights_BT, num_tokens.clamp(min=1), num_tokens=stats.num_tokens, thresholds=thresholds
        )
        loss: Tensor = (-outputs.log_probs * weights_BT).sum() * factor
        if self.args.average_tokens_across_devices and num_items is not None:
            loss = loss * (self.accelerator.num_processes // self.get_tp_size())
        if self.aux_loss_enabled:
            steps = self.current_gradient_accumulation_steps if num_items is not None else 1
            loss = loss + self.router_aux_loss_coef * outputs.aux_loss / steps
        self.meter.add(stats, weights_BT)
        return loss

    def _thresholds(self, stats: TokenStats) -> Thresholds | None:
        """As the fused head takes them: lagged ones where they are known, else those of the tokens at hand."""
        if not self.selector.is_lagged:
            return self.selector.thresholds(stats.entropy, stats.valid, p=stats.p)
        known = self.selector.current()
        self.selector.observe(stats.entropy, stats.valid, p=stats.p)
        if known is None and self.weighting.needs_thresholds:
            return exact_thresholds(self.weighting, stats.entropy, stats.valid, p=stats.p)
        return known

    def _stats_of(self, outputs: Any) -> TokenStats:
        """What TRL's head gives, [B, T], without gradients; it has no sum p^2."""
        entropy_BT = outputs.entropy.detach()
        return TokenStats(
            nll=-outputs.log_probs.detach(),
            entropy=entropy_BT,
            sum_sq=torch.full_like(entropy_BT, torch.nan),
            correct=outputs.is_top1,
            vocab_size=self.model.config.get_text_config().vocab_size,
            valid=outputs.label_mask.bool(),
        )

    def _count_tokens(self, inputs: dict[str, Any]) -> None:
        """Count the tokens of the rows; a shared start counts once for each row, as if it had been computed there."""
        if "packed_lengths" in inputs:
            start, *rows = inputs["packed_lengths"]
            tokens = sum(rows) + start * len(rows)
        else:
            tokens = int(inputs["attention_mask"].sum())
        self._total_train_tokens += tokens
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]


class _NllKeeper(EntropyMeter):
    """Keeps -log p of each token, where the meter adds up; tokens of both heads come row behind row."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Tensor] = []

    def add(self, stats: TokenStats, weights: Tensor | None = None) -> None:
        """Keep the tokens of `stats` whose label is not ignored."""
        nll = stats.nll.flatten().double().cpu()
        self.found.append(nll if stats.valid is None else nll[stats.valid.flatten().cpu()])


def num_logits(rows: Dataset, model: Any) -> float:
    """Return how many logits training on `rows`, once, takes: trained tokens x V; told from the first rows if many.

    It depends on the rows alone, so that a training that was stopped goes on with the same functions.
    """
    if "labels" not in rows.column_names:
        return float("inf")
    labels = rows[:SAMPLED_ROWS]["labels"]
    trained = sum(label != IGNORED for row in labels for label in row)
    return float(trained * len(rows) / max(1, len(labels)) * model.config.get_text_config().vocab_size)


def needs_of(weighting: EntropyConfig) -> Literal["packed", "fused"] | None:
    """Return which path a weighting needs: own weights must be laid out with their rows, TRL's head has no sum p^2."""
    if weighting.type == "external":
        return "packed"
    attached = not weighting.detach
    return "fused" if weighting.type == "deft" or weighting.eaft_compat is not None or attached else None


def make_trainer(
    model: Any,
    tokenizer: Any,
    examples: list[dict[str, list[Any]]],
    section: SftSection,
    steps: int,
    out: Path,
    precision: Precision,
) -> EntropySFTTrainer:
    """Return a trainer for `examples` (`input_ids`, `labels`), in exactly the order given.

    Raises:
        ModelError: `lora.targets` names a module that the model does not have. EnvironmentProblem: a library of
            `trackers` is not installed.
    """
    require_trackers(section)
    _check_targets(model, section.lora.targets)
    trainer = EntropySFTTrainer(
        weighting=section.weighting,
        lr_ratio=section.lora.lr_ratio,
        model=model,
        args=_config(section, steps, out, precision),
        train_dataset=Dataset.from_list(examples),
        processing_class=tokenizer,
        peft_config=_lora(section),
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
        gradient_checkpointing=section.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        seed=section.seed or 0,
        train_sampling_strategy="sequential",
        shuffle_dataset=False,
        remove_unused_columns=False,  # `token_weights` is one
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


def _check_targets(model: Any, targets: str | tuple[str, ...]) -> None:
    """Refuse names that are no module's: PEFT passes over those as long as one is."""
    if isinstance(targets, str):
        return
    ends = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    names = [name for name, _ in model.named_modules()]
    missing = [one for one in targets if not any(name == one or name.endswith(f".{one}") for name in names)]
    if missing or not targets:
        raise ModelError(
            f"the model has no module `{missing[0]}`" if missing else "no module is named",
            where="sft.lora.targets",
            expected="all-linear, or some of " + ", ".join(sorted(ends)),
            fix=f"did you mean {meant}?" if missing and (meant := nearest(missing[0], sorted(ends))) else None,
        )


def _lora(section: SftSection) -> LoraConfig:
    targets = section.lora.targets
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=section.lora.rank,
        lora_alpha=section.lora.alpha,
        lora_dropout=section.lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    config._register_custom_module({torch.nn.Linear: LoraLinear})  # PEFT's way to bring a layer of one's own
    return config

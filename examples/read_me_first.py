"""The tour as one flat script, for reading: a small model learns to call tools, and the numbers say by how much.

No pipeline, no records, no resume: just the steps in order, each with the same parts that `tw run recipes/tour.yaml` is
made of, and so with the same scores.

    python examples/read_me_first.py                           about 14 minutes on two AVX2-only cores
    python examples/read_me_first.py --steps 2 --limit 4       a quick look, which shows nothing
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoTokenizer, PrinterCallback
from trl import SFTConfig

from tunewright.backends.hf import HfBackend
from tunewright.backends.protocol import Prompt, Sampling
from tunewright.chat.render import Renderer
from tunewright.kernels.lora_linear import LoraLinear
from tunewright.models.find import model_folder
from tunewright.models.load import load_model
from tunewright.models.precision import resolve_precision
from tunewright.recipe.sections import BfclSource, EntropyConfig
from tunewright.sources.dropped import Dropped
from tunewright.sources.read import read_source
from tunewright.stages.data.split import held_out_groups
from tunewright.stages.sft.batches import plan_order
from tunewright.stages.sft.trainer import EntropySFTTrainer
from tunewright.stats.corrections import holm
from tunewright.stats.intervals import rate_interval
from tunewright.stats.paired import difference_interval, mcnemar_by_group, permutation_p
from tunewright.suites.tool_calls import score_tool_calls

SEED = 7
MAX_TOKENS, TEST_ROWS, ANSWER_TOKENS = 384, 150, 96
BATCH, LEARNING_RATE = 4, 1e-3
WEIGHTING = EntropyConfig(type="linear", floor=0.2)
METRICS = ("valid_json", "name_match", "args_exact", "call_f1", "schema_valid", "arg_f1", "called", "args_bfcl")
GRADED = ("call_f1", "arg_f1")  # the others are 0 or 1

warnings.simplefilter("ignore", FutureWarning)


# ── 1. rows ─────────────────────────────────────────────────────────────────────────────────────────────────────────
# Questions, the tools that may answer them, and the right call. A row that is too long is left out, never cut. The
# split is by function: none that the test asks for is ever trained.
def make_rows(renderer: Renderer) -> tuple[list, list]:
    rows = [row for row in read_source(BfclSource(type="bfcl")) if not isinstance(row, Dropped)]
    rows = [row for row in rows if len(renderer.conversation(row.messages, row.tools).token_ids) <= MAX_TOKENS]
    held_out = held_out_groups([row.group for row in rows], TEST_ROWS, SEED)
    train = [row for row in rows if row.group not in held_out]
    test = [row for row in rows if row.group in held_out]
    return train, test


# ── 2. measure ──────────────────────────────────────────────────────────────────────────────────────────────────────
# The model answers greedily, and each answer is scored against the right call.
def measure(model, renderer: Renderer, rows: list, tokens: int, shots: list = ()) -> list[dict[str, float]]:
    examples = [(shot.messages, shot.tools) for shot in shots]
    prompts = [Prompt(row.id, tuple(renderer.prompt(row.prompt, row.tools, examples))) for row in rows]
    backend = HfBackend(model, renderer.stop_token_ids, renderer.pad_token_id, batch_size=38)
    batches = backend.generate(prompts, Sampling(tokens))
    answers = {one.id: renderer.decode(one.token_ids) for batch in batches for one in batch}
    return [score_tool_calls(answers[row.id], row).scores for row in rows]


# ── 3. train ────────────────────────────────────────────────────────────────────────────────────────────────────────
# Only the assistant's tokens and their end-of-turn count, each weighed by how unsure the model was of it. The trainer
# is TRL's with another loss: the rows of a batch are laid end to end, and loss and entropy come from one fused head.
def train(folder: Path, renderer: Renderer, rows: list, steps: int, out: Path):
    rendered = [renderer.conversation(row.messages, row.tools) for row in rows]
    examples = [
        {"input_ids": r.token_ids, "labels": [t if on else -100 for t, on in zip(r.token_ids, r.trained, strict=True)]}
        for r in rendered
    ]
    order = plan_order([len(r.token_ids) for r in rendered], BATCH, steps * BATCH, SEED)
    lora = LoraConfig(task_type="CAUSAL_LM", r=16, lora_alpha=32, target_modules="all-linear")
    lora._register_custom_module({torch.nn.Linear: LoraLinear})  # same adapter, fewer passes over memory
    trainer = EntropySFTTrainer(
        weighting=WEIGHTING,
        model=load_model(folder, resolve_precision("auto")),
        args=SFTConfig(
            output_dir=str(out),
            max_steps=steps,
            per_device_train_batch_size=BATCH,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            warmup_steps=round(0.1 * steps),
            adam_beta2=0.99,
            bf16=resolve_precision("auto") == "bfloat16",
            use_cpu=not torch.cuda.is_available(),
            gradient_checkpointing=False,
            seed=SEED,
            train_sampling_strategy="sequential",
            shuffle_dataset=False,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([examples[index] for index in order]),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=lora,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    adapter = out / "adapter"
    trainer.model.save_pretrained(adapter)
    return adapter


# ── 4. compare ──────────────────────────────────────────────────────────────────────────────────────────────────────
# The same rows before and after: only rows that changed sides speak, and rows of one function speak together.
def compare(before: list[dict], after: list[dict], groups: list[str]) -> dict[str, dict]:
    tests = {}
    for metric in METRICS:
        old, new = (np.array([scores[metric] for scores in side]) for side in (before, after))
        tests[metric] = {
            "baseline": float(old.mean()),
            "candidate": float(new.mean()),
            "gained": int((new > old).sum()),
            "lost": int((new < old).sum()),
            "interval": difference_interval(old, new, groups),
            "p_value": (
                permutation_p(new - old, groups, SEED) if metric in GRADED else mcnemar_by_group(new - old, groups)
            ),
        }
    for metric, p in zip(tests, holm([t["p_value"] for t in tests.values()]), strict=True):
        tests[metric]["p_value"] = p
    return tests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--limit", type=int, default=None, help="test rows")
    parser.add_argument("--tokens", type=int, default=ANSWER_TOKENS, help="longest answer")
    parser.add_argument("--model", default="smollm2-135m-instruct", help="alias, folder, GGUF file or hub id")
    parser.add_argument("--output", type=Path, help="where the adapter is kept; else it is thrown away")
    options = parser.parse_args()
    folder = model_folder(options.model)
    renderer = Renderer.from_folder(folder)
    train_rows, test_rows = make_rows(renderer)
    test_rows = test_rows[: options.limit]
    precision = resolve_precision("auto")
    before = measure(load_model(folder, precision), renderer, test_rows, options.tokens)
    print("before:", {m: rate_interval(int(sum(s[m] for s in before)), len(before)) for m in METRICS[:3]})
    with tempfile.TemporaryDirectory() as out:
        adapter = train(folder, renderer, train_rows, options.steps, options.output or Path(out))
        after = measure(load_model(folder, precision, adapter), renderer, test_rows, options.tokens)
    print(json.dumps(compare(before, after, [row.group for row in test_rows]), indent=2))


if __name__ == "__main__":
    main()

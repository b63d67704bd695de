"""Does training take the memory that we said it would? Estimates from configs alone against measured peaks.

    python -m benchmarks.estimate                 all cases, a process each; about ten minutes on two cores
    python -m benchmarks.estimate CASE ...        some of them; the others stay in this machine's baseline as they were
    python -m benchmarks.estimate --kept          runs nothing: today's estimate against the peaks measured before

A case is a model (real shapes, random weights, except `smollm2-135m`), what is trained, a batch, and how rows are laid
out. Each runs three steps in a process of its own; measured is the peak resident memory over that of the process when
all libraries were imported. LoRA runs the stage's own trainer; full fine-tuning, which the stage does not do, a plain
loop over the same kernels.

writes   benchmarks/baselines/<device>__estimate.json; each case has the machine, versions and day of its own run
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.report import BASELINES, file_stem, machine, processor, write_results
from tunewright.models.devices import available_memory, peak_resident, resident_memory
from tunewright.models.estimate import Training, training_memory
from tunewright.models.find import model_folder
from tunewright.models.shape import Linear, Shape, read_shape

MOST_BYTES = 6 * 10**9
MOST_ERROR = 0.15
STEPS = 3
TRAINED_SHARE = 0.5
ALIAS = "smollm2-135m-instruct"

SMOLLM2 = {
    "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 8192, "tie_word_embeddings": True,
}  # fmt: skip
QWEN3 = {
    "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072, "head_dim": 128,
    "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
GEMMA3 = {
    "model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 640, "intermediate_size": 2048, "head_dim": 256,
    "num_hidden_layers": 18, "num_attention_heads": 4, "num_key_value_heads": 1, "sliding_window": 512,
    "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
LLAMA3 = {
    "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 64,
    "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 4096, "tie_word_embeddings": True,
}  # fmt: skip
MISTRAL = {
    "model_type": "mistral", "vocab_size": 32768, "hidden_size": 1024, "intermediate_size": 3584, "head_dim": 128,
    "num_attention_heads": 8, "num_key_value_heads": 2, "sliding_window": 1024, "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        config: of the model; None for the real SmolLM2.
        lengths: tokens of the rows of one forward pass.
        padded: take transformers' padded rows where they would be packed.
    """

    config: dict[str, Any] | None
    lengths: tuple[int, ...]
    method: str = "lora"
    rank: int = 16
    accumulation: int = 1
    checkpointing: bool = False
    padded: bool = False


CASES = {
    "smollm2-135m": Case(None, (256, 250, 200, 150)),
    "smollm2-135m, one long row": Case(None, (800,)),
    "smollm2-135m, padded": Case(None, (256, 250, 200, 150), padded=True),
    "smollm2-135m, checkpointing": Case(None, (400,) * 4, checkpointing=True),
    "smollm2 10 layers, full": Case({**SMOLLM2, "num_hidden_layers": 10}, (200,) * 4, method="full"),
    "gemma-3-270m (windows)": Case(GEMMA3, (200,) * 2),
    "gemma-3-270m, one long row": Case(GEMMA3, (600,)),
    "qwen3-0.6b 6 layers": Case({**QWEN3, "num_hidden_layers": 6}, (300, 250, 150)),
    "qwen3-0.6b 6 layers, checkpointing": Case({**QWEN3, "num_hidden_layers": 6}, (400,) * 3, checkpointing=True),
    "qwen3-0.6b 2 layers, full": Case({**QWEN3, "num_hidden_layers": 2}, (128,) * 2, method="full"),
    "llama-3.2-1b 3 layers, rank 64": Case({**LLAMA3, "num_hidden_layers": 3}, (300, 200), rank=64),
    "mistral 8 layers, accumulation": Case({**MISTRAL, "num_hidden_layers": 8}, (250, 200), accumulation=2),
}


# ── one case, in a process of its own ───────────────────────────────────────────────────────────────────────────────


def make_model(case: Case, folder: Path) -> Path:
    """Write a model of the case's shape with random weights, and SmolLM2's tokenizer; return its folder."""
    if case.config is None:
        return model_folder(ALIAS)
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    settings = dict(case.config)
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    AutoTokenizer.from_pretrained(model_folder(ALIAS)).save_pretrained(folder)
    return folder


def rows_of(case: Case, vocab_size: int) -> list[dict[str, list[int]]]:
    """Return the rows of one forward pass; the second half of each is trained."""
    rng = random.Random(0)
    rows = []
    for length in case.lengths:
        ids = [rng.randrange(10, vocab_size) for _ in range(length)]
        prompt = round(length * (1 - TRAINED_SHARE))
        rows.append({"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]})
    return rows


def run_case(case: Case, folder: Path) -> dict[str, Any]:
    """Train three steps; return the measured peak and how it ran."""
    rows = rows_of(case, read_shape(folder).vocab_size)
    return run_full(case, folder, rows) if case.method == "full" else run_lora(case, folder, rows)


def run_lora(case: Case, folder: Path, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    """The stage's own trainer, through its own trial."""
    import tunewright.stages.sft.trainer as trainer
    from tunewright.recipe.sections import Lora, SftSection
    from tunewright.stages.sft.trial import Steps, measure

    if case.padded:
        trainer.use_packed_attention = lambda model: False
    section = SftSection(
        rows="data.train", model=str(folder), steps=STEPS, batch_size=len(rows), lora=Lora(rank=case.rank),
        gradient_accumulation=case.accumulation, gradient_checkpointing=case.checkpointing, seed=0,
    )  # fmt: skip
    found = measure(Steps([rows] * STEPS, section))
    return {"peak": found.peak_bytes, "base": found.base_bytes, "ran": found.head_used, "seconds": found.seconds}


def run_full(case: Case, folder: Path, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
    """All parameters: our packed rows, attention and head, clipping and AdamW as the trainer has them."""
    import tunewright.stages.sft.trainer  # noqa: F401  # the base is a process that has imported everything
    from tunewright.kernels.linear_ce import fused_linear_ce
    from tunewright.kernels.packed_attention import use_packed_attention
    from tunewright.models.load import load_model
    from tunewright.stages.sft.collate import PackedCollator

    base = resident_memory()
    model = load_model(folder, "float32").train()
    packed = use_packed_attention(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    for _ in range(STEPS):
        batch = PackedCollator()(rows)
        targets = batch.pop("shift_labels").flatten()
        ids, places = batch["input_ids"], batch["position_ids"]
        hidden = model.base_model(
            input_ids=ids, position_ids=places, packed_lengths=batch["packed_lengths"], use_cache=False
        ).last_hidden_state
        head = model.get_output_embeddings()
        fused_linear_ce(hidden.flatten(0, 1), head.weight, targets, bias=head.bias).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return {"peak": peak_resident() - base, "base": base, "ran": f"plain loop, {'packed' if packed else 'NOT packed'}"}


# ── all of them ─────────────────────────────────────────────────────────────────────────────────────────────────────


def settings_of(case: Case, shape: Shape) -> Training:
    """Return what the estimate is told."""
    packed = not shape.windows and not case.padded
    trained = sum(length - round(length * (1 - TRAINED_SHARE)) for length in case.lengths)
    return Training(
        method=case.method, rank=case.rank, batch_size=len(case.lengths), accumulation=case.accumulation,
        row_tokens=max(case.lengths), trained_tokens=trained, packed=packed, checkpointing=case.checkpointing,
        tokens=sum(case.lengths) if packed else max(case.lengths) * len(case.lengths),
    )  # fmt: skip


def measure(name: str) -> dict[str, Any]:
    """Run one case and return what was measured, with the shape of its model.

    Raises:
        SystemExit: it would not fit this machine, or died.
    """
    with tempfile.TemporaryDirectory(prefix="estimate-") as scratch:
        folder = Path(child("--make", name, scratch)["folder"])
        shape = read_shape(folder)
        high = training_memory(shape, settings_of(CASES[name], shape)).high
        if high > min(MOST_BYTES, available_memory()):
            sys.exit(f"{name}: {high / 1e9:.1f} GB is too much for this machine")
        return {"case": name, "shape": asdict(shape), **child("--run", name, str(folder))}


def compare(measured: dict[str, Any]) -> dict[str, Any]:
    """Hold the estimate of a case against what was measured of it."""
    shape = shape_from(measured["shape"])
    memory = training_memory(shape, settings_of(CASES[measured["case"]], shape))
    error = memory.peak / measured["peak"] - 1
    holds = memory.low <= measured["peak"] <= memory.high
    said = {"estimate": memory.peak, "low": memory.low, "high": memory.high, "parts": dict(memory.parts)}
    return {**measured, **said, "error": error, "holds": holds}


def shape_from(fields: dict[str, Any]) -> Shape:
    """Return a shape as it stands in the baseline."""
    return Shape(**{**fields, "linears": tuple(Linear(*linear) for linear in fields["linears"])})


def kept(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return the cases of these baselines by name, each with the machine that it was measured on."""
    found = {}
    for path in files:
        baseline = json.loads(path.read_text())
        found |= {row["case"]: {"machine": baseline["machine"], **row} for row in baseline["cases"]}
    return found


def kept_here() -> dict[str, dict[str, Any]]:
    """Return the cases that this machine has a baseline of."""
    path = BASELINES / f"{file_stem(about_here(), 'estimate')}.json"
    return kept([path] if path.is_file() else [])


def child(*arguments: str) -> dict[str, Any]:
    """Run this module in a process and return what it prints."""
    done = subprocess.run([sys.executable, "-m", __spec__.name, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def told(row: dict[str, Any]) -> str:
    """Return one line of the table."""
    gb = [f"{row[key] / 1e9:.2f}" for key in ("peak", "estimate", "low", "high")]
    verdict = "holds" if row["holds"] else "OUTSIDE"
    return f"{row['case']:<34}{gb[0]:>6}{gb[1]:>8}{row['error']:>+8.1%}   [{gb[2]}, {gb[3]}] {verdict:<8} {row['ran']}"


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table and write the baseline."""
    options = _options(arguments)
    if options.make:
        print(json.dumps({"folder": str(make_model(CASES[options.make], Path(options.cases[0])))}))
        return
    if options.run:
        print(json.dumps(run_case(CASES[options.run], Path(options.cases[0]))))
        return
    before = kept(sorted(BASELINES.glob("*__estimate.json"))) if options.kept else kept_here() if options.cases else {}
    print(f"{'case':<34}{'peak':>6}{'said':>8}{'error':>8}   interval, GB")
    rows = []
    for name in before if options.kept else options.cases or CASES:
        rows.append(compare(before[name] if options.kept else {**measure(name), "machine": about_here()}))
        print(told(rows[-1]), flush=True)
        if options.parts:
            print("   ", {part: f"{size / 1e6:.0f} MB" for part, size in rows[-1]["parts"].items()}, flush=True)
        if not options.kept:
            before[name] = rows[-1]
            write_baseline([before[case] for case in CASES if case in before])
    worst = max(abs(row["error"]) for row in rows)
    print(f"worst error {worst:.1%}; intervals hold in {sum(row['holds'] for row in rows)} of {len(rows)}")
    if worst > MOST_ERROR or not all(row["holds"] for row in rows):
        sys.exit(1)


def write_baseline(rows: list[dict[str, Any]]) -> None:
    """Write the numbers with the machine."""
    write_results(BASELINES, about_here(), "estimate", {"cases": rows})


def about_here() -> dict[str, object]:
    """Return this machine, as it is now."""
    return machine(torch.float32, processor())


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--kept", action="store_true", help="hold the estimate against the peaks in the baselines")
    parser.add_argument("--make", help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--parts", action="store_true", help="print what the estimate is made of")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])

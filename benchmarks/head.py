"""How fast is the fused head on a CPU, forward and backward, and in how much memory, against what else there is?

    python -m benchmarks.head                   all heads
    python -m benchmarks.head SmolLM2-135M      one
    python -m benchmarks.head --quick           tiny sizes: does it run?

Random weights; 20% and 60% of the labels ignored; the head frozen (as under LoRA) and trained; bfloat16 where the CPU
really has it, else float32. Every arm gets the same tensors.

time     all arms of a case interleaved in one process, and ratios taken round by round. Freed memory is kept, for all
         arms: nobody pays for fresh pages, which helps the arm with the most memory most.
memory   one process an arm: growth of the resident set over the arm's inputs, after a warm-up at a tiny size (libraries
         loaded, threads there) and a first full step. Tensors above 1 MiB are mapped one by one, so what is freed is
         given back, and the peak is that of what is alive. `extra` is the growth less the gradients, which every arm
         must return.

The entropy of every token is computed by each of our arms; it cannot be switched off. So "weights on against off" is
only about the weights: what entropy costs shows in the comparison with torch, which computes none.

reads    the CPU
writes   benchmarks/baselines/<CPU>__head.json: the numbers, with hardware and versions
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.head_cuda import Arm, Inputs, ours, step, torch_fused, torch_naive
from benchmarks.measure import interleaved, told
from benchmarks.report import BASELINES, Finding, machine, processor, ratios, told_machine, write_results
from tunewright.kernels.head import resolve_dtype
from tunewright.models.load import keep_freed_memory

ROUNDS = 5
IGNORED_SHARES = (0.2, 0.6)
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """A head, and the tokens that come through it at once."""

    head: str
    hidden_size: int
    vocab: int
    tokens: int
    ignored: float = 0.2
    frozen: bool = False

    @property
    def name(self) -> str:
        """What the table and the file call it."""
        kind = "frozen" if self.frozen else "trained"
        return f"{self.head}, {self.tokens} tokens, {self.ignored:.0%} ignored, head {kind}"


HEADS = {
    "SmolLM2-135M": Case("SmolLM2-135M", 576, 49_152, 1024),
    "Qwen3-0.6B": Case("Qwen3-0.6B", 1024, 151_936, 512),
    "Gemma-3-270M": Case("Gemma-3-270M", 640, 262_144, 512),
}
QUICK = Case("quick", 32, 2048, 96)
WARM_UP = Case("warm-up", 64, 512, 128)  # at least a block of compiled rows


def cases_of(head: Case) -> list[Case]:
    return [replace(head, ignored=share, frozen=frozen) for share in IGNORED_SHARES for frozen in (False, True)]


def make_inputs(case: Case, dtype: torch.dtype) -> Inputs:
    """Hidden states and weights whose logits have a standard deviation of 2; no temporaries that memory remembers."""
    torch.manual_seed(0)
    hidden = torch.empty(case.tokens, case.hidden_size, dtype=dtype).normal_()
    weight = torch.empty(case.vocab, case.hidden_size, dtype=dtype).normal_(std=2 / case.hidden_size**0.5)
    labels = torch.randint(0, case.vocab, (case.tokens,))
    labels[torch.randperm(case.tokens)[: round(case.ignored * case.tokens)]] = -100
    hidden.requires_grad_()
    weight.requires_grad_(not case.frozen)
    return Inputs(hidden, weight, labels, int((labels >= 0).sum()))


# ── the arms: inputs in, scalar loss out ────────────────────────────────────────────────────────────────────────────


def full_logits(x: Inputs) -> Tensor:
    """What one writes first. In bfloat16 cross entropy rounds too; `torch_naive` casts to float32, as transformers."""
    return functional.cross_entropy(functional.linear(x.hidden, x.weight), x.labels)


def torch_fused_of_counting(chunk_rows: int) -> Arm:
    """The ignored rows are left out before, which `F.linear_cross_entropy` does not do by itself."""
    fused = torch_fused(chunk_rows)

    def loss(x: Inputs) -> Tensor:
        counting = x.labels != -100
        return fused(Inputs(x.hidden[counting], x.weight, x.labels[counting], x.num_counted))

    return loss


def trl_chunked(x: Inputs) -> Tensor:
    """As `SFTTrainer` of 1.16 calls it without Triton: every position is scored, the ignored ones zeroed after."""
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE as WIDTH

    outputs = ("log_probs", "entropy", "is_top1")
    arguments = (x.hidden, x.weight, None, x.labels.clamp(min=0), 1.0, WIDTH, None, 1.0, outputs)
    log_probs = ChunkedLogProbFunction.apply(*arguments)[0]
    return -log_probs.masked_fill(x.labels == -100, 0).sum() / x.num_counted


OURS, PLAIN, TOP = "ours, linear weights", "ours, no weights", "ours, top 20% exactly"
TRL, FULL, FULL_FLOAT32 = "TRL ChunkedLogProbFunction", "full logits", "full logits, float32 loss"
TUNED = {
    "F.linear_cross_entropy, 256 rows": torch_fused(256),
    "F.linear_cross_entropy, 512 rows": torch_fused(512),
    "F.linear_cross_entropy, 256 rows, counting only": torch_fused_of_counting(256),
    "F.linear_cross_entropy, 512 rows, counting only": torch_fused_of_counting(512),
}
ARMS: dict[str, Arm] = {
    OURS: ours("linear"),
    PLAIN: ours(),
    TOP: ours("top_quantile"),
    "ours, linear weights, eager rows": ours("linear", backend="eager"),
    "ours, linear weights, compiled rows": ours("linear", backend="compile"),
    **TUNED,
    "F.linear_cross_entropy, default": torch_fused(None),
    TRL: trl_chunked,
    FULL: full_logits,
    FULL_FLOAT32: torch_naive,
}


def arms_for(dtype: torch.dtype) -> dict[str, Arm]:
    """All arms; in float32 the two kinds of full logits are one."""
    return {name: arm for name, arm in ARMS.items() if name != FULL_FLOAT32 or dtype != torch.float32}


# ── time ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def times(case: Case, dtype: torch.dtype, rounds: int) -> dict[str, dict[str, object]]:
    """Return loss and seconds of each arm, interleaved."""
    inputs = make_inputs(case, dtype)
    arms = arms_for(dtype)
    rows: dict[str, dict[str, object]] = {name: {"loss": step(arm, inputs)} for name, arm in arms.items()}
    sides = {name: lambda arm=arm: step(arm, inputs) for name, arm in arms.items()}
    for name, seconds in interleaved(sides, rounds).items():
        rows[name]["seconds"] = seconds
    return rows


# ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def growth_mib(name: str, case: Case, dtype: torch.dtype) -> float:
    """Return by how many MiB this process grew, at its highest, to run an arm. For a process of its own."""
    step(ARMS[name], make_inputs(replace(WARM_UP, frozen=case.frozen), dtype))
    inputs = make_inputs(case, dtype)
    before = _status_mib("VmRSS") + _status_mib("VmSwap")
    step(ARMS[name], inputs)  # makes what stays, which counts, and compiles, which does not
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far; what is resident now is the new one
    step(ARMS[name], inputs)
    return _status_mib("VmHWM") + _status_mib("VmSwap") - before


def _status_mib(field: str) -> float:
    """Not from getrusage: there a child begins with the peak of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def growth_in_own_process(name: str, case: Case, dtype: torch.dtype) -> float | None:
    """Return `growth_mib` of a fresh process; None where the system does not tell."""
    task = json.dumps([name, case.__dict__, str(dtype).removeprefix("torch.")])
    command = [sys.executable, "-m", "benchmarks.head", "--growth", task]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(MIB)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return float(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def gradients_mib(case: Case, dtype: torch.dtype) -> float:
    """Of dX, and of dW where the head is trained."""
    return case.hidden_size * (case.tokens + (0 if case.frozen else case.vocab)) * dtype.itemsize / MIB


def memories(case: Case, dtype: torch.dtype) -> dict[str, dict[str, float | None]]:
    found = {}
    for name in arms_for(dtype):
        growth = growth_in_own_process(name, case, dtype)
        extra = None if growth is None else max(growth - gradients_mib(case, dtype), 0.0)
        found[name] = {"growth_mib": growth, "extra_mib": extra}
    return found


# ── what the issue asks ─────────────────────────────────────────────────────────────────────────────────────────────


def findings(rows: dict[str, dict[str, object]]) -> list[Finding]:
    """Hold the ratios of a case against their bounds. Of several rivals of one kind the fastest counts."""
    seconds = {name: row["seconds"] for name, row in rows.items()}
    tuned = min(TUNED, key=lambda name: statistics.median(seconds[name]))
    full = min((name for name in (FULL, FULL_FLOAT32) if name in rows), key=lambda n: statistics.median(seconds[n]))
    found = [
        Finding(f"time, ours / best torch ({tuned.split(', ', 1)[1]})", ratios(seconds[OURS], seconds[tuned]), 1.05),
        Finding("time, TRL / ours", ratios(seconds[TRL], seconds[OURS]), 3.5, at_least=True),
        Finding("time, full logits / ours", ratios(seconds[full], seconds[OURS]), 1.3, at_least=True),
        Finding("time, weights on / off", ratios(seconds[OURS], seconds[PLAIN]), 1.03),
        Finding("time, exact top 20% / full head", ratios(seconds[TOP], seconds[PLAIN]), 0.62),
    ]  # fmt: skip
    extra = {name: row.get("extra_mib") for name, row in rows.items()}
    growth = {name: row.get("growth_mib") for name, row in rows.items()}
    if extra[OURS] is not None and extra[full]:
        found.append(Finding("extra memory, ours / full logits", [extra[OURS] / extra[full]], 0.2))
    if growth[OURS] is not None and growth[PLAIN]:
        found.append(Finding("memory, weights on / off", [growth[OURS] / growth[PLAIN]], 1.01))
    return found


def show(case: Case, rows: dict[str, dict[str, object]], found: Sequence[Finding]) -> None:
    print(f"\n  {case.name} (H {case.hidden_size}, V {case.vocab})")
    reference = rows[PLAIN]["seconds"]
    print(f"    {'arm':<50}{'median (min to max)':>34}    / plain   growth    extra  loss")
    for name, row in rows.items():
        ratio = statistics.median(ratios(row["seconds"], reference))
        memory = "".join(f"{'?' if v is None else f'{v:.0f} MiB':>9}" for v in _memory_of(row))
        print(f"    {name:<50}{told(row['seconds']):>34}  {ratio:6.2f}x{memory}  {row['loss']:.4f}")
    for finding in found:
        print(f"      {finding.told()}")
    if case.frozen:
        print(
            "      (a frozen head costs 4HV FLOP a row, exact top 20% 2.8HV: arithmetic alone forbids less than 0.70)"
        )


def _memory_of(row: dict[str, object]) -> tuple[float | None, float | None]:
    return row.get("growth_mib"), row.get("extra_mib")


def main(arguments: Sequence[str] = ()) -> None:
    options = _options(arguments)
    if options.growth:
        name, case, dtype = json.loads(options.growth)
        print(growth_mib(name, Case(**case), getattr(torch, dtype)))
        return
    keep_freed_memory()
    dtype = resolve_dtype(torch.empty(0, dtype=torch.bfloat16))
    about = machine(dtype, processor())
    why = "" if dtype == torch.bfloat16 else " (this CPU only emulates bfloat16)"
    print(f"  {told_machine(about)}{why}")
    heads = [replace(HEADS[name], tokens=options.tokens or HEADS[name].tokens) for name in options.heads or HEADS]
    results = {}
    for case in [QUICK] if options.quick else [case for head in heads for case in cases_of(head)]:
        rows = times(case, dtype, options.rounds)
        memory = {} if options.quick else memories(case, dtype)
        rows = {name: {**row, **memory.get(name, {})} for name, row in rows.items()}
        found = findings(rows)
        show(case, rows, found)
        results[case.name] = {"arms": rows, "findings": [finding.as_json() for finding in found]}
    if options.quick:
        print("\n  sizes this small say nothing about time; nothing was written")
    else:
        name = "_".join(["head", *options.heads]).lower()
        path = write_results(BASELINES, about, name, {"rounds": options.rounds, "cases": results})
        print(f"\n  written to {path}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.head", description=__doc__.splitlines()[0])
    parser.add_argument("heads", nargs="*", help=f"which of {', '.join(HEADS)}; default all")
    parser.add_argument("--tokens", type=int, help="tokens of a call; default 1024, 512 for the large vocabularies")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, no memory, nothing written")
    parser.add_argument("--growth", help=argparse.SUPPRESS)
    options = parser.parse_args(list(arguments))
    unknown = [name for name in options.heads if name not in HEADS]
    if unknown:
        parser.error(f"no head {', '.join(unknown)}; there are: {', '.join(HEADS)}")
    return options


if __name__ == "__main__":
    main(sys.argv[1:])

"""How fast is the fused head on CUDA, forward and backward, and in how much memory, against what else there is?

    python -m benchmarks.head_cuda              all heads
    python -m benchmarks.head_cuda Qwen3-0.6B   one

bfloat16, random weights, a fifth of the labels ignored; every arm gets the same tensors. All arms of a case are timed
interleaved in one process, each arm's peak memory (beside its arguments) is read in a process of its own. An arm whose
package is missing, or that refuses the case, is left out and says why.

reads    a CUDA device, and whichever of the rivals' packages are installed
writes   benchmarks/baselines/<GPU>__head_cuda.json: the numbers, with hardware and versions
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.measure import interleaved, told
from tunewright.kernels.linear_ce import fused_linear_ce
from tunewright.recipe.sections import EntropyConfig

ROUNDS = 15
IGNORED_SHARE = 0.2
BASELINES = Path(__file__).parent / "baselines"
DISTRIBUTIONS = ("torch", "triton", "liger-kernel", "cut-cross-entropy", "quack-kernels", "trl", "unsloth_zoo", "verl")


@dataclass(frozen=True)
class Case:
    """A head, and how many tokens come through it at once."""

    head: str
    hidden_size: int
    vocab: int
    tokens: int
    frozen: bool = False

    @property
    def name(self) -> str:
        """What the table and the file call it."""
        return f"{self.head}, {self.tokens} tokens, head {'frozen' if self.frozen else 'trained'}"


CASES = [
    Case("SmolLM2-135M", 576, 49_152, 4096),
    Case("SmolLM2-135M", 576, 49_152, 16_384),
    Case("Qwen3-0.6B", 1024, 151_936, 4096),
    Case("Qwen3-0.6B", 1024, 151_936, 16_384),
    Case("Qwen3-0.6B", 1024, 151_936, 16_384, frozen=True),
    Case("Gemma-3-1B", 1152, 262_144, 16_384),
    Case("Llama-3.2-1B", 2048, 128_256, 16_384),
    Case("Qwen3-8B", 4096, 151_936, 16_384),
]


@dataclass(frozen=True)
class Inputs:
    """hidden [N, H] and weight [V, H] in bfloat16, labels [N], and how many of them count."""

    hidden: Tensor
    weight: Tensor
    labels: Tensor
    num_counted: int


def make_inputs(case: Case, device: str = "cuda") -> Inputs:
    torch.manual_seed(0)
    hidden = torch.randn(case.tokens, case.hidden_size, device=device).bfloat16()
    weight = (torch.randn(case.vocab, case.hidden_size, device=device) * (2 / case.hidden_size**0.5)).bfloat16()
    labels = torch.randint(0, case.vocab, (case.tokens,), device=device)
    labels[torch.rand(case.tokens, device=device) < IGNORED_SHARE] = -100
    hidden.requires_grad_()
    weight.requires_grad_(not case.frozen)
    return Inputs(hidden, weight, labels, int((labels >= 0).sum()))


# ── the arms: inputs in, scalar loss out ────────────────────────────────────────────────────────────────────────────

Arm = Callable[[Inputs], Tensor]


def ours(type_: str = "none", **options: object) -> Arm:
    config = EntropyConfig(type=type_)
    return lambda x: fused_linear_ce(x.hidden, x.weight, x.labels, weighting=config, **options).loss


def ours_p3(x: Inputs) -> Tensor:
    return fused_linear_ce(x.hidden, x.weight, x.labels, reduction="none").loss.sum() / x.num_counted


def ours_p3_entropy(x: Inputs) -> Tensor:
    out = fused_linear_ce(x.hidden, x.weight, x.labels, reduction="none", differentiable_entropy=True)
    return (out.loss.sum() - 0.01 * out.entropy.sum()) / x.num_counted


def torch_naive(x: Inputs) -> Tensor:
    return functional.cross_entropy(functional.linear(x.hidden, x.weight).float(), x.labels)


@cache
def _compiled_naive() -> Arm:
    return torch.compile(torch_naive, dynamic=False)


def torch_compiled(x: Inputs) -> Tensor:
    return _compiled_naive()(x)


def torch_fused(chunk_rows: int | None) -> Arm:
    def loss(x: Inputs) -> Tensor:
        options = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=chunk_rows)
        return functional.linear_cross_entropy(x.hidden, x.weight, x.labels, options=options)

    return loss


def liger_flce(**options: object) -> Arm:
    def loss(x: Inputs) -> Tensor:
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        return liger_fused_linear_cross_entropy(x.hidden, x.weight, x.labels, **options)

    return loss


def liger_flsce(x: Inputs) -> Tensor:
    from liger_kernel.ops import LigerFusedLinearScaledCrossEntropyFunction

    return LigerFusedLinearScaledCrossEntropyFunction.apply(x.hidden, x.weight, x.labels).sum() / x.num_counted


def liger_flsce_entropy_weights(x: Inputs) -> Tensor:
    from liger_kernel.ops import LigerFusedLinearScaledCrossEntropyFunction

    nll, entropy = LigerFusedLinearScaledCrossEntropyFunction.apply(x.hidden, x.weight, x.labels, 1.0, -100, 1, True)
    weights = (0.1 + 0.9 * entropy.detach() / torch.log(torch.tensor(len(x.weight)))) * (x.labels >= 0)
    return (weights * nll).sum() / weights.sum()


def cut_cross_entropy(**options: object) -> Arm:
    def loss(x: Inputs) -> Tensor:
        from cut_cross_entropy import linear_cross_entropy

        return linear_cross_entropy(x.hidden, x.weight, x.labels, **options)

    return loss


def quack(x: Inputs) -> Tensor:
    from quack.linear_cross_entropy import chunked_linear_cross_entropy

    return chunked_linear_cross_entropy(x.hidden, x.weight, x.labels)


def trl_chunked(x: Inputs) -> Tensor:
    """As `SFTTrainer` of 1.16 calls it: valid positions only, entropy and accuracy logged."""
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE as WIDTH

    valid = x.labels != -100
    outputs = ("log_probs", "entropy", "is_top1")
    arguments = (x.hidden[valid], x.weight, None, x.labels[valid], 1.0, WIDTH, None, 1.0, outputs)
    return -ChunkedLogProbFunction.apply(*arguments)[0].sum() / x.num_counted


def unsloth(x: Inputs) -> Tensor:
    """It wants to know that `unsloth` is there; importing that would patch what the other arms use."""
    os.environ.setdefault("UNSLOTH_IS_PRESENT", "1")
    from unsloth_zoo.fused_losses.cross_entropy_loss import unsloth_fused_ce_loss

    return unsloth_fused_ce_loss(None, x.hidden[None], x.weight, None, x.labels[None], shift_labels=False)


def verl_triton(x: Inputs) -> Tensor:
    """It knows no ignored labels: they are left out before."""
    from verl.utils.kernel.linear_cross_entropy import linear_cross_entropy

    valid = x.labels != -100
    log_probs, _ = linear_cross_entropy(x.hidden[valid], x.weight, x.labels[valid], 1.0, "none")
    return -log_probs.sum() / x.num_counted


OURS = "ours P1"
ARMS: dict[str, tuple[str, Arm]] = {  # name: the package it needs, and the arm
    OURS: ("tunewright", ours()),
    "ours P1, linear weights": ("tunewright", ours("linear")),
    "ours P1, eager rows": ("tunewright", ours(backend="eager")),
    "ours P2, top 20%": ("tunewright", ours("top_quantile")),
    "ours P3": ("tunewright", ours_p3),
    "ours P3, entropy bonus": ("tunewright", ours_p3_entropy),
    "torch naive": ("torch", torch_naive),
    "torch naive, compiled": ("torch", torch_compiled),
    "torch linear_cross_entropy": ("torch", torch_fused(None)),
    "torch linear_cross_entropy, 1024 rows": ("torch", torch_fused(1024)),
    "torch linear_cross_entropy, 4096 rows": ("torch", torch_fused(4096)),
    "Liger FLCE": ("liger_kernel", liger_flce()),
    "Liger FLCE, C=16": ("liger_kernel", liger_flce(chunk_mem_const=16)),
    "Liger FLSCE": ("liger_kernel", liger_flsce),
    "Liger FLSCE, entropy weights": ("liger_kernel", liger_flsce_entropy_weights),
    "cut-cross-entropy": ("cut_cross_entropy", cut_cross_entropy()),
    "cut-cross-entropy, exact": ("cut_cross_entropy", cut_cross_entropy(filter_eps=None)),
    "Quack": ("quack", quack),
    "TRL chunked": ("trl", trl_chunked),
    "unsloth_zoo": ("unsloth_zoo", unsloth),
    "verl Triton": ("verl", verl_triton),
}


# ── measuring ───────────────────────────────────────────────────────────────────────────────────────────────────────


def step(arm: Arm, inputs: Inputs) -> float:
    """Forward and backward to the end; return the loss."""
    inputs.hidden.grad = inputs.weight.grad = None
    loss = arm(inputs)
    loss.backward()
    return loss.item()


def trial(name: str, inputs: Inputs) -> dict[str, object]:
    """Run an arm once: its loss, or why it cannot take part."""
    package, arm = ARMS[name]
    if find_spec(package) is None:
        return {"left_out": "not installed"}
    try:
        return {"loss": step(arm, inputs)}
    except Exception as error:  # a rival may fail in any way, and the others are measured all the same
        return {"left_out": f"{type(error).__name__}: {error}".splitlines()[0][:120]}


def times(case: Case) -> dict[str, dict[str, object]]:
    """Return loss and seconds of each arm, interleaved, or why it was left out."""
    inputs = make_inputs(case)
    rows = {name: trial(name, inputs) for name in ARMS}
    torch.cuda.empty_cache()
    sides = {name: lambda arm=ARMS[name][1]: step(arm, inputs) for name, row in rows.items() if "loss" in row}
    for name, seconds in interleaved(sides, ROUNDS).items():
        rows[name]["seconds"] = seconds
    return rows


def peaks(name: str, cases: Sequence[Case]) -> dict[str, float]:
    """Return the most MiB that an arm holds beside its arguments, for each case it can do. For a process of its own."""
    found = {}
    for case in cases:
        inputs = make_inputs(case)
        if "loss" in trial(name, inputs):  # which also makes the workspaces that stay
            inputs.hidden.grad = inputs.weight.grad = None
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            step(ARMS[name][1], inputs)
            found[case.name] = (torch.cuda.max_memory_allocated() - before) / 2**20
        del inputs
        torch.cuda.empty_cache()
    return found


def peaks_in_own_process(name: str, heads: Sequence[str]) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.head_cuda", *heads, "--peaks", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}


def machine() -> dict[str, object]:
    properties = torch.cuda.get_device_properties(0)
    versions = {}
    for name in DISTRIBUTIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "gpu": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "cuda": torch.version.cuda,
        "python": sys.version.split()[0],
        "versions": versions,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def show(case: Case, rows: dict[str, dict[str, object]]) -> None:
    print(f"  {case.name} (H {case.hidden_size}, V {case.vocab})")
    reference = statistics.median(rows[OURS].get("seconds", [float("nan")]))
    for name, row in rows.items():
        if "seconds" not in row:
            print(f"    {name:<38}left out: {row['left_out']}")
            continue
        ratio = statistics.median(row["seconds"]) / reference
        peak = "         ?  " if row["peak_mib"] is None else f"{row['peak_mib']:8.0f} MiB"
        print(f"    {name:<38}{told(row['seconds'])}  {ratio:6.2f}x  {peak}  loss {row['loss']:.4f}")


def main(arguments: Sequence[str] = ()) -> None:
    if not torch.cuda.is_available():
        print("  no CUDA device: nothing was measured")
        return
    heads = [argument for argument in arguments if any(case.head == argument for case in CASES)]
    cases = [case for case in CASES if not heads or case.head in heads]
    if "--peaks" in arguments:
        print(json.dumps(peaks(arguments[-1], cases)))
        return
    about = machine()
    print(f"  {about['gpu']}, CUDA {about['cuda']}, {about['versions']}")
    memory = {name: peaks_in_own_process(name, heads) for name, (package, _) in ARMS.items() if find_spec(package)}
    results = {}
    for case in cases:
        results[case.name] = rows = times(case)
        for name in rows:
            rows[name]["peak_mib"] = memory.get(name, {}).get(case.name)
        show(case, rows)
        torch.cuda.empty_cache()
    path = BASELINES / f"{'_'.join([str(about['gpu']), *heads]).lower().replace(' ', '-')}__head_cuda.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"machine": about, "rounds": ROUNDS, "cases": results}, indent=1) + "\n")
    print(f"  written to {path}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Do our paths for a CPU with bfloat16 pay: attention in whole tiles, its backward pass, weights laid out once?

    python -m benchmarks.bfloat16_cpu               SmolLM2-135M's shapes
    python -m benchmarks.bfloat16_cpu --quick       two rounds, nothing written: does it run?

Each pair runs in one process, interleaved. Attention: rows behind a shared start, forward and backward,
`kernels/causal_rows.py` against torch's flash kernel with one mask a row, as transformers calls it; and prompts as they
are read, their keys made a multiple of 16 (`backends/kv.py`). Linear layers: one layer's seven and the head, over 38
rows (a step of a generation) and 600 (a prompt or two), on one thread, as the backend runs two batches at a time; the
weights of 30 layers take turns, so that none waits in a cache.

writes   benchmarks/baselines/<device>__bfloat16_cpu.json: the numbers, with hardware and versions
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.measure import interleaved, peak_mib, told
from benchmarks.report import BASELINES, Finding, machine, ratios, told_machine, write_results
from tunewright.backends.kv import grouped_attention
from tunewright.kernels.causal_rows import causal_rows
from tunewright.kernels.packed_attention import rows_by_torch
from tunewright.kernels.packed_linear import PackedLinear
from tunewright.models.load import keep_freed_memory
from tunewright.models.precision import cpu_has_bfloat16

HEADS, KEY_VALUE_HEADS, SIZE, SCALE = 9, 3, 64, 0.125
LENGTHS = {  # of the shared start, and of each row
    "eight rows of tool calls": [41, 209, 218, 211, 203, 237, 232, 224, 219],
    "six rows, start of 256": [256, 209, 218, 211, 203, 237, 232],
    "three rows of 500": [0, 500, 497, 509],
}
READ = (233, 277)  # no multiples of 16
LAYERS, HIDDEN, INNER, WORDS = 30, 576, 1536, 49152
SHAPES = [(HIDDEN, HIDDEN), (HIDDEN, 192), (HIDDEN, 192), (HIDDEN, HIDDEN), *2 * [(HIDDEN, INNER)], (INNER, HIDDEN)]
ROUNDS = 15


def attention_sides(lengths: Sequence[int]) -> dict[str, Callable[[], object]]:
    tokens = sum(lengths)
    leaves = [  # laid out as a model's projections are
        torch.randn(tokens, heads, SIZE, dtype=torch.bfloat16).transpose(0, 1).requires_grad_()
        for heads in (HEADS, KEY_VALUE_HEADS, KEY_VALUE_HEADS)
    ]
    grad = torch.randn(tokens, HEADS, SIZE, dtype=torch.bfloat16)

    def ours() -> None:
        causal_rows(*leaves, lengths, SCALE).backward(grad)

    def torchs() -> None:
        rows_by_torch(*(leaf[None] for leaf in leaves), lengths, SCALE)[0].backward(grad)

    return {"torch": torchs, "ours": ours}


def reading_sides(length: int) -> dict[str, Callable[[], object]]:
    """Prompts of a batch, masked: with as many keys as there are, and with those that the backend adds."""
    query, key, value = (torch.randn(8, heads, length, SIZE, dtype=torch.bfloat16) for heads in (9, 3, 3))
    mask = torch.ones(length, length, dtype=torch.bool).tril().expand(8, 1, -1, -1).clone()

    def ours() -> None:
        grouped_attention(None, query, key, value, mask, SCALE)

    def torchs() -> None:
        keys, values = (t.repeat_interleave(HEADS // KEY_VALUE_HEADS, dim=1) for t in (key, value))
        scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=SCALE)

    return {"torch": torchs, "ours": ours}


def linear_sides(shapes: Sequence[tuple[int, int]], copies: int, rows: int) -> dict[str, Callable[[], object]]:
    plain = [
        [torch.nn.Linear(wide, out, bias=False, dtype=torch.bfloat16) for wide, out in shapes] for _ in range(copies)
    ]
    packed = [[PackedLinear(layer) for layer in layers] for layers in plain]
    inputs = {wide: torch.randn(rows, wide, dtype=torch.bfloat16) for wide, _ in shapes}

    def through(models: Sequence[Sequence[torch.nn.Module]]) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                for layers in models:
                    for layer in layers:
                        layer(inputs[layer.in_features])

        return run

    return {"torch": through(plain), "ours": through(packed)}


def race(name: str, sides: dict[str, Callable[[], object]], rounds: int) -> Finding:
    """Print both sides and return theirs over ours."""
    seconds = interleaved(sides, rounds)
    finding = Finding(f"{name}: torch / ours", ratios(seconds["torch"], seconds["ours"]), 1.0, at_least=True)
    for side, values in seconds.items():
        print(f"    {name:<38}{side:<8}{told(values)}")
    print(f"      {finding.told()}")
    return finding


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bfloat16_cpu", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two rounds, nothing written")
    options = parser.parse_args(list(arguments))
    if not cpu_has_bfloat16():
        print("  this CPU does not multiply bfloat16: neither path runs here")
        return
    keep_freed_memory()
    about, rounds = machine(torch.bfloat16), 2 if options.quick else ROUNDS
    print(f"  {told_machine(about)}; {rounds} rounds after one of warm-up")
    findings = [race(f"attention, {name}", attention_sides(lengths), rounds) for name, lengths in LENGTHS.items()]
    findings += [race(f"reading, {length} tokens", reading_sides(length), rounds) for length in READ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for rows in (38, 600):
        findings.append(race(f"30 layers, {rows} rows", linear_sides(SHAPES, LAYERS, rows), rounds))
        findings.append(race(f"the head, {rows} rows", linear_sides([(HIDDEN, WORDS)], 1, rows), rounds))
    torch.set_num_threads(threads)
    print(f"  peak memory {peak_mib():.0f} MiB")
    if not options.quick:
        payload = {"findings": [one.as_json() for one in findings]}
        print(f"  written to {write_results(BASELINES, about, 'bfloat16_cpu', payload)}")


if __name__ == "__main__":
    main(sys.argv[1:])

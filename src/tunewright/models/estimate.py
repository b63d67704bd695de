"""How much memory training takes at its peak, from the shape of the model and the settings alone.

    weights      parameters x bytes                       adapters, gradients, optimizer   of what is trained
    activations  what autograd keeps for the way back, token by token and layer by layer
    attention    queries, keys, values and output; masks where rows are padded
    logits       one chunk of them: the fused head holds no [tokens, vocabulary]
    backward     the gradients that one layer passes on
    gaps         what an allocator cannot use again
    keys/values  in training none; a generating model holds them (`generation_memory`)

The peak is the larger of two moments: the backward pass begins (all activations, no gradients yet) or the optimizer
steps (all gradients, no activations). The parts are counted from the forward passes of transformers 5, PEFT and our own
kernels; `benchmarks/estimate.py` holds them against measured peaks, and the interval is what it found. Needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tunewright.models.precision import Precision
from tunewright.models.shape import Shape

MIB = 2**20
BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2}
Method = Literal["full", "lora", "qlora"]

# kernels/planner.py, which needs torch: what a chunk of logits may take, and the fewest rows of one
CPU_LOGITS, CUDA_LOGITS_BYTES, MIN_ROWS = 20 * MIB, 512 * MIB, 256
# NF4 with doubly quantised constants: 4 bits + 0.127 (Dettmers et al. 2023, arXiv:2305.14314, section 3)
NF4_BYTES = 4.127 / 8
# What a process takes beside tensors once it trains: tokenizer, trainer, optimizer's objects, caches of the libraries.
RUNTIME_BYTES: dict[str, int] = {"cpu": 60 * MIB, "cuda": 700 * MIB}
# Freed tensors leave gaps that later ones of another size do not fill: a share of all that comes and goes in a step.
# Measured on a CPU (glibc, which `models/load.py` tells to keep what is freed), assumed on CUDA.
GAPS: dict[str, float] = {"cpu": 0.37, "cuda": 0.1}
# How far the parts were off in benchmarks/estimate.py (docs/pipeline/money.md): state is counted, activations and gaps
# are modelled.
STATE_ERROR, STEP_ERROR = 0.03, 0.2


@dataclass(frozen=True)
class Training:
    """Settings that memory follows from.

    Attributes:
        method: what is trained; `qlora` keeps the base in 4 bits.
        rank: of the adapters.
        targets: linear layers that get one.
        precision: of weights and activations.
        batch_size: rows in one forward pass.
        accumulation: forward passes in one optimizer step.
        row_tokens: tokens of the longest row: the width of a padded batch.
        tokens: in one forward pass: of packed rows their sum (a shared start once), else `batch_size * row_tokens`.
        trained_tokens: of these, in the loss.
        packed: rows laid end to end.
        checkpointing: activations of a layer are computed again in the backward pass.
        device: where.
    """

    method: Method = "lora"
    rank: int = 16
    targets: str | tuple[str, ...] = "all-linear"
    precision: Precision = "float32"
    batch_size: int = 8
    accumulation: int = 1
    row_tokens: int = 1024
    tokens: int = 8192
    trained_tokens: int = 8192
    packed: bool = True
    checkpointing: bool = False
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak, over those of a process that has only imported its libraries.

    Attributes:
        parts: name -> bytes; at the moment of the peak they sum up to `peak`.
        peak: the estimate.
        low, high: where a measured peak should lie.
    """

    parts: Mapping[str, int]
    peak: int
    low: int
    high: int


def training_memory(shape: Shape, training: Training) -> Memory:
    """Return the memory of training steps, from the second on (the first has no optimizer state yet)."""
    state = _state(shape, training)
    gradients = _trained(shape, training) * _trained_bytes(training)
    begin = {**_activations(shape, training), **_at_once(shape, training)}
    if training.accumulation > 1:
        begin["gradients"] = gradients
    elif training.method == "full":
        begin["gradients"] = shape.embedding * BYTES[training.precision]  # of the head: formed in the forward pass
    end = {"gradients": gradients}
    if training.method == "full" and shape.tied:
        end["gradients"] += 2 * shape.embedding * BYTES[training.precision]  # those of its two uses, and their sum
    counted = {*state, "gradients"}
    for parts in (begin, end):
        parts["gaps"] = _gaps(shape, training, sum(parts[name] for name in parts if name not in counted))
    moment = max(begin, end, key=lambda parts: sum(parts.values()))
    return _told({**state, **moment, "runtime": RUNTIME_BYTES[training.device]}, counted)


def generation_memory(
    shape: Shape, rows: int, tokens: int, precision: Precision, device: Literal["cpu", "cuda"] = "cpu"
) -> Memory:
    """Return the memory of generating: weights, keys and values of `rows` x `tokens`, and the logits of one step."""
    size = BYTES[precision]
    parts = {
        "weights": shape.parameters * size,
        "keys/values": 2 * shape.layers * shape.kv_width * rows * tokens * size,
        "activations": 4 * rows * tokens * (shape.hidden + shape.intermediate) * size,
        "logits": 2 * rows * shape.vocab_size * 4,
    }
    parts["gaps"] = round(GAPS[device] * (parts["activations"] + parts["logits"]))
    return _told({**parts, "runtime": RUNTIME_BYTES[device]}, {"weights", "keys/values"})


def _told(parts: Mapping[str, int], counted: set[str]) -> Memory:
    state = sum(size for name, size in parts.items() if name in counted)
    other = sum(parts.values()) - state
    return Memory(
        parts=dict(parts),
        peak=state + other,
        low=round(state * (1 - STATE_ERROR) + other * (1 - STEP_ERROR)),
        high=round(state * (1 + STATE_ERROR) + other * (1 + STEP_ERROR)),
    )


# ── state ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _trained(shape: Shape, training: Training) -> int:
    if training.method == "full":
        return shape.parameters
    return shape.adapter_parameters(training.rank, training.targets)


def _trained_bytes(training: Training) -> int:
    """PEFT keeps adapters in float32 beside a shorter base."""
    return BYTES[training.precision] if training.method == "full" else 4


def _state(shape: Shape, training: Training) -> dict[str, int]:
    """Weights, adapters, and AdamW's two moments."""
    size, trained = BYTES[training.precision], _trained(shape, training) * _trained_bytes(training)
    weights = shape.parameters * size
    if training.method == "qlora":
        linear = min(shape.active, shape.parameters)
        weights = round(linear * NF4_BYTES) + (shape.parameters - linear) * size
    adapters = {} if training.method == "full" else {"adapters": trained}
    return {"weights": weights, **adapters, "optimizer": 2 * trained}


# ── activations ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _activations(shape: Shape, training: Training) -> dict[str, int]:
    """What autograd holds when the backward pass begins."""
    attention, rest = _of_a_layer(shape, training)
    masks = _masks(shape, training)
    size = BYTES[training.precision]
    ends = training.tokens * shape.hidden * (4 + 2 * size)  # embeddings, last norm, the gradient of the last state
    if training.checkpointing:
        kept = shape.layers * training.tokens * shape.hidden * size
        return {"activations": kept + rest + ends, "attention": attention + masks}
    return {"activations": shape.layers * rest + ends, "attention": shape.layers * attention + masks}


def _of_a_layer(shape: Shape, training: Training) -> tuple[int, int]:
    """Return bytes of one layer: of its attention, and of all else."""
    size, queries, keys = BYTES[training.precision], shape.attention_width, shape.kv_width
    # packed rows are put together again behind attention: its output is there twice
    attention = queries * (5 if training.packed else 4)
    norm_inputs = shape.norms * shape.hidden + (queries + keys if shape.qk_norm else 0)
    inputs = 2 * shape.hidden  # of the linear layers: q, k and v share one, gate and up another
    inner = shape.intermediate * (4 if shape.gated else 2)
    if training.method == "full":
        inputs += norm_inputs  # a norm's weight that learns keeps what it multiplies
    else:
        inputs += training.rank * len(shape.adapted(training.targets))
    # norms compute in float32, and keep what they were given in it
    return training.tokens * attention * size, training.tokens * ((inputs + inner) * size + norm_inputs * 4)


def _gaps(shape: Shape, training: Training, passing: int) -> int:
    """Return what the allocator loses of `passing` bytes that come and go in a step.

    With checkpointing on a CPU far more than these: the state that a layer keeps splits the room of what it frees, and
    the next layer's MLP does not fit into what is left. So each layer leaves about the tensors of its MLP behind.
    """
    if training.checkpointing and training.device == "cpu":
        inner = shape.intermediate * (4 if shape.gated else 2)
        return shape.layers * training.tokens * inner * BYTES[training.precision]
    return round(GAPS[training.device] * passing)


def _masks(shape: Shape, training: Training) -> int:
    """Padded rows attend through a mask [rows, tokens, tokens], which a CPU's attention keeps in numbers."""
    if training.packed:
        return 0
    cells = training.batch_size * training.row_tokens**2
    kinds = 2 if shape.windows else 1
    return cells * kinds + (cells * shape.layers * BYTES[training.precision] if training.device == "cpu" else 0)


def _at_once(shape: Shape, training: Training) -> dict[str, int]:
    """Return the larger of what comes after another: the head's chunk of logits, the gradients inside one layer."""
    size = BYTES[training.precision]
    head = _chunk_rows(shape, training) * shape.vocab_size * size + 2 * training.trained_tokens * shape.hidden * size
    backward = training.tokens * (2 * shape.intermediate + 2 * shape.hidden) * size
    return {"logits": head} if head > backward else {"backward": backward}


def _chunk_rows(shape: Shape, training: Training) -> int:
    if training.device == "cuda":
        most = CUDA_LOGITS_BYTES // (shape.vocab_size * BYTES[training.precision])
    else:
        most = CPU_LOGITS // shape.vocab_size
    return min(training.trained_tokens, max(most, MIN_ROWS))

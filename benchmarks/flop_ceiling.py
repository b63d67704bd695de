"""How much of a training step can be saved by training on the fifth of the tokens with the highest entropy? Arithmetic.

    python -m benchmarks.flop_ceiling           the table of docs/five_times_faster.md

A matmul with P weights costs 2P FLOP a token forward, 2P for the gradient of its input and 2P for that of its weight;
attention scores, norms and the embedding are left out. Legend: H hidden size, V vocabulary, N weights of the body, rho
the share of tokens that is kept, HV the weights of the head.

    everything trained     body 6N, head 6HV    exact top share 2HV + 6 rho HV    threshold known before 2HV + 4 rho HV
    LoRA, frozen weights   body 4N, head 4HV    exact top share 2HV + 4 rho HV

Exact selection walks all tokens once to know their entropy (2HV), then the kept ones again, forward and backward.
"""

from collections.abc import Sequence
from dataclasses import dataclass

RHO = 0.2
TRAINED_SHARE = 0.2  # of the tokens of a chat row that an SFT loss covers: the others never reach the head


@dataclass(frozen=True)
class Model:
    """Shapes from the model's published config."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int

    @property
    def body(self) -> int:
        """Weights in matmuls of all layers: Q and O, K and V, and the three of a gated MLP."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.ffn)

    @property
    def head(self) -> int:
        """HV."""
        return self.hidden * self.vocab

    def head_share(self, trained: float = 1.0) -> float:
        """Return the head's share of a step's FLOP when a share of the tokens reaches it; LoRA's is the same."""
        return trained * self.head / (trained * self.head + self.body)


MODELS = [
    Model("SmolLM2-135M", 30, 576, 9, 3, 64, 1536, 49_152),
    Model("Gemma-3-270M", 18, 640, 4, 1, 256, 2048, 262_144),
    Model("Qwen3-0.6B", 28, 1024, 16, 8, 128, 3072, 151_936),
    Model("Gemma-3-1B", 26, 1152, 4, 1, 256, 6912, 262_144),
    Model("Llama-3.2-1B", 16, 2048, 32, 8, 64, 8192, 128_256),
    Model("Qwen3-1.7B", 28, 2048, 16, 8, 128, 6144, 151_936),
    Model("Llama-3.2-3B", 28, 3072, 24, 8, 128, 8192, 128_256),
    Model("Qwen3-4B", 36, 2560, 32, 8, 128, 9728, 151_936),
    Model("Qwen3-8B", 36, 4096, 32, 8, 128, 12288, 151_936),
]
COLUMNS = (
    "model",
    "HV, millions",
    "N, millions",
    "head's share",
    "exact top 20% saves",
    "threshold known before",
    "whole head backward free",
    "LoRA: exact top 20% saves",
    "LoRA, a fifth of the tokens trained",
)


def saved(share: float, full: float, selected: float) -> float:
    """Return the share of a step that is saved when the head costs `selected` HV and not `full`."""
    return share * (full - selected) / full


def row(model: Model) -> list[str]:
    """Return the cells of a model."""
    share, chat = model.head_share(), model.head_share(TRAINED_SHARE)
    return [
        model.name,
        f"{model.head / 1e6:.1f}",
        f"{model.body / 1e6:.1f}",
        f"{share:.1%}",
        f"{saved(share, 6, 2 + 6 * RHO):.1%}",
        f"{saved(share, 6, 2 + 4 * RHO):.1%}",
        f"{1 / (1 - saved(share, 6, 2)):.2f}x",
        f"{saved(share, 4, 2 + 4 * RHO):.1%}",
        f"{saved(chat, 4, 2 + 4 * RHO):.1%}",
    ]


def main(arguments: Sequence[str] = ()) -> None:
    for cells in (COLUMNS, ["---"] * len(COLUMNS), *map(row, MODELS)):
        print(f"| {' | '.join(cells)} |")
    print()
    print("If the backward pass of the other 80% of the tokens cost nothing at all, in the body too:")
    print(f"everything trained {6 / (2 + 4 * RHO):.2f}x, LoRA {4 / (2 + 2 * RHO):.2f}x")


if __name__ == "__main__":
    main()

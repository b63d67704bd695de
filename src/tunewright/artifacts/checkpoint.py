"""A trained adapter: the result of `sft`.

adapter/        adapter_model.safetensors and adapter_config.json, as PEFT reads them
metrics.jsonl   one line a logged step: the source of truth for curves
tb/             the same as TensorBoard events
dev.jsonl       loss and score of the dev rows, where the section has `dev:`; dev_answers.jsonl: the last answers
checkpoints/    what a killed run resumes from; removed when the stage is done
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tunewright.artifacts.artifact import Artifact
from tunewright.artifacts.files import read_jsonl


class Trained(Artifact):
    """LoRA adapters on a base model."""

    kind: ClassVar[str] = "sft"
    by_products: ClassVar[tuple[str, ...]] = ("tb",)
    read_on: ClassVar[tuple[str, ...]] = ("adapter",)

    base_model: str
    base_identity: str
    """what the base model's bytes are; an adapter on another base is not this model"""
    adapter_sha256: str
    steps: int
    rows_seen: int
    tokens_seen: int
    trained_tokens_seen: int
    seconds: float
    precision: str
    first_loss: float
    last_loss: float
    """mean of the first and of the last tenth of the steps"""
    stopped: str = ""
    """why training ended before its last step, and what was kept; empty for a whole training"""
    matrices: int = 0
    still_matrices: int = 0
    """B matrices of the adapter, and those of them that are 0 as they began"""

    @property
    def adapter(self) -> Path:
        """The folder PEFT loads."""
        return self.folder / "adapter"

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl.

        Each has: step, loss, learning_rate, grad_norm, entropy (mean, nats), accuracy (top-1 share), mean_weight,
        tokens (so far), tokens_per_second, seconds (so far).
        """
        return [row for _, row in read_jsonl(self.folder / "metrics.jsonl")]

    def dev(self) -> list[dict[str, Any]]:
        """Return the lines of dev.jsonl: step, loss, metric, rows, score, low, high; none without dev rows."""
        path = self.folder / "dev.jsonl"
        return [row for _, row in read_jsonl(path)] if path.is_file() else []


@dataclass(frozen=True)
class Adapter:
    """An adapter that a person names on the command line: what an evaluation needs of a `Trained`."""

    base_model: str
    base_identity: str
    adapter: Path
    adapter_sha256: str

"""Tunewright: fine-tuning with proof. Gates before you spend, evidence after.

The public names are resolved on first use, so that `import tunewright` and `tw --help` cost nothing and need no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "load_recipe": "tunewright.recipe.load",
    "EntropyConfig": "tunewright.recipe.sections",
    "run_recipe": "tunewright.pipeline",
    "data": "tunewright.stages.data.stage",
    "evaluate": "tunewright.stages.evaluate.stage",
    "sft": "tunewright.stages.sft.stage",
    "compare": "tunewright.stages.compare.stage",
    "RunContext": "tunewright.artifacts.context",
    "Verdict": "tunewright.artifacts.verdict",
    "write_report": "tunewright.reports.report",
    "TunewrightError": "tunewright.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Resolve a public name on first use (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tunewright' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)

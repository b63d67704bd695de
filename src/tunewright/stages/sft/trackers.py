"""Services that a training's metrics go to as well, each through a library of its own that no extra brings."""

from __future__ import annotations

from importlib.util import find_spec

from tunewright.errors import EnvironmentProblem
from tunewright.recipe.sections import SftSection


def require_trackers(section: SftSection) -> None:
    """Look for the libraries of `trackers:`; transformers would only do so when the training begins.

    Raises:
        EnvironmentProblem: one is not installed.
    """
    for name in section.trackers:
        spec = find_spec(name)
        if spec is None or spec.origin is None:  # wandb keeps its runs in a folder `wandb`, an empty package to Python
            raise EnvironmentProblem(
                f"{name} is not installed",
                where=f"stage {section.id}, `trackers`",
                fix=f"pip install {name}, or leave it out of `trackers:`",
            )

"""The rows that show what was trained on: pieces of text, each with whether its tokens are in the loss.

reads    samples.json of a `data` stage
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from tunewright.artifacts.files import read_json
from tunewright.errors import DataError

LONGEST_STRETCH = 400
"""tokens of one kind in a row that are shown before the middle is left out"""


class Piece(NamedTuple):
    """The text of one token, and whether it is trained."""

    text: str
    trained: bool


class SampleRow(BaseModel):
    """One row as tokens."""

    model_config = ConfigDict(frozen=True)

    id: str
    pieces: list[Piece]

    @property
    def trained_tokens(self) -> int:
        """How many of the tokens are in the loss."""
        return sum(piece.trained for piece in self.pieces)


class Samples(BaseModel):
    """The content of samples.json."""

    model_config = ConfigDict(frozen=True)

    template_sha256: str
    tools_in_template: bool
    rows: list[SampleRow]


def read_samples(folder: Path) -> Samples | None:
    """Return the samples of the `data` stage in `folder`, or None where it wrote none.

    Raises:
        DataError: the file is there but is no samples.json.
    """
    path = folder / "samples.json"
    if not path.is_file():
        return None
    try:
        return Samples(**read_json(path))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"not a samples file: {str(error).splitlines()[0]}",
            where=str(path),
            fix="remove that stage's folder; the run makes it again",
        ) from None


class Stretch(NamedTuple):
    """Neighbouring tokens of one kind; `left_out` tokens are missing between `head` and `tail`."""

    trained: bool
    head: list[str]
    left_out: int
    tail: list[str]


def stretches(pieces: Sequence[Piece], longest: int = LONGEST_STRETCH) -> list[Stretch]:
    """Return `pieces` as runs of one kind, the middle of over-long runs left out and counted."""
    runs = ((trained, [piece.text for piece in run]) for trained, run in groupby(pieces, key=lambda p: p.trained))
    return [_stretch(trained, texts, longest) for trained, texts in runs]


def _stretch(trained: bool, texts: list[str], longest: int) -> Stretch:
    if len(texts) <= longest:
        return Stretch(trained, texts, 0, [])
    half = longest // 2
    return Stretch(trained, texts[:half], len(texts) - 2 * half, texts[-half:])

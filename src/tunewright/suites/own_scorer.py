"""The scorer of a user's own suite: what it raises is told with the suite, the row and the line, not as a traceback."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.provenance import redact
from tunewright.errors import TunewrightError, UserError
from tunewright.suites.protocol import Scored, Scorer

FIX: Final = "mend the scorer, and try it on this row; the same command then goes on from the answers that are kept"


@dataclass(frozen=True)
class OwnScorer:
    """Scores as `scorer` does.

    Attributes:
        scorer: the user's function; where it has a `score_all`, that takes all answers at once.
        suite: the suite's name, as the recipe gives it.
    """

    scorer: Scorer
    suite: str

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Return the scores of `answer` for `row`.

        Raises:
            UserError: the scorer fails on it, or returns something else.
        """
        place = f"suite {self.suite}, row {row.id}" if row is not None else f"suite {self.suite}"
        return self._checked(self._tried(place, lambda: self.scorer(answer, row)), place)

    def score_all(self, answers: Sequence[str], rows: Sequence[ChatRow]) -> list[Scored]:
        """Return the scores of all answers, in their order.

        Raises:
            UserError: the scorer fails, or returns something else.
        """
        own = getattr(self.scorer, "score_all", None)
        if own is None:
            return [self(answer, row) for answer, row in zip(answers, rows, strict=True)]
        place = f"suite {self.suite}, {len(rows)} rows at once"
        found = list(self._tried(place, lambda: own(answers, rows)))
        if len(found) != len(rows):
            raise UserError(f"its scorer returned {len(found)} scores", where=place, expected="one an answer", fix=FIX)
        return [self._checked(one, place) for one in found]

    def _tried(self, place: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except TunewrightError:
            raise
        except Exception as error:  # whatever a stranger's code may raise
            told = (
                f"its scorer fails: {type(error).__name__}: {redact(next(iter(str(error).splitlines()), ''))}".rstrip(
                    ": "
                )
            )
            at = traceback.extract_tb(error.__traceback__)[-1]
            raise UserError(f"{told} ({at.filename}:{at.lineno})", where=place, fix=FIX) from error

    def _checked(self, found: Any, place: str) -> Scored:
        if isinstance(found, Scored):
            return found
        raise UserError(
            f"its scorer returned a {type(found).__name__}", where=place,
            expected="a tunewright.suites.protocol.Scored", fix=FIX,
        )  # fmt: skip

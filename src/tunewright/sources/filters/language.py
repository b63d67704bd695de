"""The language of a row, by py3langid: 97 languages, its model inside the package, no network.

Code blocks and JSON are left out of the text. Short texts tell no language, and a wrong word for one is worse than
none: below `least_letters` or `least_confidence` the row stays.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.errors import DataError, MissingExtra
from tunewright.recipe.data_sections import LanguageFilter
from tunewright.sources.filters.protocol import Check, Removed, excerpt
from tunewright.sources.text import content_of

MAX_CHARS: Final = 2000
"""More text does not make the language surer, and costs time."""

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{0,200}`|https?://\S+", re.DOTALL)


def language_check(section: LanguageFilter) -> Check:
    """Return the check: the user's and the assistant's text together must be of a language that is kept.

    Raises:
        MissingExtra: py3langid is not installed. DataError: a code that it does not know.
    """
    identifier = _identifier()
    unknown = [code for code in section.keep if code not in identifier.labels]
    if unknown:
        raise DataError(
            f"no language {unknown[0]!r}", where="keep", expected="two-letter codes of ISO 639-1: " + ", ".join(
                sorted(identifier.labels)
            ),
        )  # fmt: skip

    def check(row: ChatRow) -> ChatRow | Removed:
        text = _prose(row)
        if sum(map(str.isalpha, text)) < section.least_letters:
            return row
        language, confidence = language_of(text)
        if language in section.keep or confidence < section.least_confidence:
            return row
        return Removed(row, f"language {language}", excerpt(text))

    return check


def language_of(text: str) -> tuple[str, float]:
    """Return the most likely language and how sure it is, in [0, 1]."""
    language, confidence = _identifier().classify(text)
    return str(language), float(confidence)


def _prose(row: ChatRow) -> str:
    texts = (content_of(message) for message in row.messages if message["role"] in ("user", "assistant"))
    joined = "\n".join(text[: 2 * MAX_CHARS] for text in texts)[: 4 * MAX_CHARS]
    return _CODE.sub(" ", joined)[:MAX_CHARS] if "`" in joined or "http" in joined else joined[:MAX_CHARS]


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtra.of(error, "data") from None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

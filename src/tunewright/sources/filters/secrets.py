"""Keys, tokens, passwords and personal data in the texts of a row: masked, flagged, or the row is taken."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.recipe.data_sections import SecretsFilter
from tunewright.sources.filters.change import with_changed_texts
from tunewright.sources.filters.detectors import DETECTORS, Detector
from tunewright.sources.filters.protocol import Check, Removed

_SHOWN: Final = 4


@dataclass(frozen=True)
class Secret:
    """One find: its kind, and where it begins and ends."""

    kind: str
    begin: int
    end: int


def secrets_check(section: SecretsFilter) -> Check:
    """Return the check. A removed row's detail shows the kind and the first characters, never the secret."""
    kinds = frozenset(section.kinds)

    def check(row: ChatRow) -> ChatRow | Removed:
        found: list[tuple[str, str]] = []

        def mask(text: str) -> str:
            secrets = list(find_secrets(text, kinds))
            found.extend((secret.kind, text[secret.begin : secret.end]) for secret in secrets)
            return masked(text, secrets)

        changed = with_changed_texts(row, mask)
        if not found:
            return row
        if section.action == "remove":
            kind, text = found[0]
            return Removed(row, kind, f"{text[:_SHOWN]}…, {len(text)} characters")
        left = changed if section.action == "mask" else row
        told = left.meta | {"secrets": sorted({kind for kind, _ in found})}
        return left.model_copy(update={"meta": told})

    return check


def find_secrets(text: str, kinds: Collection[str] = ()) -> Iterator[Secret]:
    """Yield what is found, in order and without overlaps: of two that overlap, the one of the earlier detector.

    Args:
        text: any text.
        kinds: what to look for; empty: everything.
    """
    found: list[Secret] = []
    for detector in DETECTORS:
        wanted = not kinds or detector.kind in kinds
        if not wanted or (detector.anchors and not any(anchor in text for anchor in detector.anchors)):
            continue
        found = sorted([*found, *_more(text, detector, found)], key=_begin)
    yield from found


def _begin(secret: Secret) -> int:
    return secret.begin


def _more(text: str, detector: Detector, found: Sequence[Secret]) -> Iterator[Secret]:
    """Yield what one detector finds beside those found, which are in order: looking at two neighbours is enough."""
    group = "secret" if "secret" in detector.pattern.groupindex else 0
    for match in detector.pattern.finditer(text):
        begin, end = match.span(group)
        place = bisect_left(found, begin, key=_begin)
        free = (not place or found[place - 1].end <= begin) and (place == len(found) or end <= found[place].begin)
        if free and detector.holds(match.group(group)):
            yield Secret(detector.kind, begin, end)


def masked(text: str, secrets: list[Secret]) -> str:
    """Return the text with `[kind]` in the place of each find."""
    pieces, at = [], 0
    for secret in secrets:
        pieces += [text[at : secret.begin], f"[{secret.kind}]"]
        at = secret.end
    return "".join([*pieces, text[at:]])

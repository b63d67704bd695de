"""What keys, tokens, passwords and personal data look like.

Time is linear in the text: every repetition in a pattern has an upper bound, so an attempt at one place looks at no
more than `MAX_WIDTH` characters (a test computes it from each pattern). An `anchor` that is not in the text saves the
search.

Forms of keys: the vendors' documentation, as gathered in detect-secrets and gitleaks. Cards by Luhn's sum (ISO/IEC
7812), IBANs by their check digits (ISO 13616).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tunewright.recipe.data_sections import Kind

MAX_WIDTH: Final = 4200
LEAST_ENTROPY: Final = 3.0
"""bits a character, from which an assigned value may be a secret; 16 random characters have about 4, words less"""


@dataclass(frozen=True)
class Detector:
    """One kind of secret: a text that must be there, the pattern, and what the find must pass besides.

    Group `secret` of the pattern, where it has one, is what is masked.
    """

    kind: Kind
    anchors: tuple[str, ...]
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = lambda found: True


def entropy_bits(text: str) -> float:
    """Return Shannon's entropy of the characters of a text, in bits a character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values()) if text else 0.0


def _looks_random(value: str) -> bool:
    mixed = sum(any(map(is_kind, value)) for is_kind in (str.islower, str.isupper, str.isdigit))
    return mixed >= 2 and entropy_bits(value) >= LEAST_ENTROPY and not _PLACEHOLDER.search(value)


_PLACEHOLDER: Final = re.compile(
    r"(?i)example|placeholder|changeme|your|dummy|test|sample|xxx|\*\*\*|<|\$\{|\{\{|%s|\("
)


def _random_key(value: str) -> bool:
    return entropy_bits(value) >= LEAST_ENTROPY and not _PLACEHOLDER.search(value)


def _not_reserved(address: str) -> bool:
    """True unless the domain is one that RFC 2606 keeps for examples."""
    domain = address.rpartition("@")[2].lower()
    return domain.rpartition(".")[2] not in ("example", "test", "invalid", "localhost") and not domain.endswith(
        ("example.com", "example.org", "example.net")
    )


def _is_luhn(number: str) -> bool:
    digits = [int(character) for character in number if character.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 3:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _is_phone(text: str) -> bool:
    digits = [character for character in text if character.isdigit()]
    return 9 <= len(digits) <= 15 and len(set(digits)) > 2 and "".join(digits[-7:-4]) != "555"  # 555: for films


_EDGE, _END = r"(?<![\w-])", r"(?![\w-])"

DETECTORS: Final = (
    Detector("private-key", ("PRIVATE KEY",), re.compile(
        r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[\w+/=\s:,-]{0,4000}?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)")),
    Detector("aws-key", ("AKIA", "ASIA"), re.compile(_EDGE + r"A[KS]IA[0-9A-Z]{16}" + _END), _random_key),
    Detector("github-token", ("gh", "github_pat_"), re.compile(
        _EDGE + r"(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255})" + _END), _random_key),
    Detector("anthropic-key", ("sk-ant-",), re.compile(_EDGE + r"sk-ant-[\w-]{20,200}" + _END), _random_key),
    Detector("openai-key", ("sk-",), re.compile(_EDGE + r"sk-(?!ant-)[\w-]{20,200}" + _END), _random_key),
    Detector("huggingface-token", ("hf_",), re.compile(_EDGE + r"hf_[A-Za-z0-9]{30,40}" + _END), _random_key),
    Detector("google-key", ("AIza",), re.compile(_EDGE + r"AIza[\w-]{35}" + _END), _random_key),
    Detector("slack-token", ("xox",), re.compile(_EDGE + r"xox[abeprs]-[\w-]{10,250}" + _END), _random_key),
    Detector("stripe-key", ("k_live_",), re.compile(_EDGE + r"[rs]k_live_[A-Za-z0-9]{16,250}" + _END), _random_key),
    Detector("jwt", ("eyJ",), re.compile(_EDGE + r"eyJ[\w-]{10,1000}\.eyJ[\w-]{10,2000}\.[\w-]{10,1000}" + _END)),
    Detector("password", ("=", ":"), re.compile(
        r"(?i)(?<![a-z])(?:password|passwd|pwd|secret|api[_-]?key|auth[_-]?token|access[_-]?token)"
        r"['\"]?[ \t]{0,4}[:=]=?[ \t]{0,4}['\"]?(?P<secret>[^\s'\"`,;]{8,128})"), _looks_random),
    Detector("email", ("@",), re.compile(
        r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24}(?![\w-])"), _not_reserved),
    Detector("iban", (), re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"), _is_iban),
    Detector("card", (), re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?!\w|[.-]\d)"), _is_luhn),
    Detector("ssn", ("-",), re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")),
    Detector("phone", ("+", "("), re.compile(
        r"(?<![\w+(])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
        r"|\(\d{3}\)[ ]?\d{3}[ .-]\d{4})(?!\w)"), _is_phone),
)  # fmt: skip

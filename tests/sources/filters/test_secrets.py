"""Secrets are found where they are, examples of them are let alone, and no text takes long."""

from __future__ import annotations

import json
import random
import re
import re._parser as parser  # the width of a pattern is in no public module
import time
from typing import Any

import pytest
from tests.sources.filters.rows import row

from tunewright.artifacts.dataset import ChatRow
from tunewright.recipe.data_sections import SecretsFilter
from tunewright.sources.filters.build import build_check
from tunewright.sources.filters.detectors import DETECTORS, MAX_WIDTH, entropy_bits
from tunewright.sources.filters.protocol import Removed
from tunewright.sources.filters.secrets import find_secrets
from tunewright.sources.formats import to_row

# In pieces, so that no scanner takes them for real ones.
RANDOM = "q7Zx2Lw9" + "Kd4Rt8Vb" + "1Nc6Hy3M" + "p5Js0GfA" + "Tu2E"
FOUND = {
    "aws-key": "AKIA" + "Q7ZX2LW9KD4RT8VB",
    "github-token": "ghp_" + RANDOM,
    "anthropic-key": "sk-ant-" + "api03-" + RANDOM,
    "openai-key": "sk-" + "proj-" + RANDOM,
    "huggingface-token": "hf_" + RANDOM[:34],
    "google-key": "AIza" + RANDOM[:35],
    "slack-token": "xoxb-" + "123456789012-" + RANDOM[:24],
    "stripe-key": "sk_" + "live_" + RANDOM[:24],
    "jwt": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0NTY3ODkwIn0" + "." + RANDOM,
    "private-key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\nabc=\n-----END RSA PRIVATE KEY-----",
    "email": "anna.schmidt" + "@firma-nord.de",
    "phone": "+49 171 " + "2345678",
    "card": "4539 1488 " + "0343 6467",
    "iban": "DE89 3704 " + "0044 0532 0130 00",
    "ssn": "219-" + "09-9999",
}
HARMLESS = (
    "you@example.com",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "password: your_password_here",
    "password = os.environ['PASSWORD']",
    "token: string",
    "4539 1488 0343 6468",
    "DE00 3704 0044 0532 0130 00",
    "1234567890123456",
    "version 1.2.3-4, 2024-01-31 12:30:00, 192.168.0.1",
    "sk-learn and hf_hub_download are names",
    "call +1 (555) 555-0100",
    "3.14159265358979323846",
    "@app.route('/') def a@b",
    "the secret: nobody knows",
)


def kinds(text: str) -> list[str]:
    return [secret.kind for secret in find_secrets(text)]


@pytest.mark.parametrize(("kind", "text"), FOUND.items(), ids=list(FOUND))
def test_each_kind_is_found_with_its_place(kind, text):
    around = f"Here it is: {text} and that was it."
    (secret,) = find_secrets(around)
    assert (secret.kind, around[secret.begin : secret.end]) == (kind, text)


def test_an_assigned_password_is_found_without_its_name():
    text = 'DB_PASSWORD = "' + RANDOM[:12] + '"'
    (secret,) = find_secrets(text)
    assert (secret.kind, text[secret.begin : secret.end]) == ("password", RANDOM[:12])


@pytest.mark.parametrize("text", HARMLESS)
def test_examples_placeholders_and_numbers_are_let_alone(text):
    assert kinds(text) == []


def test_masking_leaves_the_rest_as_it_is_in_texts_and_in_arguments():
    call = {"type": "function", "function": {"name": "send", "arguments": {"to": FOUND["email"], "n": 1}}}
    messages = [
        {"role": "user", "content": f"Write to {FOUND['email']}, card {FOUND['card']}."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    before = ChatRow(id="r", messages=messages)
    after = build_check(SecretsFilter(type="secrets"))(before)
    assert after.messages[0]["content"] == "Write to [email], card [card]."
    assert after.messages[1]["tool_calls"][0]["function"]["arguments"] == {"to": "[email]", "n": 1}
    assert after.meta == {"secrets": ["card", "email"]}
    assert before.messages[0]["content"].startswith("Write to anna")


def preference(rejected: Any) -> ChatRow:
    record = {"prompt": "Your key?", "chosen": "I can't share it.", "rejected": rejected}
    return to_row(record, where="x:1", fallback_id="r", source="x")


def test_a_secret_in_the_rejected_answer_is_found_too():
    leaking = preference(f"It is {FOUND['aws-key']}.")
    after = build_check(SecretsFilter(type="secrets"))(leaking)
    assert after.meta == {"rejected": [{"role": "assistant", "content": "It is [aws-key]."}], "secrets": ["aws-key"]}
    assert after.messages == leaking.messages
    removed = build_check(SecretsFilter(type="secrets", action="remove"))(leaking)
    assert removed == Removed(leaking, "aws-key", "AKIA…, 20 characters")
    flagged = build_check(SecretsFilter(type="secrets", action="flag"))(leaking)
    assert flagged.meta == leaking.meta | {"secrets": ["aws-key"]}


@pytest.mark.parametrize(
    "rejected",
    ["KEY", ["KEY"], {"role": "assistant", "content": "KEY"}, [{"content": [{"type": "text", "text": "KEY"}, "KEY"]}],
     [{"tool_calls": "KEY"}], [{"tool_calls": ["KEY", {"function": "KEY"}, {"function": {"name": "KEY"}}]}],
     [{"tool_calls": [{"function": {"arguments": "KEY"}}]}], [{"from": "gpt", "value": "KEY"}]],
    ids=str,
)  # fmt: skip
def test_a_rejected_answer_of_any_form_is_masked(rejected):
    told = json.loads(json.dumps(rejected).replace("KEY", FOUND["aws-key"]))
    leaking = row("No.", meta={"rejected": told, "other": 1})
    after = build_check(SecretsFilter(type="secrets"))(leaking)
    masked = json.loads(json.dumps(rejected).replace("KEY", "[aws-key]"))
    assert after.meta == {"rejected": masked, "other": 1, "secrets": ["aws-key"]}


def test_a_rejected_answer_without_secrets_leaves_the_row_the_same():
    for value in ("No idea.", None, [], 1, [None, {"role": "assistant", "content": None}]):
        clean = row("All is well.", meta={"rejected": value})
        assert build_check(SecretsFilter(type="secrets"))(clean) is clean


def test_an_argument_named_type_is_masked_and_the_type_of_a_part_is_not_touched():
    call = {"type": "function", "function": {"name": "send", "arguments": {"type": FOUND["email"]}}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": f"Mail {FOUND['email']}"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    after = build_check(SecretsFilter(type="secrets"))(ChatRow(id="r", messages=messages))
    assert after.messages[0]["content"] == [{"type": "text", "text": "Mail [email]"}]
    assert after.messages[1]["tool_calls"][0]["function"]["arguments"] == {"type": "[email]"}


def test_flagging_changes_no_text_and_removing_never_shows_the_secret():
    leaking = row(f"Mail me: {FOUND['email']}")
    flagged = build_check(SecretsFilter(type="secrets", action="flag"))(leaking)
    assert (flagged.messages, flagged.meta) == (leaking.messages, {"secrets": ["email"]})
    removed = build_check(SecretsFilter(type="secrets", action="remove"))(leaking)
    assert removed == Removed(leaking, "email", "anna…, 26 characters")
    assert build_check(SecretsFilter(type="secrets", action="remove", kinds=["card"]))(leaking) is leaking


def test_a_row_without_secrets_is_the_same_row():
    clean = row("All is well.")
    assert build_check(SecretsFilter(type="secrets"))(clean) is clean


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.kind)
def test_every_pattern_has_a_bound_on_what_it_looks_at_so_its_time_is_linear(detector):
    assert parser.parse(detector.pattern.pattern, detector.pattern.flags & ~re.UNICODE).getwidth()[1] <= MAX_WIDTH


@pytest.mark.parametrize(
    "text",
    ["a" * 300_000, "a@" * 150_000, "1 " * 150_000, "-----BEGIN PRIVATE KEY-----" * 8_000, "eyJ" + "a." * 100_000,
     "password=" * 30_000, "+1 " * 100_000, "AB12 " * 60_000, "a." * 150_000 + "@", "sk-" * 100_000,
     "a1@b.de " * 60_000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_texts_made_to_be_slow_are_not(text):
    started = time.process_time()
    list(find_secrets(text))
    assert time.process_time() - started < 15


def test_of_overlapping_finds_that_of_the_earlier_detector_stays():
    rng = random.Random(0)
    for _ in range(200):
        text = "".join(rng.choice([*FOUND.values(), "password=", " ", ";"]) for _ in range(12))
        taken: list[tuple[int, int, str]] = []
        for detector in DETECTORS:
            group = "secret" if "secret" in detector.pattern.groupindex else 0
            for match in detector.pattern.finditer(text):
                begin, end = match.span(group)
                free = all(end <= other[0] or begin >= other[1] for other in taken)
                if free and detector.holds(match.group(group)):
                    taken.append((begin, end, detector.kind))
        assert [(found.begin, found.end, found.kind) for found in find_secrets(text)] == sorted(taken)


def test_entropy_is_shannons():
    assert entropy_bits("") == 0
    assert entropy_bits("aaaa") == 0
    assert entropy_bits("abcd" * 5) == pytest.approx(2)

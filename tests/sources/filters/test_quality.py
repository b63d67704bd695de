"""Each rule of quality takes the row made for it, and a healthy conversation passes all."""

from __future__ import annotations

import pytest
from tests.sources.filters.rows import row

from tunewright.artifacts.dataset import ChatRow
from tunewright.recipe.data_sections import QualityFilter
from tunewright.sources.filters.build import build_check
from tunewright.sources.filters.protocol import Removed
from tunewright.sources.filters.quality import is_refusal, repetition

PROSE = (
    "The gate looks at the rows before a GPU is paid. It counts what is left out, and says why. Where a bound is "
    "broken it names the rows, so that a person may look at them, and it stops. What was measured stands beside the "
    "bound in the record, and the remedy is a sentence that tells what to do next. Clean data passes without a word."
)


def reason(item: ChatRow, **fields: object) -> str:
    found = build_check(QualityFilter(type="quality", **fields))(item)
    return found.reason if isinstance(found, Removed) else ""


def talk(*roles: str) -> ChatRow:
    return ChatRow(id="r", messages=[{"role": role, "content": "Words of some length."} for role in roles])


def test_a_healthy_row_passes_all_rules():
    assert reason(row(PROSE)) == ""
    assert reason(talk("system", "user", "assistant", "user", "assistant")) == ""


def test_rows_with_too_few_or_too_many_turns_go():
    assert reason(talk("user", "assistant"), min_turns=2) == "fewer than 2 turns"
    assert reason(talk("user", "assistant", "user", "assistant"), max_turns=1) == "more than 1 turns"


def test_two_speakers_of_one_role_in_a_row_are_taken_unless_allowed_and_tools_may_follow_each_other():
    assert reason(talk("user", "user", "assistant")) == "turns do not alternate"
    assert reason(talk("user", "user", "assistant"), alternate=False) == ""
    called = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    result = {"role": "tool", "content": "1"}
    messages = [{"role": "user", "content": "Do it"}, called, result, result, {"role": "assistant", "content": "Done."}]
    assert reason(ChatRow(id="r", messages=messages)) == ""


def test_lengths_are_of_the_text_and_a_call_is_text_too():
    assert reason(row("ok"), min_answer_chars=3) == "answer below 3 characters"
    assert reason(row("o" * 11), max_answer_chars=10) == "answer above 10 characters"
    assert reason(row("fine", question="  ")) == "question below 1 characters"
    assert reason(row("  ")) == "answer below 1 characters"
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "find", "arguments": {"a": 1}}}],
    }
    assert reason(ChatRow(id="r", messages=[{"role": "user", "content": "Go"}, called]), min_answer_chars=10) == ""


def test_a_model_in_a_loop_repeats_itself_and_prose_does_not():
    loop = PROSE + " I will now say it once more and then I will say it again." * 12
    assert repetition(loop) > 0.6
    assert reason(row(loop)) == "repeats itself (above 20%)"
    assert repetition(PROSE) == 0
    assert repetition("ha " * 49) == 0
    assert repetition("ha " * 100) == pytest.approx(0.99)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but as an AI language model I cannot browse the internet.",
        "As an AI language model, I do not have feelings.",
        "I cannot assist with that request.",
        "Sorry, I can't help with that.",
        "I am unable to provide this.",
    ],
)
def test_refusals_are_known_by_their_opening(answer):
    assert is_refusal(answer)
    assert reason(row(answer)) == "refusal"
    assert reason(row(answer), refusals="keep") == ""


@pytest.mark.parametrize(
    "answer",
    ["I'm sorry to hear that your dog is ill.", "Sorry seems to be the hardest word.", "As an airline pilot, I fly.",
     "I cannot stress enough how good it is.", "The reply was: I cannot assist with that."],
)  # fmt: skip
def test_sentences_that_only_resemble_refusals_stay(answer):
    assert not is_refusal(answer)

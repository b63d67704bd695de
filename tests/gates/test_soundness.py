import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.verdict import Status
from tunewright.gates.soundness import rows_are_sound
from tunewright.stages.check.soundness import judge_soundness


def row(name, question, answer):
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return ChatRow(id=name, messages=messages, source="test", group=name)


SOUND = [row(f"r{place}", f"Question number {place}?", f"It is {place}.") for place in range(20)]
KEY = "AKIA" + "Q7RZT4M2XKPLW9DB"
UNSOUND = {
    "said before": [row(f"again{place}", "Question number 1?", "It is 1.") for place in range(4)],
    "answered in several ways": [row(f"other{place}", f"Question number {place}?", "It is not.") for place in range(4)],
    "refusals": [row(f"no{place}", f"Why {place}?", "I'm sorry, but I cannot help with that.") for place in range(4)],
    "damaged characters": [row("bad", "Itâ€™s a cafÃ©?", "Yes.")],
    "keys or passwords": [row("key", f"Why does {KEY} not work?", "It was revoked.")],
}


def test_sound_rows_pass():
    assert judge_soundness(SOUND).status is Status.PASSED


@pytest.mark.parametrize("kind", UNSOUND)
def test_rows_of_every_kind_are_told_and_named(kind):
    verdict = judge_soundness([*SOUND, *UNSOUND[kind]])
    assert verdict.status is Status.WARNED
    assert kind in verdict.measured and verdict.remedy


def test_a_few_refusals_among_many_rows_are_on_purpose():
    assert rows_are_sound({"refusals": ["a", "b"]}, 40).status is Status.PASSED

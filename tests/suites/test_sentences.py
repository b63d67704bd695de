import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.suites.sentences import blocks, sentences


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0), ("One", 1), ("One. Two! Three?", 3), ("Dr. Smith met Mr. Jones.", 1), ("It costs 3.50 euros.", 1),
        ("e.g. this one", 1), ("Wait... what?", 1), ("Wait... What?", 2), ('He said "Go." Then he left.', 2),
        ("J. S. Bach wrote it.", 1), ("No full stop\n\nand another", 2), ("Line one\ngoes on.", 1),
        ("Was it I? It was I. Yes.", 3), ("?!", 0), ("这是。那是。", 2), ("1. One\n2. Two", 2),
    ],
)  # fmt: skip
def test_sentences_are_counted_as_people_do(text, count):
    assert len(sentences(text)) == count


def test_blocks_stand_between_lines_without_text():
    assert list(blocks("one\ntwo\n \n\nthree\n")) == ["one\ntwo", "three"]


@given(st.text("aB .!?\n1-\"'(e.g."))
def test_every_word_stands_in_one_sentence(text):
    found = "".join("".join(sentences(text)).split())
    assert [c for c in found if c.isalnum()] == [c for c in text if c.isalnum()]


def test_long_texts_take_linear_time():
    began = time.process_time()
    for text in (". " * 100_000, "a. b" * 50_000, "1. " * 60_000, '."' * 100_000, "\n" * 200_000, "Mr." * 60_000):
        sentences(text)
    assert time.process_time() - began < 3

"""Exact and near duplicates, held against their definition."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tests.sources.filters.rows import row

from tunewright.recipe.data_sections import DuplicatesFilter, NearDuplicatesFilter
from tunewright.sources.filters.build import build_filter
from tunewright.sources.filters.duplicates import Bands, signatures_of, similarity
from tunewright.sources.filters.protocol import kept_and_removed
from tunewright.sources.text import shingles, whole, words

TEXT = (
    "Gates look before a step is taken and they name what they saw in the rows that were given to them, with a bound "
    "beside each number and a remedy for the person who has to act on it before more money is spent on the same fault"
)


def jaccard(left: str, right: str, size: int = 3) -> float:
    one, two = (set(shingles(words(text), size)) for text in (left, right))
    return len(one & two) / len(one | two)


def varied(count: int, changes: int, seed: int) -> list[str]:
    """Texts of 120 words, each with so many words of the one before changed."""
    rng = random.Random(seed)
    listed = [f"w{rng.randrange(9999)}" for _ in range(120)]
    texts = []
    for _ in range(count):
        texts.append(" ".join(listed))
        listed = list(listed)
        for place in rng.sample(range(120), changes):
            listed[place] = f"v{rng.randrange(9999)}"
    return texts


def test_an_exact_duplicate_goes_and_names_the_first_whatever_the_order_of_keys():
    call = {"type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": 2.0}}}
    other = {"type": "function", "function": {"name": "f", "arguments": {"b": 2, "a": 1}}}
    rows = [
        row("same", id="a"),
        row("same", id="b", meta={"x": 1}),
        row("same", id="c", tools=[{"name": "t"}]),
        row("Same", id="d"),
        row("", id="e").model_copy(update={"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}),
        row("", id="f").model_copy(
            update={"messages": [{"role": "assistant", "content": None, "tool_calls": [other]}]}
        ),
    ]
    kept, removed = kept_and_removed(build_filter(DuplicatesFilter(type="duplicates")), rows)
    assert [item.id for item in kept] == ["a", "c", "d", "e"]
    assert [(item.row.id, item.detail) for item in removed] == [("b", "of a"), ("f", "of e")]


def test_questions_are_compared_without_their_answers_when_asked():
    rows = [row("yes", "Is it so?", id="a"), row("no", "is it SO", id="b"), row("no", "Is it not so?", id="c")]
    kept, _ = kept_and_removed(build_filter(DuplicatesFilter(type="duplicates", of="question")), rows)
    assert [item.id for item in kept] == ["a", "c"]


@pytest.mark.parametrize(
    "questions",
    [
        ["What is 7 + 4?", "What is 7 - 4?"],
        ["What is C?", "What is C++?", "What is C#?"],
        ["👍", "🎉", "???", "…"],
        ["यह कि है?", "यह की है?"],  # they differ in a vowel sign, which is no letter
    ],
    ids=["signs", "languages", "no words", "vowel signs"],
)
def test_questions_that_differ_in_a_sign_are_different(questions):
    rows = [row("answer", text, id=text) for text in questions]
    kept, _ = kept_and_removed(build_filter(DuplicatesFilter(type="duplicates", of="question")), rows)
    assert [item.id for item in kept] == questions


def test_questions_that_differ_in_case_white_space_and_end_marks_are_one():
    rows = [row("a", text, id=text) for text in ("What is C++?", "what  is\nc++", "What is C++ ?!", " WHAT is C++...")]
    kept, _ = kept_and_removed(build_filter(DuplicatesFilter(type="duplicates", of="question")), rows)
    assert [item.id for item in kept] == ["What is C++?"]


def test_a_near_duplicate_goes_with_its_similarity_and_a_different_text_stays():
    pytest.importorskip("rensa")
    near = TEXT.replace("money", "time")
    rows = [
        row(TEXT, id="a"),
        row(near, id="b"),
        row("Quite another text about cats and dogs.", id="c"),
        row("👍", "", id="d"),
        row("🎉", "", id="e"),
    ]
    kept, removed = kept_and_removed(build_filter(NearDuplicatesFilter(type="near_duplicates")), rows)
    assert [item.id for item in kept] == ["a", "c", "d", "e"]
    assert removed[0].detail.startswith("of a, 0.")
    assert float(removed[0].detail.split()[-1]) == pytest.approx(jaccard(whole(rows[0]), whole(rows[1])), abs=0.12)


def test_estimates_agree_with_jaccard_within_the_error_of_the_method():
    pytest.importorskip("rensa")
    section = NearDuplicatesFilter(type="near_duplicates")
    texts = [text for seed in range(30) for text in varied(2, 1 + seed, seed)]
    signatures = signatures_of([row(text, "") for text in texts], section)
    errors = [
        similarity(signatures[n], signatures[n + 1]) - jaccard(texts[n], texts[n + 1]) for n in range(0, len(texts), 2)
    ]
    # The standard error is sqrt(J (1 - J) / 128), at most 0.044: of 30 the mean is within 0.03, each within 4 of them.
    assert abs(float(np.mean(errors))) < 0.03
    assert max(map(abs, errors)) < 0.18


def test_pairs_above_the_threshold_are_found_and_pairs_far_below_are_not():
    pytest.importorskip("rensa")
    near = NearDuplicatesFilter(type="near_duplicates", threshold=0.8)
    alike = different = found = wrong = 0
    for seed in range(60):
        pair = varied(2, 3 if seed % 2 else 14, seed)
        share = jaccard(*pair)
        rows = [row(text, "", id=str(n)) for n, text in enumerate(pair)]
        _, removed = kept_and_removed(build_filter(near), rows)
        if share >= 0.84:
            alike, found = alike + 1, found + len(removed)
        elif share < 0.6:
            different, wrong = different + 1, wrong + len(removed)
    assert alike >= 20 and different >= 20
    assert found >= 0.9 * alike
    assert wrong == 0


def test_bands_find_what_is_as_similar_as_the_threshold():
    for threshold in (0.5, 0.7, 0.8, 0.9):
        bands = Bands.of(threshold, 128)
        assert 1 - (1 - threshold**bands.size) ** bands.num >= 0.95
        assert bands.num * bands.size <= 128
    assert Bands.of(0.8, 128) == Bands(18, 7)


def test_keys_of_bands_differ_by_band_and_by_value():
    signatures = np.zeros((2, 128), dtype=np.uint16)
    signatures[1, 0] = 1
    keys = Bands(18, 7).keys(signatures)
    assert keys.shape == (2, 18)
    assert len(set(keys[0].tolist())) == 18
    assert (keys[0] == keys[1]).sum() == 17

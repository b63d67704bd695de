"""The oracles are sacrebleu, nltk and rouge_score; what they return is kept in similarity_oracles.json, made by
benchmarks/similarity_oracles.py where they are installed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunewright.graders.similarity import MEASURES, cosine, longest_common_subsequence

ORACLES = json.loads((Path(__file__).parent / "similarity_oracles.json").read_text())


@pytest.mark.parametrize("measure", sorted(set(MEASURES) - {"fuzzy_match"}))
def test_every_measure_equals_its_oracle_on_two_hundred_pairs(measure):
    assert len(ORACLES["pairs"]) >= 200
    for pair in ORACLES["pairs"]:
        assert MEASURES[measure](pair["text"], pair["reference"]) == pytest.approx(pair[measure], abs=1e-9), pair


def test_fuzzy_match_is_what_openai_s_guide_computes():
    from rapidfuzz import fuzz, utils

    text, reference = "fuzzy wuzzy was a bear", "fuzzy wuzzy had no hair"
    theirs = fuzz.WRatio(text, reference, processor=utils.default_process) / 100.0
    assert MEASURES["fuzzy_match"](text, reference) == theirs


@pytest.mark.parametrize("measure", sorted(MEASURES))
def test_an_empty_text_is_like_nothing_and_a_long_equal_one_is_like_itself(measure):
    text = "one two three four five six seven eight nine ten"
    assert MEASURES[measure]("", text) == 0
    assert MEASURES[measure](text, "") == 0
    assert MEASURES[measure](text, text) == pytest.approx(1, abs=0.001)  # meteor keeps its penalty for one chunk


def _by_table(left, right):
    lengths = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if a == b else max(lengths[i][j + 1], lengths[i + 1][j])
    return lengths[-1][-1]


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.lists(st.sampled_from("abcd"), max_size=30))
def test_the_longest_common_subsequence_is_that_of_the_textbook(left, right):
    assert longest_common_subsequence(left, right) == _by_table(left, right)


def test_the_cosine_of_opposite_vectors_counts_as_nothing():
    assert cosine([1, 2], [2, 4]) == pytest.approx(1)
    assert cosine([1, 0], [-1, 0]) == 0
    assert cosine([0, 0], [1, 0]) == 0

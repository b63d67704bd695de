import math

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.scores import ScoreRow
from tunewright.suites.perplexity import SUITE, total
from tunewright.suites.protocol import CandidateScore, log_probs_answer


def text_row(text, prompt=()):
    return ChatRow(id="r", messages=[*prompt, {"role": "assistant", "content": text}])


def score(log_probs, num_bytes):
    return SUITE.score(log_probs_answer([CandidateScore("text", log_probs, num_bytes)]), text_row("text"))


def as_row(scored):
    return ScoreRow(
        id="r", group="", source="", question="", reference="", answer="", parsed=scored.parsed, scores=scored.scores,
        reason="", prompt_sha256="", prompt_tokens=0, answer_tokens=0, finish="stop", seconds=0,
    )  # fmt: skip


def test_a_model_that_gives_every_token_one_chance_in_eight_has_perplexity_eight():
    scores = score([-math.log(8)] * 5, 10).scores
    assert scores["perplexity"] == pytest.approx(8)
    assert scores["bits_per_byte"] == pytest.approx(1.5)
    assert scores["byte_perplexity"] == pytest.approx(2**1.5)


def test_rows_are_weighted_by_their_tokens():
    rows = [as_row(score([-1.0] * 9, 9)), as_row(score([-11.0], 1))]
    assert total(rows)["perplexity"] == pytest.approx(math.exp(20 / 10))
    assert total(rows)["bits_per_byte"] == pytest.approx(2 / math.log(2))


def test_an_empty_text_is_outside_and_an_impossible_one_unscored():
    assert SUITE.candidates(text_row("")) == []
    assert (score([], 0).scores, score([], 0).error) == ({}, None)
    assert score([-math.inf], 3).error
    assert SUITE.score("no JSON", text_row("x")).error


def test_unscored_rows_leave_the_total_as_it_is():
    right = as_row(score([-1.0], 1))
    assert total([right, as_row(score([-math.inf], 3))]) == total([right])
    assert total([]) == {}


def test_a_text_alone_has_no_prompt():
    question = {"role": "user", "content": "?"}
    assert SUITE.candidates(text_row("x"))[0].messages is None
    assert SUITE.candidates(text_row("x", [question]))[0].messages == [question]


def test_lower_is_better():
    assert not any(metric.higher_is_better for metric in SUITE.metrics)

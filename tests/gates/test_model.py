import math

import pytest

from tunewright.artifacts.trial import Reading
from tunewright.artifacts.verdict import Status
from tunewright.gates.model import (
    first_loss_is_finite,
    model_reads_the_rows,
    tokens_have_embeddings,
    weights_are_whole,
)
from tunewright.models.weights import WeightFacts

GUESS = math.log(49_152)


def test_whole_weights_pass_and_so_do_none():
    assert weights_are_whole(WeightFacts(21, (), {})).status is Status.PASSED
    assert weights_are_whole(None).status is Status.PASSED


def test_a_missing_tensor_fails_and_is_named():
    verdict = weights_are_whole(WeightFacts(21, ("a.weight",), {}))
    assert verdict.status is Status.FAILED
    assert verdict.measured == "of 21 tensors 1 are not in the files: a.weight"
    assert "whole" in verdict.remedy


def test_another_shape_fails_with_both_shapes():
    verdict = weights_are_whole(WeightFacts(21, (), {"a.weight": ([64], [32])}))
    assert verdict.status is Status.FAILED
    assert verdict.measured == "of 21 tensors 1 have another shape: a.weight [64] for [32]"
    assert "config.json" in verdict.remedy


def test_tokens_beyond_the_embedding_fail_and_are_named():
    verdict = tokens_have_embeddings({"<|im_end|>": 900}, 896)
    assert verdict.status is Status.FAILED and "`<|im_end|>` is 900" in verdict.measured and "896" in verdict.measured
    assert tokens_have_embeddings({}, 896).status is Status.PASSED
    assert tokens_have_embeddings({}, None).status is Status.PASSED


def test_a_loss_that_is_no_number_fails_and_the_remedy_says_whose_fault_it_is():
    at_once, later = first_loss_is_finite([None, None]), first_loss_is_finite([2.5, None])
    assert at_once.status is later.status is Status.FAILED
    assert "get the model again" in at_once.remedy and "learning_rate" in later.remedy
    assert later.measured == "losses of 2 steps, in nats a trained token: 2.5, not finite"
    assert first_loss_is_finite([2.5, 2.4]).status is Status.PASSED


@pytest.mark.parametrize(
    ("rows", "frame", "status"),
    [
        (5.5, 0.4, Status.PASSED),
        (5.5, 14.0, Status.PASSED),  # a base: the template is new to it
        (GUESS + 2.0, 3.0, Status.PASSED),  # a language that it has never met, and its own template
        (0.8 * GUESS, 0.7 * GUESS, Status.WARNED),
        (GUESS + 0.1, GUESS + 0.1, Status.WARNED),  # made by chance
        (GUESS + 1.1, GUESS + 1.1, Status.FAILED),
        (None, None, Status.FAILED),
    ],
)
def test_a_model_that_reads_worse_than_a_guess_is_told_of(rows, frame, status):
    verdict = model_reads_the_rows(Reading(rows=rows, frame=frame, tokens=300, vocab_size=49_152))
    assert verdict.status is status
    assert verdict.bound == "one of them at most 6.5; a guess among 49152 tokens has 10.8"
    if status is not Status.PASSED:
        assert all(name in verdict.remedy for name in ("tokenizer", "config", "weights"))

"""Statistics of a head without a gradient."""

import pytest
import torch
from tests.kernels.reference import columns, full, problem

from tunewright.kernels.token_stats import token_stats_of

TRANSFORM = {"softcap": 4.0, "temperature": 0.8, "logit_scale": 1.3}


@pytest.mark.parametrize("options", [{}, TRANSFORM], ids=["raw", "transformed"])
@pytest.mark.parametrize("chunk_rows", [3, 1000])
def test_statistics_and_likeliest_words_are_those_of_full_logits(options, chunk_rows):
    p = problem(30, bias=True, ignored=(0, 7))
    counts, logits = p.labels != -100, full(p, **options).detach()
    found = token_stats_of(
        p.hidden, p.weight, p.labels, bias=p.bias, top_k=5, chunk_bytes=chunk_rows * 101 * 8, **options
    )
    expected = columns(logits, p.labels[counts])
    for name in ("nll", "entropy", "sum_sq", "correct"):
        torch.testing.assert_close(getattr(found.stats, name)[counts], getattr(expected, name))
        assert not getattr(found.stats, name)[~counts].any()
    top = logits.log_softmax(-1).topk(5)
    torch.testing.assert_close(found.top_log_probs[counts], top.values.float())
    assert torch.equal(found.top_ids[counts], top.indices)
    assert torch.equal(found.stats.valid, counts)


def test_nothing_more_is_given_than_was_asked_for():
    p = problem(5)
    found = token_stats_of(p.hidden, p.weight, p.labels)
    assert found.top_ids is None and found.top_log_probs is None
    assert not found.stats.entropy.requires_grad


def test_no_more_words_are_given_than_there_are():
    p = problem(5, vocab=4)
    assert token_stats_of(p.hidden, p.weight, p.labels, top_k=9).top_ids.shape == (5, 4)

import math
from itertools import pairwise

import pytest

from tunewright.artifacts.tokens import Token, TokenRow
from tunewright.stats.token_entropy import EDGES, entropy_change, entropy_summary, histogram, nll_by_entropy_decile


def token(entropy, nll=None, *, position=1, text="x", trained=True, role="assistant", rank=1, id=5):
    return Token(position, id, text, role, trained, entropy, entropy if nll is None else nll, rank, ())


def rows_of(*rows):
    first = Token(0, 1, "<s>", "template", False, None, None, None, ())
    return [TokenRow(f"r{index}", (first, *tokens)) for index, tokens in enumerate(rows)]


def test_the_summary_counts_trained_tokens_and_leaves_the_first_out():
    rows = rows_of([token(2.0, 1.0), token(4.0, 3.0, rank=2), token(9.0, trained=False, role="user")])
    summary = entropy_summary(rows)
    trained = summary.trained
    assert (trained.tokens, trained.mean_entropy, trained.mean_nll, trained.accuracy) == (2, 3.0, 2.0, 0.5)
    assert summary.by_role["user"].mean_entropy == 9.0 and list(summary.by_role) == ["user", "assistant"]


def test_the_interval_takes_rows_together_and_needs_three():
    assert entropy_summary(rows_of([token(1.0)], [token(2.0)])).trained.interval is None
    low, high = entropy_summary(rows_of(*([token(value)] * 50 for value in (1.0, 2.0, 3.0, 4.0)))).trained.interval
    assert low < 1.8 and high > 3.2  # as wide as four rows are, and not as two hundred tokens would be


def test_the_histogram_loses_no_token():
    values = [0.0, 1e-9, 1e-4, 0.00012, 0.5, 3.0, 11.9]
    counts = histogram(values)
    assert sum(counts) == len(values) and len(counts) == len(EDGES)
    assert counts[0] == 2 and counts[1] == 2 and counts[-1] == 1
    assert all(b / a == pytest.approx(10**0.25, rel=1e-3) for a, b in pairwise(EDGES)) and EDGES[-1] > math.log(262144)


def test_the_deciles_are_in_order_of_entropy_and_sum_to_one():
    tokens = [token(value, nll=value) for value in range(100, 0, -1)]
    shares = nll_by_entropy_decile(tokens)
    assert shares == sorted(shares) and sum(shares) == pytest.approx(1.0)
    assert shares[-1] == pytest.approx(sum(range(91, 101)) / 5050)


def test_a_text_that_surprises_nobody_has_no_deciles():
    assert nll_by_entropy_decile([token(0.0)] * 30) == [0.0] * 10


def test_the_deciles_are_those_that_training_logs():
    import torch

    from tunewright.losses.entropy import token_stats
    from tunewright.losses.metrics import EntropyMeter

    torch.manual_seed(0)
    stats = token_stats(torch.randn(4000, 50) * torch.rand(4000, 1) * 8, torch.randint(50, (4000,)))
    meter = EntropyMeter()
    meter.add(stats)
    tokens = [token(h, nll) for h, nll in zip(stats.entropy.tolist(), stats.nll.tolist(), strict=True)]
    assert nll_by_entropy_decile(tokens) == pytest.approx(meter.result()["nll_by_entropy_decile"], abs=0.01)


def test_positions_are_tenths_of_each_answer():
    rows = rows_of([token(float(index)) for index in range(20)], [token(100.0)])
    parts = entropy_summary(rows).by_position
    assert parts[0].tokens == 3 and parts[0].mean_entropy == pytest.approx(101 / 3)
    assert parts[9].mean_entropy == 18.5


def test_a_short_answer_leaves_tenths_empty():
    parts = entropy_summary(rows_of([token(1.0), token(2.0)])).by_position
    assert [part is None for part in parts] == [False, *[True] * 4, False, *[True] * 4]


def test_forking_tokens_are_unsure_and_seen_often():
    sure = [token(0.1, text=f"t{index}") for index in range(300)]
    forks = [token(2.0 + index, text=f"f{index}") for index in range(8) for _ in range(3)]
    once = [token(9.0, text="once"), token(9.0, text=" \n")]
    found = entropy_summary(rows_of([*sure, *forks, *once])).forks
    assert [fork.text for fork in found] == [f"f{index}" for index in range(7, -1, -1)]
    assert found[0].tokens == 3 and found[0].example.row == "r0"


def test_few_tokens_are_forks_even_if_seen_once():
    assert [fork.text for fork in entropy_summary(rows_of([token(0.1), token(3.0, text="y")])).forks] == ["y"]


def test_a_change_is_paired_by_token():
    before = rows_of(*([token(2.0, text="a"), token(1.0, text="b")] for _ in range(4)))
    after = rows_of(*([token(0.5, text="a"), token(1.5, text="b")] for _ in range(4)))
    change = entropy_change(before, after)
    assert change.difference == pytest.approx(-0.5) and (change.surer, change.less_sure) == (0.5, 0.5)
    assert change.interval == pytest.approx((-0.5, -0.5))
    assert [(one.text, one.tokens, one.difference) for one in change.fell] == [("a", 4, -1.5)]
    assert [(one.text, one.entropy) for one in change.rose] == [("b", (1.0, 1.5))]


def test_rows_of_other_tokens_are_not_compared():
    with pytest.raises(ValueError, match="against"):
        entropy_change(rows_of([token(1.0, id=5)]), rows_of([token(1.0, id=6)]))


def test_rows_without_a_trained_token_have_no_summary():
    with pytest.raises(ValueError, match="no trained tokens"):
        entropy_summary(rows_of([token(1.0, trained=False)]))

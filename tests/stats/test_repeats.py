import itertools
import math

import numpy as np
import pytest

from tunewright.stats.groups import standard_error
from tunewright.stats.repeats import pass_at_k, pass_hat_k, pass_k_estimate, question_means, repeat_noise, repeated_mean


@pytest.mark.parametrize(("right", "answers", "k"), [(0, 5, 2), (2, 5, 2), (4, 5, 3), (5, 5, 5), (1, 8, 1)])
def test_pass_at_k_and_pass_hat_k_are_shares_of_all_draws_of_k(right, answers, k):
    draws = list(itertools.combinations([1] * right + [0] * (answers - right), k))
    assert pass_at_k(right, answers, k) == pytest.approx(np.mean([any(draw) for draw in draws]))
    assert pass_hat_k(right, answers, k) == pytest.approx(np.mean([all(draw) for draw in draws]))


def test_pass_at_k_is_unbiased_where_the_usual_plug_in_is_not():
    rng, p, n, k = np.random.default_rng(1), 0.2, 6, 4
    counts = rng.binomial(n, p, 20_000)
    truth = 1 - (1 - p) ** k
    assert np.mean([pass_at_k(int(c), n, k) for c in counts]) == pytest.approx(truth, abs=0.008)
    assert np.mean(1 - (1 - counts / n) ** k) < truth - 0.03


@pytest.mark.parametrize(("right", "answers", "k"), [(1, 4, 5), (1, 4, 0), (5, 4, 2), (-1, 4, 2)])
def test_more_draws_than_answers_are_refused(right, answers, k):
    for chance in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError, match="answers"):
            chance(right, answers, k)


def test_the_error_of_pass_at_k_is_over_questions():
    right, answers = [0, 1, 2, 4, 4, 0, 3, 1], [4] * 8
    values = [pass_at_k(c, 4, 2) for c in right]
    found = pass_k_estimate(right, answers, 2)
    assert found.value == pytest.approx(np.mean(values))
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / math.sqrt(8))
    assert found.low < found.value < found.high and found.num_questions == 8
    assert pass_k_estimate(right, answers, 2, all_of_them=True).value < found.value


def test_repeats_do_not_pretend_to_be_more_questions():
    rng = np.random.default_rng(2)
    truth = rng.random(30)
    values = (rng.random((30, 50)) < truth[:, None]).astype(float)
    questions = [f"q{at}" for at in range(30) for _ in range(50)]
    found = repeated_mean(list(values.ravel()), questions)
    assert found.standard_error == pytest.approx(values.mean(1).std(ddof=1) / math.sqrt(30))
    # the very figure of the cluster-robust error of the single answers, as all questions have as many
    assert found.standard_error == pytest.approx(standard_error(values.ravel(), questions))


def test_questions_may_stand_in_groups_themselves():
    values, questions = [1, 1, 0, 0, 1, 0, 1, 1], ["a", "a", "b", "b", "c", "c", "d", "d"]
    grouped = repeated_mean(values, questions, ["x"] * 4 + ["y"] * 4)
    assert grouped.standard_error == pytest.approx(standard_error([1, 0, 0.5, 1], ["x", "x", "y", "y"]))
    assert list(question_means(values, questions)) == [1, 0, 0.5, 1]


def test_noise_is_split_into_that_of_questions_and_that_of_answers():
    rng = np.random.default_rng(3)
    values = rng.normal(scale=2, size=(400, 1)) + rng.normal(scale=3, size=(400, 5))
    noise = repeat_noise(list(values.ravel()), [str(at) for at in range(400) for _ in range(5)])
    assert noise.between == pytest.approx(4, rel=0.2)
    assert noise.within == pytest.approx(9, rel=0.1)
    assert noise.standard_error(400, 5) == pytest.approx(values.mean(1).std(ddof=1) / 20, rel=0.02)


def test_noise_of_single_answers_is_refused():
    with pytest.raises(ValueError, match="two answers"):
        repeat_noise([1.0, 0.0], ["a", "b"])

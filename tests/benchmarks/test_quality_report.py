import random

import pytest
from benchmarks.quality_report import NONE, by_arm, differences, equal_scores, report, write_report


def line(arm, seed, steps=32, nll=0.5, wrong_seed=False, **more):
    """A result whose NLL is worse by 0.1 with `top20`; in the wrong seed it is better."""
    rng = random.Random(seed)
    worse = 0.0 if arm == NONE else (-0.1 if wrong_seed else 0.1)
    noise = [rng.gauss(0, 0.05) for _ in range(40)]
    about = {
        "device": "CPU", "threads": 2, "cores": 2, "dtype": "float32", "load_average": [0.0],
        "versions": {"torch": "2"}, "measured": "2026-11-21T00:00:00+00:00",
    }  # fmt: skip
    return {
        "arm": arm, "seed": seed, "labels": "clean", "settings": {"steps": steps}, "machine": about,
        "rows": [f"r{i}" for i in range(40)], "groups": [f"g{i // 2}" for i in range(40)], "prompts": ["a", "b"],
        "exact": [float(i % 4 == 0) for i in range(40)], "nll": [nll + worse + change for change in noise],
        "kl": [0.1, 0.2], "base_nll": [0.5, 0.6], "kept": [1.0, 0.9],
        "mean_weight": 1.0, "learning_rate": 1e-3, "train_seconds": 2.0 * steps, **more,
    }  # fmt: skip


def lines(*, wrong_seed=None):
    return [line(arm, seed, wrong_seed=seed == wrong_seed) for seed in (1, 2, 3) for arm in (NONE, "top20")]


def test_a_difference_that_every_seed_shows_is_shown():
    found = differences(by_arm(lines(), "clean"), "nll")["top20"]
    assert found.mean == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert found.by_seed == pytest.approx([0.1, 0.1, 0.1])
    assert found.shown


def test_one_seed_that_disagrees_is_enough_to_show_nothing():
    found = differences(by_arm(lines(wrong_seed=2), "clean"), "nll")["top20"]
    assert found.by_seed == pytest.approx([0.1, -0.1, 0.1])
    assert not found.shown


def test_equal_answers_do_not_make_an_interval_of_no_width():
    found = differences(by_arm(lines(), "clean"), "exact")["top20"]
    assert found.mean == 0
    assert found.low < 0 < found.high
    assert not found.shown


def test_time_to_equal_score_is_interpolated_between_budgets():
    budgets = [
        [line(arm, 1, steps, nll=nll) for arm in (NONE, "top20")] for steps, nll in [(8, 0.9), (16, 0.7), (32, 0.6)]
    ]
    found = equal_scores(budgets, "clean")["top20"]
    assert found.nll == pytest.approx(sum(budgets[2][1]["nll"]) / 40)
    assert found.arm == pytest.approx(64)
    assert found.none == pytest.approx(32, abs=0.5)


def test_the_report_says_what_is_shown_what_diverged_and_on_what(tmp_path):
    broken = {**line("dft", 1), "diverged": True}
    text, path = write_report([[*lines(), broken]], tmp_path)
    assert path.read_text() == text
    assert path.with_suffix(".json").is_file()
    assert "diverged, and left out: dft (seed 1, clean)" in text
    assert "| top20 |" in text
    assert "+0.100" in text
    assert "CPU, 2 threads of 2 cores, float32" in text


def test_a_report_without_plain_cross_entropy_has_no_differences():
    text, found = report([[line("top20", 1)]])
    assert "Differences" not in text
    assert found["differences_to_none"] == {"clean": {}}


def test_results_of_two_machines_are_told_as_such_and_one_slow_training_is_not_the_rule():
    slow = line("top20", 4, train_seconds=6400.0)
    slow["machine"] = {**slow["machine"], "device": "another CPU", "measured": "2026-11-22T00:00:00+00:00"}
    text, _ = report([[*lines(), slow]])
    assert "- 6 results from CPU, 2 threads of 2 cores, float32, 2026-11-21:" in text
    assert "- 1 results from another CPU, 2 threads of 2 cores, float32, 2026-11-22:" in text
    assert "| 64 s (64 to 6400) |" in text

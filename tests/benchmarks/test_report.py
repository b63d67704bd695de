import pytest
from benchmarks.report import Finding, file_stem, ratios


def test_a_bound_is_held_against_the_median():
    assert Finding("a / b", [0.9, 1.0, 5.0], 1.0).met
    assert not Finding("a / b", [0.9, 1.1, 1.2], 1.0).met
    assert Finding("a / b", [1.0, 2.0, 9.0], 2.0, at_least=True).met
    assert not Finding("a / b", [1.0, 1.9, 9.0], 2.0, at_least=True).met


def test_a_missed_bound_cannot_be_overlooked():
    assert "NOT MET" in Finding("a / b", [2.0], 1.0).told()


def test_ratios_are_taken_round_by_round():
    assert ratios([2.0, 20.0], [1.0, 10.0]) == [2.0, 2.0]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


def test_a_file_is_named_by_device_threads_and_benchmark():
    about = {"device": "CPU AMD EPYC (Zen 3)", "threads": 2}
    assert file_stem(about, "head") == "cpu-amd-epyc-zen-3-2-threads__head"

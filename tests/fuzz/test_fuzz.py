"""Some seconds of `python -m benchmarks.fuzz`: every target, a few hundred inputs, always the same ones."""

import pytest
from benchmarks.fuzz import Tried, by_hypothesis
from benchmarks.fuzz_targets import TARGETS

INPUTS = 60
TOO_SLOW_TO_START = ("gguf",)  # brings torch: only in the campaign


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in TOO_SLOW_TO_START])
def test_no_input_ends_in_a_traceback_a_hang_or_half_a_file(name, tmp_path):
    target = TARGETS[name]
    tried = Tried(target, tmp_path)
    by_hypothesis(tried, max(10, INPUTS // target.cost), seed=5)
    outcome = tried.close()
    assert not outcome.findings
    assert outcome.inputs >= 10

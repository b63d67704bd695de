"""The drill finds each fault that is planted in a stack."""

import pytest
from benchmarks.stack_drill import FAULTS, main

from tunewright.artifacts.verdict import Status
from tunewright.models.tiny import write_tiny_twin


@pytest.fixture(scope="module")
def tiny(toy_model, tmp_path_factory):
    return write_tiny_twin(toy_model, tmp_path_factory.mktemp("drill") / "tiny")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_fails_its_gate(tiny, tmp_path, fault):
    verdict = fault(tiny, tmp_path)
    assert verdict.status is Status.FAILED, verdict.measured
    assert verdict.remedy


def test_the_benchmark_runs(capsys):
    assert main(["--quick"]) == 0
    assert "llama" in capsys.readouterr().out

"""Puts the sample run on the path, for any import mode of pytest."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sample_run import SampleRun, complete_run


@pytest.fixture
def sample(tmp_path):
    return SampleRun(tmp_path / "runs")


@pytest.fixture
def run(tmp_path):
    return complete_run(tmp_path / "runs")

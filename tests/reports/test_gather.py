import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sample_run import SampleRun

from tunewright.reports.gather import Story

STARTED = {"fingerprint": "f", "start": "2026-11-21T05:00:00+00:00", "seconds": 321.5, "attempts": 2}


@pytest.fixture
def killed(tmp_path):
    """A run that was killed in its training."""
    sample = SampleRun(tmp_path)
    sample.data()
    (sample.folder("sft") / "started.json").write_text(json.dumps(STARTED))
    sample.stages["sft"] |= {"status": "running", "seconds": 100.0}
    sample.state("running")
    return sample


def test_the_time_of_a_killed_attempt_counts_before_it_is_gone_on_with(killed):
    story = Story(killed.run)
    spent = {stage.id: stage.spent_seconds for stage in story.stages}
    assert (spent["sft"], spent["data"]) == (321.5, 3.2)
    assert story.seconds == pytest.approx(324.7)


def test_garbage_in_started_json_is_no_reason_not_to_tell_the_rest(killed):
    (killed.folder("sft") / "started.json").write_text("[1]")
    assert Story(killed.run).seconds == pytest.approx(103.2)

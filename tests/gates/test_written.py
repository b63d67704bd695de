from tunewright.artifacts.verdict import Status
from tunewright.gates.written import rows_are_written


def test_rows_that_lose_their_system_text_fail_and_are_named():
    verdict = rows_are_written({"a": "system", "b": "user"}, 3)
    assert verdict.status is Status.FAILED
    assert verdict.measured == "2 of 3 rows lose words (1 of the system, 1 of the user): a, b"
    assert verdict.remedy


def test_rows_that_are_written_whole_pass():
    assert rows_are_written({}, 3).status is Status.PASSED

"""Each gate on cost fires on the planted fault and is silent on what fits."""

import pytest

from tunewright.artifacts.verdict import Status
from tunewright.gates.money import (
    Cost,
    estimate_holds,
    fits_budget,
    fits_memory,
    hours_with_interval,
    price_is_known,
    speed_is_usable,
)
from tunewright.models.devices import load_per_core

GB = 10**9


def test_what_fits_the_device_passes_without_a_remedy():
    verdict = fits_memory(4 * GB, 3 * GB, 5 * GB, "CPU", 16 * GB)
    assert (verdict.status, verdict.remedy) == (Status.PASSED, "")
    assert verdict.measured == "sft needs 4.0 GB (3.0 to 5.0), estimated"


def test_what_is_too_big_fails_and_names_what_fits():
    verdict = fits_memory(20 * GB, 18 * GB, 22 * GB, "RTX 4090", 16 * GB, ["batch_size: 2", "max_tokens: 512"])
    assert verdict.status is Status.FAILED
    assert verdict.remedy == "one of these fits: batch_size: 2; or max_tokens: 512"
    assert "smaller model" in fits_memory(20 * GB, 18 * GB, 22 * GB, "RTX 4090", 16 * GB).remedy


def test_what_may_be_too_big_warns():
    assert fits_memory(15 * GB, 14 * GB, 17 * GB, "CPU", 16 * GB).status is Status.WARNED


@pytest.mark.parametrize(
    ("measured", "status"), [(3 * GB, Status.PASSED), (6 * GB, Status.WARNED), (GB, Status.WARNED)]
)
def test_a_measured_peak_outside_the_interval_is_told(measured, status):
    assert estimate_holds(measured, 2 * GB, 4 * GB).status is status


def test_a_model_smaller_than_the_noise_of_the_allocator_is_no_reason_to_warn():
    assert estimate_holds(40_000_000, 60_000_000, 80_000_000).status is Status.PASSED


def test_a_budget_that_suffices_passes():
    assert fits_budget(hours_with_interval(1.0), None, most_hours=2.0, most_usd=None).status is Status.PASSED


def test_a_budget_that_the_expected_cost_exceeds_fails():
    verdict = fits_budget(hours_with_interval(3.0), None, most_hours=2.0, most_usd=None)
    assert verdict.status is Status.FAILED
    assert verdict.measured == "3 h 00 min (2 h 24 min to 3 h 54 min)"
    assert "budget" in verdict.remedy


def test_what_is_spent_already_counts():
    hours = hours_with_interval(1.0)
    assert fits_budget(hours, None, most_hours=2.0, most_usd=None, spent_hours=0.5).status is Status.PASSED
    assert fits_budget(hours, None, most_hours=2.0, most_usd=None, spent_hours=0.8).status is Status.WARNED
    assert fits_budget(hours, None, most_hours=2.0, most_usd=None, spent_hours=1.5).status is Status.FAILED


def test_a_budget_in_usd_is_held_too():
    hours = Cost(1.0, 1.0, 1.0)
    usd = hours.times(2.0, 4.0)
    assert usd == Cost(2.0, 3.0, 4.0)
    assert fits_budget(hours, usd, most_hours=None, most_usd=5.0).status is Status.PASSED
    assert fits_budget(hours, usd, most_hours=None, most_usd=2.5).status is Status.FAILED
    assert fits_budget(hours, usd, most_hours=9.0, most_usd=2.5).status is Status.FAILED


def test_a_budget_in_usd_needs_a_price():
    assert price_is_known(2.5, "H100").status is Status.PASSED
    assert price_is_known(None, "CPU").status is Status.FAILED


@pytest.mark.parametrize(
    ("seconds", "status", "word"),
    [
        (4.9, Status.PASSED, ""),
        (29.0, Status.WARNED, "usable"),
        (45.0, Status.WARNED, "slow"),
        (61.0, Status.FAILED, "smaller model"),
    ],
)
def test_the_time_of_a_step_says_whether_to_proceed(seconds, status, word):
    verdict = speed_is_usable(seconds, load=1.2)
    assert verdict.status is status
    assert word in verdict.remedy and bool(word) == bool(verdict.remedy)


def test_a_time_that_others_have_spent_refuses_nothing():
    verdict = speed_is_usable(88.6, load=3.1)
    assert verdict.status is Status.WARNED
    assert "3.1 a core" in verdict.measured and "busy" in verdict.remedy
    assert speed_is_usable(4.0, load=3.1).remedy == ""


def test_the_load_is_that_of_the_cores_that_may_be_used():
    assert 0 <= load_per_core() < 1000

from tunewright.artifacts.verdict import Status
from tunewright.gates.merge import MergeMeasured, merge_drift, merge_fits_base, merge_took_effect


def measured(**changes):
    return MergeMeasured(
        **{"tokens": 400, "kl_adapter_base": 0.8, "kl_adapter_merged": 1e-9, "same_first_choice": 1.0, **changes}
    )


def test_a_float32_merge_passes_in_silence():
    verdicts = [merge_fits_base("folder:a", "folder:a"), merge_took_effect(measured()), merge_drift(measured())]
    assert {verdict.status for verdict in verdicts} == {Status.PASSED}
    assert not any(verdict.remedy for verdict in verdicts)


def test_a_merge_that_is_the_base_again_fails_though_it_hardly_drifts_from_a_small_adapter():
    small = measured(kl_adapter_base=5e-4, kl_adapter_merged=5e-4)
    assert merge_took_effect(small).status is Status.FAILED
    assert "keeps 0.0%" in merge_took_effect(small).measured
    assert merge_drift(small).status is Status.PASSED


def test_an_adapter_that_does_nothing_is_nothing_to_merge():
    assert merge_took_effect(measured(kl_adapter_base=0.0, kl_adapter_merged=0.0)).status is Status.FAILED


def test_another_base_fails_by_its_bytes_or_by_its_shapes():
    verdict = merge_fits_base("folder:a", "folder:b", base="my-model")
    assert verdict.status is Status.FAILED and "my-model" in verdict.measured
    assert merge_fits_base("", "folder:b", ["layer 0: 8 in the adapter, 16 in the model"]).status is Status.FAILED
    assert merge_fits_base("", "folder:b").status is Status.PASSED


def test_a_merge_that_says_something_else_fails():
    assert merge_drift(measured(kl_adapter_merged=0.02)).status is Status.FAILED
    assert merge_drift(measured(same_first_choice=0.9)).status is Status.FAILED

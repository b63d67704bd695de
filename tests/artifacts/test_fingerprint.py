import pytest

from tunewright.artifacts.fingerprint import canonical, differing_fields, fingerprint


def test_the_order_of_keys_and_the_form_of_numbers_do_not_matter():
    assert fingerprint({"a": 1, "b": [1.0, "x"]}) == fingerprint({"b": [1, "x"], "a": 1.0})


def test_true_is_not_one():
    assert fingerprint({"a": True}) != fingerprint({"a": 1})


@pytest.mark.parametrize("value", [{"f": len}, {"f": {1, 2}}, {"f": float("nan")}, {"f": b"bytes"}])
def test_a_value_without_a_stable_form_is_refused_with_its_path(value):
    with pytest.raises(TypeError, match=r"\$\.f"):
        canonical(value)


def test_differences_are_told_field_by_field():
    old = {"steps": 12, "lora": {"rank": 16, "alpha": 32}, "gone": 1}
    new = {"steps": 4, "lora": {"rank": 16, "alpha": 8}, "fresh": None}
    assert differing_fields(old, new) == ["gone: 1 -> null", "lora.alpha: 32 -> 8", "steps: 12 -> 4"]

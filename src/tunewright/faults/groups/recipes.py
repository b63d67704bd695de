"""Faults of the recipe: it says something other than what was meant."""

from __future__ import annotations

from tunewright.faults.fault import Fault, grouped, recipe

FAULTS = grouped(
    "recipe",
    Fault(
        "key-with-a-typo",
        "`lerning_rate`: the default is trained with",
        recipe(sft__lerning_rate=2e-4),
        real="axolotl: schema without extra=forbid",
        promise="unknown key",
    ),
    Fault("number-as-text", "`learning_rate: 2e-4x`", recipe(sft__learning_rate="2e-4x"), promise="unknown key"),
    Fault("rate-out-of-range", "`learning_rate: 20`", recipe(sft__learning_rate=20), promise="unknown key"),
    Fault("steps-and-epochs", "both are given, and one would be ignored", recipe(sft__epochs=3), promise="unknown key"),
    Fault(
        "stage-that-is-not-above",
        "`rows: dat.train` names no stage",
        recipe(sft__rows="dat.train"),
        promise="unknown key",
        trl="TRL has no stages",
    ),
    Fault(
        "file-that-is-not-there",
        "the source's path has a typo",
        recipe(data__sources=[{"type": "jsonl", "path": "row.jsonl"}]),
        promise="data",
    ),
)

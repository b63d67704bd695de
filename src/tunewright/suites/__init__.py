"""Evaluation suites: how answers are scored. Needs no torch."""

METRICS: dict[str, tuple[str, ...]] = {
    "tool-calls": ("valid_json", "name_match", "args_exact", "call_f1"),
    "exact-match": ("exact_match", "token_f1"),
}
"""suite -> its metrics, in the order of reports"""

MAIN_METRIC: dict[str, str] = {"tool-calls": "args_exact", "exact-match": "exact_match"}
"""suite -> the metric a verdict is about when the recipe requires none"""

"""Evaluation suites: how answers are scored. Needs no torch.

Two plain tables, so that a recipe's typos are told before anything is loaded. A suite whose metrics depend on its
options or its file has no fixed names: its entry is empty.
"""

METRICS: dict[str, tuple[str, ...]] = {
    "tool-calls": (
        "valid_json",
        "name_match",
        "args_exact",
        "call_f1",
        "schema_valid",
        "arg_f1",
        "called",
        "args_bfcl",
        "no_call",
    ),
    "exact-match": ("exact_match", "token_f1"),
    "extraction": ("exact", "field_f1", "valid_json", "schema_valid"),
    "instructions": ("prompt_strict", "prompt_loose", "instruction_strict", "instruction_loose"),
    "keywords": ("keywords", "keyword_share"),
    "multiple-choice": ("accuracy", "accuracy_per_token", "accuracy_per_byte", "accuracy_unconditional"),
    "multiple-choice-letter": ("accuracy", "valid_letter"),
    "reasoning-gym": ("correct", "score"),
    "ranking": (),
    "perplexity": ("perplexity", "byte_perplexity", "bits_per_byte"),
    "sample": (),
}
"""suite -> its metrics, in the order of reports"""

MAIN_METRIC: dict[str, str] = {
    "tool-calls": "args_exact",
    "exact-match": "exact_match",
    "extraction": "exact",
    "instructions": "prompt_strict",
    "keywords": "keywords",
    "multiple-choice": "accuracy",
    "multiple-choice-letter": "accuracy",
    "reasoning-gym": "correct",
    "ranking": "ndcg@10",
    "perplexity": "perplexity",
    "sample": "score",
}
"""suite -> the metric a verdict is about when the recipe requires none"""

"""Graders: score one answer. `protocol.py` says what a grader is; one file a grader; `sandbox/` runs hostile code."""

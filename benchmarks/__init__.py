"""One script a question; `python -m benchmarks [NAME]` runs them. Ratios count, absolute times do not."""

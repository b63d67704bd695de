"""Stage `data`: rows are read, rendered, measured and split."""

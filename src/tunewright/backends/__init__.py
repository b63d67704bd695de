"""Ask a model for text."""

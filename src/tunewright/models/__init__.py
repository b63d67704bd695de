"""Find, load and save models."""

"""Filters: each takes rows and gives back which stay and which go, with the reason."""

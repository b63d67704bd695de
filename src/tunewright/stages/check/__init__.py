"""Stage `check`."""

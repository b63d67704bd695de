"""The name under which `cli/references.py` asks for rows of a file; see `files.py`."""

from tunewright.sources.files import read_rows

__all__ = ["read_rows"]

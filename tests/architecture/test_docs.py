"""The generated references are what the code says today."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("columns", ["50", "200"])
def test_the_generated_docs_are_fresh_on_any_terminal(columns):
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    environment = {**os.environ, "COLUMNS": columns}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr

"""Lets the tests here and below import `protocol_server`, a small real server."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

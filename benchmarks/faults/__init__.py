"""The fault bench from outside: the page docs/faults.md, and what TRL alone says of each fault (`trl.py`)."""

"""The fault bench: small sound projects, one fault planted in each, and which gate says so. See `bench.py`."""

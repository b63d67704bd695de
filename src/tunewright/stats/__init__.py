"""Intervals, paired tests, power. Pure functions without I/O; every random one takes a seed."""

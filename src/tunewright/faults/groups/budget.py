"""Faults of the budget: the run does not fit the machine, the time or the money."""

from __future__ import annotations

from tunewright.faults.fault import Fault, grouped

FAULTS: tuple[Fault, ...] = grouped("budget")

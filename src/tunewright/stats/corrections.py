"""Correcting p-values for how many were looked at: Holm where a gate decides, Benjamini-Hochberg for browsing."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given: keeps the chance of any false one (Holm 1979)."""
    count = len(p_values)
    adjusted = [0.0] * count
    running = 0.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the share of false ones among those shown (Benjamini & Hochberg 1995)."""
    count = len(p_values)
    adjusted = [0.0] * count
    running = 1.0
    for rank, index in enumerate(sorted(range(count), key=lambda i: -p_values[i])):
        running = min(running, p_values[index] * count / (count - rank))
        adjusted[index] = running
    return adjusted

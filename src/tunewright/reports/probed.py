"""What a `probe` stage found out about the model, for the report: its grade, and every probe with its interval."""

from __future__ import annotations

from typing import Any

from tunewright.artifacts.probed import Probed
from tunewright.reports import words
from tunewright.reports.gather import Story


def probed(story: Story) -> dict[str, Any] | str:
    """Return the probes of every `probe` stage, or why there are none."""
    if not story.probed:
        return "no `probe` stage of this run is done"
    return {"blocks": [{"id": stage_id, "probed": one, "rows": _rows(one)} for stage_id, one in story.probed.items()]}


def _rows(found: Probed) -> list[dict[str, Any]]:
    rows = []
    for one in found.results:
        unit = words.Unit(is_rate=one.successes is not None)
        rows.append(
            {
                "name": one.name,
                "value": unit.value(one.value),
                "counted": f"{one.successes} of {one.trials}" if unit.is_rate else one.unit,
                "spread": unit.interval(one.low, one.high),
                "is_sign": one.name in found.signs,
            }
        )
    return rows

"""The bench as text for a terminal, and as the page docs/faults.md. What is not caught is said first."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files

from tunewright.cli.tables import plain_lines
from tunewright.faults.bench import NO_EFFECT, Bench, Found, trl_results, trl_versions
from tunewright.faults.fault import GROUPS
from tunewright.faults.groups import FAULTS

OTHERS = ("axolotl", "LLaMA-Factory", "unsloth")
_SHOWN = 130
_PLACE = re.compile(r"/\S*?/tw-faults-[^/\s]+/(?:[^/\s]+/project|[^/\s]*…)")  # some messages cut it short


def as_text(bench: Bench) -> str:
    """Return a table, what is not caught, false alarms and the totals."""
    head = ["fault", "caught by", "stage", "seconds", "steps saved", "TRL alone"]
    rows = [
        [found.name, _by(found), found.stage or "", f"{found.seconds:.1f}", str(found.steps_saved), found.trl]
        for found in bench.faults
    ]
    alarms = [f"FALSE ALARM {alarm.project}: {alarm.gate} at {alarm.stage}: {alarm.measured}" for alarm in bench.alarms]
    return "\n".join([*plain_lines(head, rows, right=(3, 4)), "", *alarms, totals(bench)])


def totals(bench: Bench) -> str:
    """Return the sums in one sentence."""
    caught = [found for found in bench.faults if found.caught]
    unharmed = sum(found.status == NO_EFFECT for found in bench.faults)
    early = sum(found.before_training for found in caught)
    stopped = sum(found.before_training and found.status != "WARNED" and not found.told for found in caught)
    silent = sum(found.trl == "silent" for found in bench.faults)
    return (
        f"{len(caught)} of {len(bench.faults)} faults caught, {early} before the first training step, "
        f"{stopped} of these stop it; "
        f"{unharmed} have no effect here; "
        f"{len(bench.alarms)} false alarms on {bench.clean} sound projects; TRL alone is silent about {silent}; "
        f"{bench.seconds:.0f} s"
    )


def as_page(bench: Bench, machine: str) -> str:
    """Return docs/faults.md."""
    parts = [
        "<!-- written by `python -m benchmarks.faults --write` -->\n# Planted faults\n",
        "Each fault is one change of a sound small project (a tiny model with a real tokenizer, sixty rows, a recipe "
        "that measures, trains for 40 steps, measures again and compares). The real command line runs over it: "
        "`tw check --static`, `tw check`, `tw run`. A gate that speaks of the sound twin as well has caught "
        "nothing. `tw faults` does all of it again, on your machine and your versions.\n",
        f"**{totals(bench)}** ({machine})\n",
        *_not_caught(bench.faults),
        *(_group(group, bench.faults) for group in GROUPS),
        _alarms(bench),
        _beside(),
    ]
    return "\n".join(parts)


def _by(found: Found) -> str:
    if found.caught:
        return f"{found.gate} {found.status}"
    if found.status == NO_EFFECT:
        return f"no effect here, as {found.gate} shows"
    return "NOT CAUGHT" + (" (a traceback)" if found.status == "CRASHED" else "")


def _not_caught(found: Sequence[Found]) -> list[str]:
    unharmed = [one for one in found if one.status == NO_EFFECT]
    missed = [one for one in found if not one.caught and one.status != NO_EFFECT]
    late = [one for one in found if one.caught and not one.before_training]
    warned = [one for one in found if one.caught and one.status == "WARNED"]
    told = [f"- `{one.name}`: {one.what}" + (" It ends in a traceback." if one.status else "") for one in missed]
    return [
        "## What is not caught\n",
        "\n".join(told) + "\n" if told else "Nothing of what is planted here.\n",
        "Of no effect here, because what they would ruin is found out in another way, as a gate shows by passing: "
        + _names(unharmed)
        + ".\n",
        "Caught only when the training steps were spent: " + _names(late) + ".\n",
        "Told as a warning, which does not stop a run: " + _names(warned) + ".\n",
    ]


def _names(found: Iterable[Found]) -> str:
    return ", ".join(f"`{one.name}`" for one in found) or "none"


def _group(group: str, found: Sequence[Found]) -> str:
    members = [one for one in found if one.group == group]
    if not members:
        return ""
    lines = [
        f"## {group.capitalize()}\n",
        "| fault | caught by | stage | seconds | steps saved | TRL alone |",
        "|---|---|---|---|---|---|",
        *(_line(one) for one in members),
    ]
    return "\n".join(lines) + "\n"


def _line(found: Found) -> str:
    by = f"`{found.gate}` {found.status}: {_short(found.measured)}" if found.caught else _by(found)
    by += f"; told before by {found.told}" if found.told else ""
    trl = found.trl + (f": {_short(found.trl_said)}" if found.trl_said else "")
    cells = (f"**{found.name}**: {found.what}", by, found.stage or "", f"{found.seconds:.1f}", found.steps_saved, trl)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _short(text: str) -> str:
    line = _PLACE.sub("PROJECT", " ".join(text.split()))
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _alarms(bench: Bench) -> str:
    told = [f"- {alarm.project}: `{alarm.gate}` at {alarm.stage}: {_short(alarm.measured)}" for alarm in bench.alarms]
    return f"## Sound projects\n\n{bench.clean} projects, {len(told)} false alarms.\n\n" + "\n".join(told) + "\n"


def _beside() -> str:
    """Return how TRL was asked, and what others promise."""
    promises = json.loads((files("tunewright.faults") / "promises.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {number}" for name, number in trl_versions().items())
    if others := sum("versions" in said for said in trl_results().values()):
        versions += f"; {others} of the faults with others, which trl.json names"
    lines = [
        "## TRL alone, and what others promise\n",
        f"TRL was run on the same model folder and the same rows ({versions}): stock `SFTTrainer` with "
        "`assistant_only_loss`, two steps, or `GRPOTrainer` with the grader as its reward. *raises*: it stopped; "
        "*warns*: it said something that it does not say of the sound twin; *silent*: it trained; *not applicable*: "
        "it has nothing of the kind, and the reason stands beside it. Measured by `python -m benchmarks.faults.trl`.\n",
        f"{promises['read']} *Nothing found* means that their source was searched for it.\n",
        "| of | " + " | ".join(OTHERS) + " | faults |",
        "|---|" + "---|" * (len(OTHERS) + 1),
    ]
    for topic, said in promises["topics"].items():
        names = ", ".join(fault.name for fault in FAULTS if fault.promise == topic)
        lines.append(f"| {topic} | " + " | ".join(said[other] for other in OTHERS) + f" | {names} |")
    return "\n".join(lines) + "\n"

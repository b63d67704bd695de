"""Tables and plots of `entropy_quality`: every weighting against plain cross entropy, on the same rows and seeds.

A difference is a mean over rows (or prompts) and seeds. Its 95% interval is a bootstrap that draws whole functions (or
prompts), with all their seeds; for 0/1 scores the wider of that and Newcombe's, which does not shrink to nothing where
few rows differ. Neither knows what another seed would have given: so a difference counts as shown, `*`, only where
Holm's p over all weightings of the table is below 0.05 and every seed agrees on the sign.

reads    lines of results.jsonl
writes   FOLDER/entropy_quality_<device>_<date>.md and .json
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.report import file_stem
from tunewright.artifacts.files import make_folder, write_json, write_text
from tunewright.stats.corrections import holm
from tunewright.stats.intervals import mean_interval
from tunewright.stats.paired import newcombe_paired, permutation_p

NONE = "none"
CONFIDENCE = 0.95
HOW = ("mean_weight", "learning_rate")
PLOT_WIDTH = 49

Line = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """A score of each row or prompt.

    Attributes:
        title: what it is.
        unit: what its items are called in a line of results.
        clusters: items of one cluster are drawn together.
        better: "higher" or "lower".
        is_rate: 0 or 1 an item.
    """

    title: str
    unit: str
    clusters: str
    better: str
    is_rate: bool = False

    def told(self, value: float, sign: str = "") -> str:
        """Rates in percent, the others as they are."""
        return f"{100 * value:{sign}.1f}%" if self.is_rate else f"{value:{sign}.3f}"


METRICS = {
    "exact": Metric("answers exactly right", "rows", "groups", "higher", is_rate=True),
    "nll": Metric("NLL a token", "rows", "groups", "lower"),
    "kl": Metric("KL to base", "prompts", "prompts", "lower"),
    "base_nll": Metric("NLL of base's answers", "prompts", "prompts", "lower"),
    "kept": Metric("top tokens kept", "prompts", "prompts", "higher"),
}


@dataclass(frozen=True)
class Difference:
    """A weighting against plain cross entropy, in one metric.

    Attributes:
        mean: of arm - none.
        low: of its interval.
        high: of its interval.
        p: two-sided, by sign flips of whole clusters; Holm-adjusted over the weightings of a table.
        by_seed: the mean of each seed alone.
    """

    mean: float
    low: float
    high: float
    p: float
    by_seed: list[float]

    @property
    def shown(self) -> bool:
        """Significant, and no seed says otherwise."""
        signs = {math.copysign(1, value) if value else 0 for value in self.by_seed}
        return self.p < 1 - CONFIDENCE and len(signs) == 1


def by_arm(lines: Sequence[Line], labels: str) -> dict[str, dict[int, Line]]:
    """Return arm -> seed -> line, of what was measured on these labels and did not diverge."""
    found: dict[str, dict[int, Line]] = {}
    for line in lines:
        if line["labels"] == labels and line["seed"] and not line.get("diverged"):
            found.setdefault(line["arm"], {})[line["seed"]] = line
    return found


def differences(arms: dict[str, dict[int, Line]], name: str) -> dict[str, Difference]:
    """Return the difference of each arm to `none` in a metric, over the seeds that both have."""
    none = arms.get(NONE, {})
    found = {
        arm: _difference(
            METRICS[name], name, [(lines[seed], none[seed]) for seed in sorted(lines.keys() & none.keys())]
        )
        for arm, lines in arms.items()
        if arm != NONE and lines.keys() & none.keys()
    }
    adjusted = holm([difference.p for difference in found.values()])
    return {arm: replace(found[arm], p=p) for arm, p in zip(found, adjusted, strict=True)}


def _difference(metric: Metric, name: str, pairs: Sequence[tuple[Line, Line]]) -> Difference:
    """Of an arm's lines and those of `none`, seed by seed; p is not adjusted yet."""
    by_seed = [[a - b for a, b in zip(new[name], old[name], strict=True)] for new, old in pairs]
    changes = [change for of_seed in by_seed for change in of_seed]
    clusters = [cluster for new, _ in pairs for cluster in new[metric.clusters]]
    low, high = mean_interval(changes, clusters, CONFIDENCE)
    if metric.is_rate:
        both = sum(a == b == 1 for new, old in pairs for a, b in zip(new[name], old[name], strict=True))
        other = _newcombe(changes, both)
        low, high = min(low, other[0]), max(high, other[1])
    means = [_mean(of_seed) for of_seed in by_seed]
    return Difference(_mean(changes), low, high, permutation_p(changes, clusters), means)


def _newcombe(changes: Sequence[float], both: int) -> tuple[float, float]:
    gained, lost = changes.count(1.0), changes.count(-1.0)
    return newcombe_paired(both, gained, lost, len(changes) - both - gained - lost, CONFIDENCE)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


# ── text ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def levels_table(arms: dict[str, dict[int, Line]]) -> list[str]:
    """Return the mean scores of each arm."""
    table = [
        ["weighting", "seeds", "mean weight", "learning rate", "training", *(m.title for m in METRICS.values())],
        ["---"] * (5 + len(METRICS)),
    ]
    for arm, lines in arms.items():
        scores = [
            metric.told(_mean([value for line in lines.values() for value in line[name]]))
            for name, metric in METRICS.items()
        ]
        weight, rate = (_mean([line[name] for line in lines.values()]) for name in HOW)
        table.append([arm, str(len(lines)), f"{weight:.3f}", f"{rate:.2g}", _training(list(lines.values())), *scores])
    return _markdown(table)


def _training(lines: Sequence[Line]) -> str:
    """Return the median time of a training and its range: a mean would take one busy hour for the rule."""
    seconds = [line["train_seconds"] for line in lines]
    spread = f" ({min(seconds):.0f} to {max(seconds):.0f})" if len(seconds) > 1 else ""
    return f"{median(seconds):.0f} s{spread}"


def differences_table(found: dict[str, dict[str, Difference]]) -> list[str]:
    """Return every arm's differences to `none`; the columns are metrics."""
    titles = [f"{METRICS[name].title} ({METRICS[name].better} is better)" for name in found]
    table = [["weighting", *titles], ["---"] * (1 + len(found))]
    for arm in next(iter(found.values())):
        table.append([arm, *(_told(METRICS[name], column[arm]) for name, column in found.items())])
    return _markdown(table)


def _told(metric: Metric, found: Difference) -> str:
    low, high = metric.told(found.low, "+"), metric.told(found.high, "+")
    return f"{metric.told(found.mean, '+')} ({low} to {high}){' *' if found.shown else ''}"


def _markdown(table: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in table]


def plot(metric: Metric, found: dict[str, Difference]) -> list[str]:
    """Return a line an arm: its interval on a common axis, 0 in the middle, and what each seed says."""
    reach = max(max(abs(d.low), abs(d.high)) for d in found.values()) or 1.0
    half = PLOT_WIDTH // 2

    def place(value: float) -> int:
        return half + round(value / reach * half)

    lines = [f"{metric.title}, difference to none ({metric.better} is better)"]
    for arm, d in found.items():
        axis = [" "] * PLOT_WIDTH
        axis[half] = "│"
        for at in range(place(d.low), place(d.high) + 1):
            axis[at] = "─" if at != half else "┼"
        axis[place(d.mean)] = "●"
        seeds = " ".join(metric.told(value, "+") for value in d.by_seed)
        lines.append(f"{arm:<14}{''.join(axis)} {'*' if d.shown else ' '}  by seed {seeds}")
    ends = metric.told(-reach, "+"), metric.told(reach, "+")
    return [*lines, f"{'':<14}{ends[0]}{ends[1]:>{PLOT_WIDTH - len(ends[0])}}"]


def section(lines: Sequence[Line], labels: str) -> tuple[list[str], dict[str, Any]]:
    """Return what is known on one kind of labels, as text and as JSON."""
    arms = by_arm(lines, labels)
    text = [f"## {labels.capitalize()} labels", "", *levels_table(arms), ""]
    found = {name: differences(arms, name) for name in METRICS}
    if not found["nll"]:
        return text, {}
    text += ["Differences to `none`:", "", *differences_table(found), "", "```text"]
    for name in ("exact", "nll", "kl"):
        text += [*plot(METRICS[name], found[name]), ""]
    asjson = {
        name: {arm: {**asdict(d), "shown": d.shown} for arm, d in column.items()} for name, column in found.items()
    }
    return [*text[:-1], "```", ""], asjson


@dataclass(frozen=True)
class EqualScore:
    """Training seconds until an NLL that both reach; None where the first budget was already enough.

    Attributes:
        nll: the lowest that both reach.
        none: seconds of plain cross entropy.
        arm: seconds of the weighting.
    """

    nll: float
    none: float | None
    arm: float | None


def equal_scores(budgets: Sequence[Sequence[Line]], labels: str) -> dict[str, EqualScore]:
    """Return for each arm the time to a score that it and `none` reach, interpolated between budgets.

    Args:
        budgets: lines with more and more steps, each with a schedule of its own length.
        labels: which.
    """
    points: dict[str, list[tuple[float, float]]] = {}
    for lines in budgets:
        for arm, of_seed in by_arm(lines, labels).items():
            nll = _mean([value for line in of_seed.values() for value in line["nll"]])
            points.setdefault(arm, []).append((median(line["train_seconds"] for line in of_seed.values()), nll))
    lowest = {arm: min(nll for _, nll in found) for arm, found in points.items()}
    found = {}
    for arm in points.keys() - {NONE} if NONE in points else ():
        nll = max(lowest[arm], lowest[NONE])
        found[arm] = EqualScore(nll, _crossing(points[NONE], nll), _crossing(points[arm], nll))
    return {arm: found[arm] for arm in points if arm in found}


def _crossing(points: Sequence[tuple[float, float]], nll: float) -> float | None:
    """Return the seconds at which the line through the points first is at `nll`; None where it begins below."""
    if points[0][1] < nll:
        return None
    (t0, nll0), *rest = points
    for t1, nll1 in rest:
        if nll1 <= nll:
            return t0 + (t1 - t0) * (nll0 - nll) / (nll0 - nll1) if nll0 > nll1 else t1
        t0, nll0 = t1, nll1
    return t0


def time_section(budgets: Sequence[Sequence[Line]]) -> tuple[list[str], dict[str, Any]]:
    """Return the time each arm needs to a score that `none` reaches too, as text and as JSON."""
    steps = ", ".join(str(lines[-1]["settings"]["steps"]) for lines in budgets)
    text, found = ["## Time to equal score", "", f"Budgets of {steps} steps, interpolated in training seconds."], {}
    for labels in dict.fromkeys(line["labels"] for lines in budgets for line in lines if line["seed"]):
        scores = equal_scores(budgets, labels)
        found[labels] = {arm: asdict(score) for arm, score in scores.items()}
        table = [[f"weighting, {labels} labels", "NLL that both reach", "none", "this one", "/ none"], ["---"] * 5]
        for arm, score in scores.items():
            ratio = f"{score.arm / score.none:.2f}x" if score.arm and score.none else ""
            table.append([arm, f"{score.nll:.3f}", _seconds(score.none), _seconds(score.arm), ratio])
        text += ["", *_markdown(table)]
    return text, found


def _seconds(value: float | None) -> str:
    return "before the first budget" if value is None else f"{value:.0f} s"


def report(budgets: Sequence[Sequence[Line]]) -> tuple[str, dict[str, Any]]:
    """Return the whole report, as Markdown and as JSON: of the last budget, and times to equal score if several."""
    lines = budgets[-1]
    settings = lines[-1]["settings"]
    text = [
        "# Which tokens should count: measured",
        "",
        "Written by `python -m benchmarks.entropy_quality`; what it measures stands at the head of that file.",
        "",
        *(told for about in machines(budgets) for told in _told_machine(about)),
        f"- {', '.join(f'{name} {value}' for name, value in settings.items())}",
        f"- {len(lines[-1]['rows'])} held-out rows of {len(set(lines[-1]['groups']))} functions, "
        f"{len(lines[-1]['prompts'])} chat prompts",
        *_base(lines),
        *_diverged(lines),
        "",
        "`*`: Holm's p below 0.05 over the weightings of a column, and every seed agrees on the sign. Intervals are",
        "95%, over rows (drawn by function) and prompts; they do not contain what other seeds would give.",
        "",
    ]
    found = {}
    for labels in dict.fromkeys(line["labels"] for line in lines if line["seed"]):
        told, found[labels] = section(lines, labels)
        text += told
    asjson = {"settings": settings, "differences_to_none": found}
    if len(budgets) > 1:
        told, asjson["time_to_equal_score"] = time_section(budgets)
        text += told
    return "\n".join(text).rstrip() + "\n", asjson


def machines(budgets: Sequence[Sequence[Line]]) -> list[dict[str, Any]]:
    """Return the machines, with versions, that any result came from: each with its number of `results` and its days."""
    found: dict[str, dict[str, Any]] = {}
    for line in (line for lines in budgets for line in lines):
        about = {name: value for name, value in line["machine"].items() if name not in ("measured", "load_average")}
        known = found.setdefault(json.dumps(about, sort_keys=True), {**about, "results": 0, "measured": []})
        known["results"] += 1
        known["measured"] = sorted({*known["measured"], line["machine"]["measured"][:10]})
    return list(found.values())


def _told_machine(about: dict[str, Any]) -> list[str]:
    days = " to ".join(dict.fromkeys((about["measured"][0], about["measured"][-1])))
    where = f"{about['device']}, {about['threads']} threads of {about['cores']} cores, {about['dtype']}"
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return [f"- {about['results']} results from {where}, {days}:", f"  {versions}"]


def _base(lines: Sequence[Line]) -> list[str]:
    scores = [line for line in lines if not line["seed"]]
    if not scores:
        return []
    told = [
        f"{METRICS[name].title} {METRICS[name].told(_mean(scores[0][name]))}" for name in ("exact", "nll", "base_nll")
    ]
    return [f"- before any training: {', '.join(told)}"]


def _diverged(lines: Sequence[Line]) -> list[str]:
    names = [f"{line['arm']} (seed {line['seed']}, {line['labels']})" for line in lines if line.get("diverged")]
    return [f"- diverged, and left out: {', '.join(names)}"] if names else []


def write_report(budgets: Sequence[Sequence[Line]], folder: Path) -> tuple[str, Path]:
    """Write the report on lines of one or more numbers of steps; return its text and where it is."""
    text, found = report(budgets)
    about = budgets[-1][-1]["machine"]
    device = file_stem(about, "").removesuffix("__")
    path = make_folder(folder) / f"entropy_quality_{device}_{date.fromisoformat(about['measured'][:10])}.md"
    write_text(path, text)
    write_json(path.with_suffix(".json"), {"machines": machines(budgets), **found})
    return text, path

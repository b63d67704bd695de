"""The parts of the report under its verdict: what each shows, as plain values for the template.

A part is a function from the run's story to its body, or to a sentence that says why it is left out. `PARTS` has them
in the order of the page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.comparison import Comparison, PairedTest
from tunewright.artifacts.scores import MetricSummary, Scores
from tunewright.artifacts.verdict import Status
from tunewright.errors import DataError
from tunewright.reports import answers, charts, words
from tunewright.reports.checklist import items_of
from tunewright.reports.differences import answering, changed, matrix
from tunewright.reports.gather import Story
from tunewright.reports.probed import probed
from tunewright.reports.samples import read_samples, stretches
from tunewright.reports.uncertainty import uncertainty

CURVES = (
    ("loss", "loss", "nats a trained token", True),
    ("entropy", "entropy", "nats, mean", True),
    ("accuracy", "top-1 accuracy", "of trained tokens", True),
    ("grad_norm", "gradient norm", "before clipping", True),
    ("learning_rate", "learning rate", "", False),
    ("tokens_per_second", "tokens per second", "", True),
)
"""column of metrics.jsonl, title, unit, whether a moving mean helps"""

WEIGHT_CURVES = (
    ("nll", "plain NLL", "no token weighted, nats", True),
    ("effective_tokens", "effective tokens", "a step, (Σw)² / Σw²", True),
    ("selected_share", "selected tokens", "share with a weight", True),
    ("conflict_share", "tokens in conflict", "H < 0.5 nats and p < 0.1", True),
)
"""the same, drawn only where they are there and tell something"""

TWINS = {"nll": "loss", "effective_tokens": "trained_tokens"}
"""columns that are equal where no token is weighted: then the first of the two is not drawn"""

BADGES = {
    "better": ("▲", "better"),
    "worse": ("▼", "worse"),
    "not shown": ("○", "not shown"),
    "done": ("–", "nothing compared"),
    "failed": ("✕", "failed"),
    "stopped": ("◼", "stopped"),
    "running": ("…", "not finished"),
}
"""outcome, or the status of a run without one -> its sign and its words: never told by colour alone"""


@dataclass(frozen=True)
class Part:
    """One part of the page: its body, or why it is not there."""

    ident: str
    title: str
    body: dict[str, Any] | None = None
    why_absent: str = ""


Builder = Callable[[Story], "dict[str, Any] | str"]


def build_parts(story: Story) -> list[Part]:
    """Return every part of the page, in order; a part of OPTIONAL only where the recipe has its stage."""
    kinds = {stage.kind for stage in story.stages}
    optional = [part for kind, part in OPTIONAL.items() if kind in kinds]
    return [_part(ident, title, build, story) for ident, title, build in (PARTS[0], *optional, *PARTS[1:])]


def _part(ident: str, title: str, build: Builder, story: Story) -> Part:
    """Build one part; a text instead of a body, or a file that is not there, says why it is left out."""
    try:
        built = build(story)
    except DataError as error:
        built = f"{error.where}: {error.seen}"
    return Part(ident, title, why_absent=built) if isinstance(built, str) else Part(ident, title, body=built)


# ── before and after ────────────────────────────────────────────────────────────────────────────────────────────────


def _measured(story: Story) -> dict[str, Any] | str:
    if not story.scores:
        return "no `evaluate` stage of this run is done"
    ids = _columns(story)
    metrics = _metric_order(story, story.scores[ids[-1]])
    return {
        "metrics": [_metric_chart(story, metric, ids) for metric in metrics],
        "tables": [table for key, comparison in story.comparisons.items() for table in _tables(story, key, comparison)],
        "matrix": matrix(story, story.comparison) if story.comparison else None,
        "main": story.main_metric,
        "compared": story.comparison is not None,
    }


def _columns(story: Story) -> list[str]:
    """Return the `evaluate` stages to show: the baseline first, the candidate last; all where nothing is compared."""
    comparison = story.comparison
    if comparison is None:
        return [*story.scores]
    wanted = [comparison.baseline, *(side.baseline for side in comparison.beside), comparison.candidate]
    return [stage_id for stage_id in wanted if stage_id in story.scores] or [*story.scores]


def _role(story: Story, stage_id: str) -> str:
    comparison = story.comparison
    if comparison is None:
        return "tuned" if story.label(stage_id).startswith("tuned") else "base"
    return {comparison.baseline: "base", comparison.candidate: "tuned"}.get(stage_id, "beside")


def _metric_order(story: Story, scores: Scores) -> list[str]:
    """The main metric opens; the rest keeps the suite's order."""
    names = [summary.metric for summary in scores.summary]
    return sorted(names, key=lambda name: name != story.main_metric)


def _metric_chart(story: Story, metric: str, ids: list[str]) -> dict[str, Any]:
    found = {
        stage_id: summary for stage_id in ids for summary in story.scores[stage_id].summary if summary.metric == metric
    }
    same_rows = len({summary.num_rows for summary in found.values()}) == 1
    last = [*found.values()][-1]
    scale, axis, unit = _scale_of(found.values())
    return {
        "metric": metric,
        "denominator": f"{last.denominator}, n = {words.count(last.num_rows)}" if same_rows else last.denominator,
        "lanes": [_lane(story, stage_id, summary, same_rows, scale, unit) for stage_id, summary in found.items()],
        "axis": Markup(axis),
        "is_rate": unit.is_rate,
    }


def _unit_of(summaries: Sequence[MetricSummary]) -> words.Unit:
    """Return how a metric is said: what leaves [0, 1] somewhere, or is better when lower, is no rate."""
    ends = [end for summary in summaries for end in (summary.low, summary.high)]
    return words.Unit(words.Unit.of(ends).is_rate and all(summary.higher_is_better for summary in summaries))


def _scale_of(summaries: Iterable[MetricSummary]) -> tuple[charts.Scale, str, words.Unit]:
    """Return the scale of a metric, its axis and its unit: 0 to 100% for rates, else round numbers."""
    found = list(summaries)
    ends = [end for summary in found for end in (summary.low, summary.high)]
    unit = _unit_of(found)
    if unit.is_rate:
        at = [0.0, 0.25, 0.5, 0.75, 1.0]
        return charts.RATES, charts.axis(charts.RATES, at, [words.percent(x) for x in at]), unit
    at = charts.value_ticks([(0, end) for end in ends])
    scale = charts.Scale(at[0], at[-1])
    return scale, charts.axis(scale, at, [words.significant(x) for x in at]), unit


def _lane(
    story: Story, stage_id: str, summary: MetricSummary, same_rows: bool, scale: charts.Scale, unit: words.Unit
) -> dict[str, Any]:
    label, value = story.label(stage_id), unit.value(summary.value)
    spread = unit.interval(summary.low, summary.high)
    spoken = f"{label}: {words.metric_label(summary.metric)} {value}, 95% interval {spread}"
    role = _role(story, stage_id)
    svg = charts.whisker(summary.value, summary.low, summary.high, scale=scale, label=spoken, role=role)
    return {
        "label": label,
        "role": role,
        "value": value,
        "spread": spread,
        "rows": "" if same_rows else f"n = {words.count(summary.num_rows)}",
        "svg": Markup(svg),
    }


def _tables(story: Story, stage_id: str, comparison: Comparison) -> list[dict[str, Any]]:
    """One paired table against the baseline, and one against each further baseline, on one scale."""
    sides = [(comparison.baseline, comparison.tests), *((side.baseline, side.tests) for side in comparison.beside)]
    rates = [test for _, tests in sides for test in tests if words.unit_of(test).is_rate]
    scale = charts.around_zero([end for test in rates for end in test.interval])
    several = len(story.comparisons) > 1
    return [
        {
            "title": f"{story.label(comparison.candidate)} against {story.label(baseline)}",
            "stage": stage_id if several else "",
            "confidence": words.percent(comparison.confidence),
            "tests": [_tested(test, scale) for test in sorted(tests, key=lambda t: t.metric != comparison.main_metric)],
            "how": words.join_words(dict.fromkeys(test.test for test in tests)),
            "unscored": max(test.unscored for test in tests) if tests else 0,
            "axis": Markup(_points_axis(scale)),
        }
        for baseline, tests in sides
    ]


def _points_axis(scale: charts.Scale) -> str:
    """Label 0 and the ends; an end that lies close to 0 goes without, since the two labels would collide."""
    room = 0.25 * (scale.high - scale.low)
    at = [value for value in (scale.low, 0.0, scale.high) if value == 0 or abs(value) > room]
    return charts.axis(scale, at, [words.points(value).split()[0] for value in at])


def _tested(test: PairedTest, scale: charts.Scale) -> dict[str, Any]:
    (low, high), unit = test.interval, words.unit_of(test)
    spoken = f"difference {unit.difference(test.difference)}, interval {unit.interval(low, high)}"
    role = test.verdict.replace(" ", "-")
    svg = charts.whisker(test.difference, low, high, scale=scale, label=spoken, role=role) if unit.is_rate else ""
    return {"test": test, "unit": unit, "svg": Markup(svg), "badge": (role, *BADGES[test.verdict])}


# ── training ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _training(story: Story) -> dict[str, Any] | str:
    if not story.trained:
        return "no `sft` stage of this run is done"
    data: dict[str, Any] = {}
    blocks = []
    for stage_id, trained in story.trained.items():
        lines = trained.metrics()
        curves = [*CURVES, *(curve for curve in WEIGHT_CURVES if _tells(lines, curve[0]))]
        panels = [panel for curve in curves if (panel := _panel(stage_id, lines, *curve))]
        data.update({panel["ident"]: panel.pop("data") for panel in panels})
        block = {"id": stage_id, "trained": trained, "speed": _speed(trained), "panels": panels}
        blocks.append({**block, "uncertainty": uncertainty(lines)})
    return {"blocks": blocks, "data": data}


def _tells(lines: list[dict[str, Any]], column: str) -> bool:
    """True if a column moves, and is not that of its twin."""
    values = [line.get(column) for line in lines]
    twins = [line.get(TWINS.get(column, "")) for line in lines]
    same = all(v == t or (v and t and abs(v - t) <= 0.01 * abs(t)) for v, t in zip(values, twins, strict=True))
    return len({*values}) > 1 and not same


def _speed(trained: Trained) -> str:
    return f"{words.count(trained.tokens_seen / trained.seconds)} tokens/s" if trained.seconds else "–"


def _panel(
    stage_id: str, lines: list[dict[str, Any]], column: str, title: str, unit: str, smoothed: bool
) -> dict[str, Any] | None:
    points = [(float(line["step"]), float(line[column])) for line in lines if line.get(column) is not None]
    if len(points) < 2:
        return None
    ident = f"{stage_id}.{column}"
    shown, mean = charts.with_mean(points, smoothed)
    first, last = (words.significant(y) for y in (points[0][1], points[-1][1]))
    label = f"{title} over {words.plural(len(points), 'step')}: from {first} to {last}"
    return {
        "ident": ident,
        "title": title,
        "unit": unit,
        "last": last,
        "steps": (words.count(points[0][0]), words.count(points[-1][0])),
        "window": charts.smoothing_width(len(points)) if mean else 0,
        "svg": Markup(charts.curve(points, ident=ident, label=label, smoothed=smoothed)),
        "data": _curve_data(stage_id, shown, mean),
    }


def _curve_data(stage_id: str, shown: list[tuple[float, float]], mean: list[tuple[float, float]]) -> dict[str, Any]:
    y_ticks = charts.value_ticks(shown)
    return {
        "of": stage_id,
        "x": [x for x, _ in shown],
        "y": [float(f"{y:.5g}") for _, y in shown],
        "mean": [float(f"{y:.5g}") for _, y in mean],
        "low": y_ticks[0],
        "high": y_ticks[-1],
    }


# ── answers, rows, data ─────────────────────────────────────────────────────────────────────────────────────────────


def _answers(story: Story) -> dict[str, Any] | str:
    if not story.scores:
        return "no `evaluate` stage of this run is done"
    ids, compared = _columns(story), story.comparison is not None
    metric = story.main_metric
    summary = {one.metric: one for one in story.scores[ids[-1]].summary}
    rates = [name for name, one in summary.items() if _unit_of([one]).is_rate]
    decides = answers.Deciding(metric, metric in rates, metric not in summary or summary[metric].higher_is_better)
    every = answers.side_by_side([story.scores[stage_id].rows() for stage_id in ids], decides, compared)
    if not every:
        return "the `evaluate` stages of this run answered different rows"
    rows, clip = answers.fit(every)
    columns = [{"label": story.label(stage_id), "role": _role(story, stage_id)} for stage_id in ids]
    labels = {name: words.metric_label(name) for name in summary}
    return {
        "total": len(every),
        "shown": len(rows),
        "clip": clip,
        "metric": metric,
        "compared": compared,
        "files": [f"{story.run.stage_folder(stage_id).name}/scores.jsonl" for stage_id in ids],
        "data": {
            "rows": rows,
            "columns": columns,
            "labels": labels,
            "rates": rates,
            "compared": compared,
            "metric": metric,
        },
    }


def _samples(story: Story) -> dict[str, Any] | str:
    for stage_id in story.datasets:
        samples = read_samples(story.run.stage_folder(stage_id))
        if samples and samples.rows:
            rows = [
                {"id": row.id, "tokens": len(row.pieces), "trained": row.trained_tokens, "runs": stretches(row.pieces)}
                for row in samples.rows
            ]
            return {"samples": samples, "rows": rows}
    return "no `data` stage of this run is done" if not story.datasets else "the `data` stage kept no samples"


def _data(story: Story) -> dict[str, Any] | str:
    if not story.datasets:
        return "no `data` stage of this run is done"
    return {"datasets": story.datasets}


# ── gates, provenance, cost ─────────────────────────────────────────────────────────────────────────────────────────


def _gates(story: Story) -> dict[str, Any] | str:
    if not story.judged:
        return "no stage of this run was judged by a gate"
    rest = [judged for judged in story.judged if judged.verdict.status is Status.PASSED]
    return {"judged": [*story.not_passed, *rest], "allowed": story.state.get("allowed") or []}


def _checklist(story: Story) -> dict[str, Any] | str:
    return {"checked": items_of(story)} if story.scores else "no `evaluate` stage of this run is done"


def _provenance(story: Story) -> dict[str, Any] | str:
    record = story.newest
    if record is None:
        return "no stage of this run is done"
    recipe = story.run.path / "recipe.yaml"
    identities = {
        name: value for stage in story.stages if stage.record for name, value in stage.record.external.items()
    }
    templates = [found for key in story.datasets if (found := read_samples(story.run.stage_folder(key)))]
    return {
        "record": record,
        "identities": identities,
        "template": templates[0].template_sha256 if templates else "",
        "recipe": recipe.read_text(encoding="utf-8", errors="replace") if recipe.is_file() else "",
    }


def _cost(story: Story) -> dict[str, Any] | str:
    longest = max((stage.worked_seconds or 0.0 for stage in story.stages), default=0.0)
    if not longest:
        return "no stage of this run is done"
    rows = [
        {
            "stage": stage,
            "bar": Markup(charts.bar((stage.worked_seconds or 0) / longest, f"{words.took(stage.worked_seconds)}")),
            "speed": _stage_speed(story, stage.id),
        }
        for stage in story.stages
    ]
    cost_usd = sum(stage.record.provenance.cost_usd for stage in story.stages if stage.record and not stage.reused_from)
    return {"rows": rows, "cost_usd": cost_usd}


def _stage_speed(story: Story, stage_id: str) -> str:
    """Tokens per second: seen in training, written in evaluation."""
    if stage_id in story.trained:
        return _speed(story.trained[stage_id])
    scores = story.scores.get(stage_id)
    return f"{words.count(scores.answer_tokens / scores.seconds)} tokens/s" if scores and scores.seconds else ""


PARTS: tuple[tuple[str, str, Builder], ...] = (
    ("measured", "Before and after", _measured),
    ("changes", "What got better, what got worse", changed),
    ("training", "Training", _training),
    ("answers", "The answers, row by row", _answers),
    ("samples", "What it was trained on", _samples),
    ("data", "Data", _data),
    ("answering", "How the answers were made", answering),
    ("gates", "Gates", _gates),
    ("checklist", "Before it is used", _checklist),
    ("provenance", "Provenance", _provenance),
    ("cost", "Cost", _cost),
)
"""in the order of the page"""

OPTIONAL: dict[str, tuple[str, str, Builder]] = {"probe": ("probed", "What the model was before", probed)}
"""stage kind -> a part that stands behind the first"""

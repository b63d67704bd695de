"""The page of `tw entropy`: a text as the model doubts it, token by token, and what the doubts add up to.

reads    tokens.jsonl, summary.json
writes   one self-contained HTML file

With two models the page is about the difference: what the second is surer of than the first, and what less. Texts come
from rows and from a model; they reach the page escaped, and the script shows them as text only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tunewright.artifacts.files import read_json
from tunewright.artifacts.tokens import Token, TokenRow, read_tokens
from tunewright.errors import DataError
from tunewright.reports import charts, words
from tunewright.reports.columns import Series, columns
from tunewright.reports.page import render_page, write_page
from tunewright.stats.token_entropy import (
    EDGES,
    Change,
    EntropyChange,
    EntropySummary,
    Measure,
    Place,
    entropy_change,
    entropy_summary,
)

SUMMARY_NAME = "summary.json"
MOST_DRAWN_TOKENS = 12_000  # about 3 MB of page: tokens.jsonl always has all
HEAT = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
"""nats; fixed, so that pages can be laid side by side. A colour for each step, none below the first"""
SHIFT = (0.05, 0.5, 2.0)
"""the same for differences, to either side"""
CONTEXT_TOKENS = (10, 5)
"""shown before and after a token in the tables"""
ROLE_WORDS = {"assistant": "assistant (trained)", "template": "template"}


@dataclass(frozen=True)
class Side:
    """One model on the rows. `css` is its role in charts."""

    label: str
    name: str
    identity: str
    css: str
    rows: list[TokenRow]
    summary: EntropySummary


@dataclass(frozen=True)
class Heading:
    """What the page opens with."""

    claim: str
    evidence: str


def write_entropy_page(folder: Path, page: Path) -> Path:
    """Write the page of the analysis in `folder` to `page` and return its path.

    Raises:
        DataError: a file of the analysis is missing or broken.
        RunFolderError, EnvironmentProblem: the page cannot be written.
    """
    return write_page(page, render_entropy(folder))


def render_entropy(folder: Path) -> str:
    """Return the page of the analysis in `folder` as HTML."""
    told = read_json(folder / SUMMARY_NAME)
    sides = _sides(folder, told)
    drawn = _drawn(sides[-1].rows)
    change = entropy_change(sides[0].rows, sides[1].rows) if len(sides) == 2 else None
    return render_page(
        "entropy.html.j2",
        styles=("page.css", "entropy.css"),
        scripts=("theme.js", "entropy.js"),
        data=_data(sides, drawn),
        title=heading(sides, change).claim,
        heading=heading(sides, change),
        sides=sides,
        rows_from=told["rows_from"],
        num_drawn=drawn,
        heat=_heat_rows(sides, drawn),
        views=_views(sides),
        legends=LEGENDS,
        change=change,
        changed=_changed(change, sides) if change else [],
        charts=_charts(sides),
        roles=_roles(sides),
        forks=_forks(sides[-1]),
        folder=folder.name,
    )


def _sides(folder: Path, told: Any) -> list[Side]:
    rows_of = read_tokens(folder)
    try:
        models = told["models"]
        return [_side(one, rows_of[one["label"]], "tuned" if one is models[-1] else "base") for one in models]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"not an analysis of token entropies: {error}",
            where=str(folder),
            fix="give the `tw entropy` command again",
        ) from None


def _side(told: dict[str, str], rows: list[TokenRow], css: str) -> Side:
    return Side(told["label"], told["name"], told["identity"], css, rows, entropy_summary(rows))


# ── the finding ─────────────────────────────────────────────────────────────────────────────────────────────────────


def heading(sides: Sequence[Side], change: EntropyChange | None) -> Heading:
    """Return what the page found, in one sentence, and the numbers it stands on."""
    last = sides[-1]
    num_rows = words.plural(last.summary.rows, "row")
    if change is None:
        trained = last.summary.trained
        share = sum(last.summary.nll_by_entropy_decile[-2:])
        mean = f"mean entropy {nats(trained.mean_entropy)}{_spread(trained.interval)}"
        return Heading(
            f"{last.name}: the fifth of the answer's tokens that it is least sure of carries {words.percent(share)} "
            "of the loss",
            f"{mean}, {words.plural(trained.tokens, 'answer token')} in {num_rows}",
        )
    old, new = (side.summary.trained.mean_entropy for side in sides)
    says = f"mean entropy {words.significant(old)} → {nats(new)}"
    evidence = f"difference {nats(change.difference, signed=True)}{_spread(change.interval)}, {num_rows}"
    return Heading(f"{_verdict(change, sides)}: {says}", evidence)


def _verdict(change: EntropyChange, sides: Sequence[Side]) -> str:
    first, second = sides[0].name, sides[1].name
    if change.interval is None or change.interval[0] <= 0 <= change.interval[1]:
        return f"Not shown that {second} is surer or less sure than {first}"
    return f"{second} is {'surer' if change.difference < 0 else 'less sure'} than {first}"


def nats(value: float, *, signed: bool = False) -> str:
    """Return an entropy with its unit: `0.83 nats`, `+0.12 nats`."""
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{words.significant(value)} nats"


def _spread(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ", too few rows for an interval"
    return f", 95% interval {words.significant(interval[0])} to {words.significant(interval[1])}"


# ── the heat map ────────────────────────────────────────────────────────────────────────────────────────────────────


def _drawn(rows: Sequence[TokenRow]) -> int:
    """Return how many rows fit on the page; at least one."""
    used = 0
    for index, row in enumerate(rows):
        used += len(row.tokens)
        if used > MOST_DRAWN_TOKENS and index:
            return index
    return len(rows)


def heat_level(value: float | None) -> int:
    """Return the step of HEAT that `value` nats lie on: 0 for none, 6 for the highest."""
    return sum(value >= bound for bound in HEAT) if value is not None else 0


def shift_level(difference: float) -> int:
    """Return the step of SHIFT that a difference lies on: -3 to 3, its sign that of the difference."""
    return int(math.copysign(sum(abs(difference) >= bound for bound in SHIFT), difference))


def _css(tokens: Sequence[Token]) -> str:
    """Return the classes of one token under one or two models: a step in each view, none for the lowest."""
    if len(tokens) == 1:
        steps = {"h": heat_level(tokens[0].entropy), "n": heat_level(tokens[0].nll)}
    else:
        before, after = ((token.entropy or 0.0) for token in tokens)
        steps = {"d": shift_level(after - before), "a": heat_level(before), "b": heat_level(after)}
    return " ".join(f"{view}{step}" for view, step in steps.items() if step)


def _views(sides: Sequence[Side]) -> list[tuple[str, str, str]]:
    """Return (class prefix, words, kind of legend) of each way to colour the text, the first chosen at the start."""
    if len(sides) == 1:
        return [("h", "entropy", "heat"), ("n", "surprise (NLL)", "heat")]
    return [("d", "difference", "shift"), ("a", f"A: {sides[0].name}", "heat"), ("b", f"B: {sides[1].name}", "heat")]


def _steps(bounds: Sequence[float]) -> list[str]:
    low, high = words.significant(bounds[0]), words.significant(bounds[-1])
    between = [f"{words.significant(a)}–{words.significant(b)}" for a, b in pairwise(bounds)]
    return [f"< {low}", *between, f"≥ {high}"]


LEGENDS = {
    "heat": list(enumerate(_steps(HEAT))),
    "shift": [
        (-3, f"below −{SHIFT[2]:g}"),
        (-2, f"−{SHIFT[2]:g} to −{SHIFT[1]:g}"),
        (-1, f"−{SHIFT[1]:g} to −{SHIFT[0]:g}"),
        (0, "about the same"),
        (1, f"+{SHIFT[0]:g} to +{SHIFT[1]:g}"),
        (2, f"+{SHIFT[1]:g} to +{SHIFT[2]:g}"),
        (3, f"above +{SHIFT[2]:g}"),
    ],
}
"""(step, words) of each swatch"""


def _heat_rows(sides: Sequence[Side], num_drawn: int) -> list[dict[str, Any]]:
    rows = zip(*(side.rows[:num_drawn] for side in sides), strict=True)
    return [_heat_row(row) for row in rows]


def _heat_row(row: Sequence[TokenRow]) -> dict[str, Any]:
    columns_ = list(zip(*(one.tokens for one in row), strict=True))
    answer = [token for token in row[-1].tokens if token.trained and token.entropy is not None]
    return {
        "id": row[-1].id,
        "tokens": len(columns_),
        "trained": len(answer),
        "mean": nats(sum(token.entropy or 0.0 for token in answer) / len(answer)) if answer else "–",
        "runs": [
            {"trained": trained, "tokens": [(shown(tokens[-1].text), _css(tokens)) for tokens in run]}
            for trained, run in ((trained, list(run)) for trained, run in groupby(columns_, lambda t: t[-1].trained))
        ],
    }


def shown(text: str) -> str:
    """Return a token's text for the running text: what a browser or a terminal would obey is shown by name."""
    return words.printable(text).replace("\t", "⇥").replace("\n", "↵\n")


def quoted(text: str) -> str:
    """Return a token's text to stand alone: blanks and line ends are visible."""
    if not text:
        return "(part of a character)"
    return words.printable(text).replace("\n", "↵").replace("\t", "⇥").replace(" ", "␣")


def _data(sides: Sequence[Side], num_drawn: int) -> dict[str, Any]:
    """Return what the script shows of each drawn token: numbers, and alternatives by their place in `words`."""
    place: dict[str, int] = {}
    models = [[_numbers(token, place) for row in side.rows[:num_drawn] for token in row.tokens] for side in sides]
    return {"words": list(place), "models": models, "names": [side.name for side in sides]}


def _numbers(token: Token, place: dict[str, int]) -> list[Any]:
    """Return [text, role, entropy, nll, rank, [alternative, probability, …]]."""
    top = [item for text, p in token.top for item in (_place(quoted(text), place), _short(p))]
    head = [_place(quoted(token.text), place), _place(token.role, place)]
    return [*head, _short(token.entropy), _short(token.nll), token.rank, top]


def _place(text: str, place: dict[str, int]) -> int:
    return place.setdefault(text, len(place))


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


# ── tables ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _context(rows: Sequence[TokenRow], place: Place) -> tuple[str, str, str]:
    """Return the text before a token, the token, and the text after it."""
    tokens = next(row.tokens for row in rows if row.id == place.row)
    before, after = CONTEXT_TOKENS
    at = place.position
    left = "".join(token.text for token in tokens[max(0, at - before) : at])
    right = "".join(token.text for token in tokens[at + 1 : at + 1 + after])
    return _flat(left), quoted(tokens[at].text), _flat(right)


def _flat(text: str) -> str:
    return words.printable(text).replace("\n", "↵").replace("\t", "⇥")


def _forks(side: Side) -> list[dict[str, Any]]:
    highest = max((fork.mean_entropy for fork in side.summary.forks), default=1.0)
    return [
        {
            "fork": fork,
            "text": quoted(fork.text),
            "bar": Markup(charts.bar(fork.mean_entropy / (highest or 1.0), nats(fork.mean_entropy))),
            "context": _context(side.rows, fork.example),
        }
        for fork in side.summary.forks
    ]


def _changed(change: EntropyChange, sides: Sequence[Side]) -> list[dict[str, Any]]:
    rows = sides[-1].rows
    tables = (("Surer", "better", change.fell), ("Less sure", "worse", change.rose))
    return [
        {"title": title, "css": css, "changes": [_change_cells(one, rows) for one in changes]}
        for title, css, changes in tables
    ]


def _change_cells(change: Change, rows: Sequence[TokenRow]) -> dict[str, Any]:
    return {
        "text": quoted(change.text),
        "tokens": change.tokens,
        "entropy": _arrow(change.entropy),
        "difference": nats(change.difference, signed=True).removesuffix(" nats"),
        "nll": _arrow(change.nll),
        "context": _context(rows, change.example),
    }


def _arrow(pair: tuple[float, float]) -> str:
    return " → ".join(map(words.significant, pair))


def _roles(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """Return a line a role, its figures under each model side by side."""
    names = dict.fromkeys(name for side in sides for name in side.summary.by_role)
    return [_role_cells(name, [side.summary.by_role[name] for side in sides]) for name in names]


def _role_cells(name: str, measures: Sequence[Measure]) -> dict[str, Any]:
    def both(figure: Callable[[Measure], float], as_text: Callable[[float], str] = words.significant) -> str:
        return " → ".join(as_text(figure(measure)) for measure in measures)

    last = measures[-1].interval
    return {
        "role": ROLE_WORDS.get(name, name),
        "tokens": measures[-1].tokens,
        "mean": both(lambda m: m.mean_entropy),
        "interval": f"{words.significant(last[0])} to {words.significant(last[1])}" if last else "",
        "median": both(lambda m: m.median_entropy),
        "nll": both(lambda m: m.mean_nll),
        "accuracy": both(lambda m: m.accuracy, words.percent),
    }


# ── charts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _charts(sides: Sequence[Side]) -> dict[str, dict[str, Markup]]:
    return {
        "histogram": _chart(sides, "tokens by entropy", _histogram, bin_words(EDGES), histogram_axis(EDGES)),
        "position": _chart(sides, "mean entropy by tenth of the answer", _positions, _tenths("of the answer"), ENDS),
        "deciles": _chart(sides, "share of the loss by tenth of entropy", _deciles, _tenths("of the tokens"), DECILES),
    }


def _chart(
    sides: Sequence[Side],
    label: str,
    values_of: Callable[[EntropySummary], tuple[list[float | None], Callable[[float], str]]],
    slots: Sequence[str],
    axis: str,
) -> dict[str, Markup]:
    series = []
    for side in sides:
        values, as_text = values_of(side.summary)
        who = f"{side.name}, " if len(sides) > 1 else ""
        told = [f"{who}{slot}: {as_text(value or 0.0)}" for slot, value in zip(slots, values, strict=True)]
        series.append(Series(side.css, values, told))
    return {"svg": Markup(columns(series, label)), "axis": Markup(axis)}


def _histogram(summary: EntropySummary) -> tuple[list[float | None], Callable[[float], str]]:
    total = sum(summary.histogram)
    return [100 * count / total for count in summary.histogram], lambda share: f"{words.decimal(share)}% of the tokens"


def _positions(summary: EntropySummary) -> tuple[list[float | None], Callable[[float], str]]:
    return [measure.mean_entropy if measure else None for measure in summary.by_position], nats


def _deciles(summary: EntropySummary) -> tuple[list[float | None], Callable[[float], str]]:
    return [
        100 * share for share in summary.nll_by_entropy_decile
    ], lambda share: f"{words.decimal(share)}% of the loss"


def bin_words(edges: Sequence[float]) -> list[str]:
    """Return what each bin of a histogram holds, in words; the first is all below the first edge."""
    pairs = pairwise(edges)
    between = [f"{words.significant(low)} to {words.significant(high)} nats" for low, high in pairs]
    return [f"below {words.significant(edges[0])} nats", *between]


def histogram_axis(edges: Sequence[float]) -> str:
    """Return the axis of a histogram on a log scale: a label at every power of ten, and one at the bin below all."""
    scale = charts.Scale(0, len(edges))
    powers = [(place + 1, edge) for place, edge in enumerate(edges) if abs(math.log10(edge) % 1) < 1e-3]
    inner = [(at, edge) for at, edge in powers if at > 1]
    return charts.axis(scale, [0.5, *(at for at, _ in inner)], ["≈ 0", *(f"{edge:g}" for _, edge in inner)])


def _tenths(what: str) -> list[str]:
    return [f"tenth {number} {what}" for number in range(1, 11)]


ENDS = charts.axis(charts.Scale(0, 10), (0.5, 9.5), ("start", "end"))
DECILES = charts.axis(charts.Scale(0, 10), (0.5, 9.5), ("surest", "least sure"))

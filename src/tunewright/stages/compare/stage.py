"""Stage `compare`: is the candidate better than the baseline, and how sure are we?

reads    Scores (baseline), Scores (candidate), Scores of further baselines
writes   comparison.json, and the verdict `better_than_baseline`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tunewright.artifacts.comparison import Comparison, Outcome, PairedTest, Side
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.files import write_json
from tunewright.artifacts.scores import ScoreRow, Scores
from tunewright.errors import DataError, PairingError
from tunewright.gates.comparison import better_than_baseline
from tunewright.recipe.sections import CompareSection
from tunewright.stats import paired
from tunewright.suites import MAIN_METRIC

CODE_VERSION = 1
Pair = tuple[ScoreRow, ScoreRow]


def compare(
    baseline: Scores,
    candidate: Scores,
    section: CompareSection,
    out: Path,
    run: RunContext,
    beside: Mapping[str, Scores] | None = None,
) -> Comparison:
    """Pair score files by row id and test every metric they share.

    0/1 metrics use the exact McNemar test and Newcombe's interval, graded ones the paired permutation test and the
    bootstrap, both with the rows of one `group` kept together. P-values are Holm-corrected over the metrics.

    Raises:
        PairingError: the files score different rows or the prompts differ; names the first five ids.
    """
    seed = section.seed or 0
    candidate_rows = list(candidate.rows())
    tests = compare_scores(baseline.rows(), candidate_rows, confidence=section.confidence, seed=seed)
    sides = tuple(
        Side(
            baseline=name,
            tests=compare_scores(scores.rows(), candidate_rows, confidence=section.confidence, seed=seed),
        )
        for name, scores in (beside or {}).items()
    )
    metric = section.require.metric if section.require else MAIN_METRIC.get(candidate.suite, tests[0].metric)
    main = _test_of(tests, metric)
    result = Comparison(
        folder=out,
        baseline=section.baseline,
        candidate=section.candidate,
        confidence=section.confidence,
        num_rows=main.num_rows,
        tests=tests,
        beside=sides,
        verdict=main.verdict,
        main_metric=metric,
    )
    write_json(out / "comparison.json", result.model_dump(mode="json"))
    run.judge(better_than_baseline(main, section.require))
    return result


def compare_scores(
    baseline: Iterable[ScoreRow], candidate: Iterable[ScoreRow], *, confidence: float = 0.95, seed: int = 0
) -> list[PairedTest]:
    """Test every metric that both sides score, on the rows that both score.

    Args:
        baseline: rows of the system to beat.
        candidate: rows of the system that should win.
        confidence: coverage of the intervals; a verdict needs the corrected p below 1 - confidence.
        seed: of the permutations and the bootstrap.

    Raises:
        PairingError: see `compare`.
    """
    pairs = pair_by_row(baseline, candidate)
    metrics = [name for name in pairs[0][1].scores if any(name in row.scores for row, _ in pairs)]
    tests = [_test(name, pairs, confidence, seed) for name in metrics]
    corrected = paired.holm([test.p_value_raw for test in tests])
    return [
        test.model_copy(update={"p_value": p, "verdict": _outcome(test, p, confidence)})
        for test, p in zip(tests, corrected, strict=True)
    ]


def pair_by_row(baseline: Iterable[ScoreRow], candidate: Iterable[ScoreRow]) -> list[Pair]:
    """Return (baseline row, candidate row) for every id, in the candidate's order.

    Raises:
        PairingError: an id stands on one side only, twice, or with another prompt.
    """
    left, right = _by_id(baseline, "baseline"), _by_id(candidate, "candidate")
    if not right:
        raise PairingError("the candidate has no scored rows", fix="look at the evaluate stage: did it answer any?")
    if left.keys() != right.keys():
        only = {"baseline": left.keys() - right.keys(), "candidate": right.keys() - left.keys()}
        told = "; ".join(f"only in the {side}: {len(ids)} ({_first(ids)})" for side, ids in only.items() if ids)
        raise PairingError(
            f"the two sides score different rows: {told}",
            fix="evaluate both on the same `rows:` with the same `limit:`",
        )
    changed = [key for key in right if left[key].prompt_sha256 != right[key].prompt_sha256]
    if changed:
        raise PairingError(
            f"{len(changed)} rows were asked differently ({_first(changed)})",
            expected="the same prompt tokens on both sides",
            fix="use the same chat template, system text and tools for both",
        )
    return [(left[key], right[key]) for key in right]


def _by_id(rows: Iterable[ScoreRow], side: str) -> dict[str, ScoreRow]:
    found: dict[str, ScoreRow] = {}
    for row in rows:
        if row.id in found:
            raise PairingError(f"row {row.id!r} is scored twice on the side of the {side}")
        found[row.id] = row
    return found


def _first(ids: Iterable[str]) -> str:
    ordered = sorted(ids)
    return ", ".join(ordered[:5]) + (", …" if len(ordered) > 5 else "")


def _test(metric: str, pairs: list[Pair], confidence: float, seed: int) -> PairedTest:
    counted = [(old, new) for old, new in pairs if metric in old.scores and metric in new.scores]
    old = np.array([row.scores[metric] for row, _ in counted])
    new = np.array([row.scores[metric] for _, row in counted])
    groups = [row.group or row.id for _, row in counted]
    binary = bool(np.isin(old, (0, 1)).all() and np.isin(new, (0, 1)).all())
    gained, lost = int((new > old).sum()), int((new < old).sum())
    both = int(((new == 1) & (old == 1)).sum())
    variance = float((new - old).var())
    if binary:
        variance = paired.discordance_variance(gained, lost, len(old))
        interval = paired.newcombe_paired(both, gained, lost, len(old) - both - gained - lost, confidence)
        p_value = paired.mcnemar_exact(gained, lost)
    else:
        interval = paired.paired_mean_interval(list(new - old), groups, confidence, seed)
        p_value = paired.permutation_p(list(new - old), groups, seed)
    return PairedTest(
        metric=metric,
        baseline=float(old.mean()),
        candidate=float(new.mean()),
        difference=float((new - old).mean()),
        interval=interval,
        p_value=p_value,
        p_value_raw=p_value,
        test="exact McNemar" if binary else "paired permutation by group",
        num_rows=len(old),
        num_groups=len(set(groups)),
        gained=gained,
        lost=lost,
        least_detectable=paired.least_detectable_difference(len(old), variance, confidence),
        verdict="not shown",
    )


def _outcome(test: PairedTest, p_value: float, confidence: float) -> Outcome:
    if p_value >= 1 - confidence:
        return "not shown"
    return "better" if test.difference > 0 else "worse"


def _test_of(tests: list[PairedTest], metric: str) -> PairedTest:
    for test in tests:
        if test.metric == metric:
            return test
    raise DataError(
        f"no metric {metric!r} in these scores", where="compare.require.metric",
        expected=" | ".join(test.metric for test in tests),
    )  # fmt: skip

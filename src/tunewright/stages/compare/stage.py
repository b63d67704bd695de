"""Stage `compare`: is the candidate better than the baseline, and how sure are we?

reads    Scores (baseline), Scores (candidate), Scores of further baselines
writes   comparison.json, and the verdict `better_than_baseline`

`pairs.py` pairs the rows, `tests.py` tests a metric, `matrix.py` sets more than two systems against each other, and
`changes.py` says which rows got better and which got worse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from tunewright.artifacts.comparison import Comparison, PairedTest, Side
from tunewright.artifacts.context import RunContext
from tunewright.artifacts.files import write_json
from tunewright.artifacts.scores import ScoreRow, Scores
from tunewright.errors import DataError
from tunewright.gates.comparison import better_than_baseline
from tunewright.recipe.sections import CompareSection
from tunewright.stages.compare.changes import changes
from tunewright.stages.compare.matrix import matrix_of
from tunewright.stages.compare.pairs import pair_by_row, paired, shared_metrics
from tunewright.stages.compare.tests import paired_tests
from tunewright.suites import MAIN_METRIC

CODE_VERSION = 2


def compare(
    baseline: Scores,
    candidate: Scores,
    section: CompareSection,
    out: Path,
    run: RunContext,
    beside: Mapping[str, Scores] | None = None,
) -> Comparison:
    """Pair score files by row id and test every metric they share.

    0/1 metrics use the exact McNemar test and Newcombe's interval, graded ones the paired permutation test and
    Student's interval; where rows share a `group`, tests and intervals keep the rows of a group together. P-values are
    Holm-corrected over the metrics of one pair of systems, and in the matrix over the pairs.

    Raises:
        PairingError: the files score different rows or the prompts differ; names the first five ids.
        DataError: no metric that both sides score, or none of the name under `require`.
    """
    seed = section.seed or 0
    systems = {section.baseline: baseline, **(beside or {}), section.candidate: candidate}
    rows = {name: list(scores.rows()) for name, scores in systems.items()}
    lower = {metric.metric for metric in candidate.summary if not metric.higher_is_better}
    against = {
        name: compare_scores(
            rows[name], rows[section.candidate], confidence=section.confidence, seed=seed, lower_is_better=lower
        )
        for name in (section.baseline, *(beside or {}))
    }
    tests = against[section.baseline]
    main = _test_of(
        tests, section.require.metric if section.require else candidate.main_metric or MAIN_METRIC.get(candidate.suite)
    )
    pairs = pair_by_row(rows[section.baseline], rows[section.candidate])
    result = Comparison(
        folder=out,
        baseline=section.baseline,
        candidate=section.candidate,
        confidence=section.confidence,
        num_rows=main.num_rows,
        tests=tests,
        beside=tuple(Side(baseline=name, tests=against[name]) for name in beside or {}),
        verdict=main.verdict,
        main_metric=main.metric,
        unscored=main.unscored,
        matrix=matrix_of(rows, main.metric, section.confidence, seed, lower),
        changes=changes(paired(main.metric, pairs, lower)),
    )
    write_json(out / "comparison.json", result.model_dump(mode="json"))
    run.judge(better_than_baseline(main, section.require))
    return result


def compare_scores(
    baseline: Iterable[ScoreRow],
    candidate: Iterable[ScoreRow],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    lower_is_better: Collection[str] = (),
) -> list[PairedTest]:
    """Test every metric that both sides score, on the rows that both score.

    Args:
        baseline: rows of the system to beat.
        candidate: rows of the system that should win.
        confidence: coverage of the intervals; a verdict needs the corrected p below 1 - confidence.
        seed: of the permutations.
        lower_is_better: metrics in which less is better: perplexity.

    Raises:
        PairingError, DataError: see `compare`.
    """
    pairs = pair_by_row(baseline, candidate)
    return paired_tests([paired(metric, pairs, lower_is_better) for metric in shared_metrics(pairs)], confidence, seed)


def _test_of(tests: list[PairedTest], metric: str | None) -> PairedTest:
    """Return the test of `metric`, or the first where no metric is asked for."""
    for test in tests:
        if metric in (None, test.metric):
            return test
    raise DataError(
        f"no metric {metric!r} in these scores", where="compare.require.metric",
        expected=" | ".join(test.metric for test in tests),
    )  # fmt: skip

"""A suite of one's own: a YAML file, or a Python object named `module:name`.

reads    suite.yaml and the rows file it names; docs/suites.md has the template
makes    a `Suite`, or one `SuiteError` that tells every mistake of the file with its line

    rows (a file, or those of a built-in suite) ─► prompt form ─► answers ─► scorers (any grader or suite) ─► metrics
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tunewright.artifacts.dataset import ChatRow
from tunewright.artifacts.user_code import import_user_module
from tunewright.errors import RecipeProblem, TunewrightError, UserError
from tunewright.recipe import document as doc
from tunewright.recipe.document import Document, KeyPath
from tunewright.recipe.explain import nearest
from tunewright.recipe.load import read_text
from tunewright.suites import METRICS
from tunewright.suites.file import CLUSTERS, ScorerPart, SuiteFile
from tunewright.suites.options import SuiteError, read_part
from tunewright.suites.own_scorer import OwnScorer
from tunewright.suites.protocol import Metric, Scored, Suite, find_suite, score_all
from tunewright.suites.rows import Prompt, rows_of_file
from tunewright.suites.sample import Graded

FORMS: Final = "a built-in suite, a .yaml file, or `module:name` of a Python object"


def load_suite(name: str, options: Mapping[str, Any]) -> Suite:
    """Return the suite of a YAML file or a Python object.

    Raises:
        SuiteError: the file has mistakes. UserError: no such suite, file or object.
    """
    if name.endswith((".yaml", ".yml")):
        if options:
            raise UserError(f"it takes no options, and was given {', '.join(options)}", where=name, fix="edit the file")
        return read_suite(Path(name))
    if ":" in name:
        return _python_suite(name, options)
    close = nearest(name, METRICS)
    raise UserError(
        f"there is no suite {name!r}", expected=f"one of {', '.join(METRICS)}; or {FORMS}",
        fix=f"did you mean {close}?" if close else None,
    )  # fmt: skip


# ── a Python object ─────────────────────────────────────────────────────────────────────────────────────────────────


def _python_suite(name: str, options: Mapping[str, Any]) -> Suite:
    module_name, _, attribute = name.partition(":")
    found = getattr(_module(module_name, name), attribute, None)
    made = _called(found, name, options) if callable(found) and not isinstance(found, Suite) else found
    if not isinstance(made, Suite):
        raise UserError(
            "there is no such object" if found is None else f"it is a {type(made).__name__}", where=name,
            expected="a tunewright.suites.protocol.Suite, or a function that returns one",
        )  # fmt: skip
    return replace(made, score=OwnScorer(made.score, name))


def _called(make: Callable[..., Any], name: str, options: Mapping[str, Any]) -> Any:
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise UserError(f"it does not take these options: {error}", where=name) from None
    try:
        return make(**options)
    except TunewrightError:
        raise
    except Exception as error:  # the user's code may fail in any way
        raise UserError(f"{type(error).__name__}: {error}", where=name, fix="mend the function") from error


def _module(module_name: str, name: str) -> Any:
    if (here := str(Path.cwd())) not in sys.path:  # as `python -m` does; a console script does not
        sys.path.insert(0, here)
    return import_user_module(module_name, name)


# ── a YAML file ─────────────────────────────────────────────────────────────────────────────────────────────────────


def read_suite(path: Path) -> Suite:
    """Return the suite of the YAML file at `path`.

    Raises:
        SuiteError: every mistake of the file, each with its line. RecipeError: it cannot be read, or is no YAML.
    """
    document = doc.parse(read_text(path), str(path))
    if document.problems:
        raise SuiteError(document.problems)
    if not isinstance(document.value, dict):
        raise SuiteError(
            [document.problem(document.value_mark(()), "", "no mapping", expected="`suite` and `scorers`")]
        )
    told = read_part(SuiteFile, document.value, document)
    return _Builder(told, document, path.parent).build()


@dataclass
class _Builder:
    """Makes the suite of a checked file; what pydantic cannot know is checked on the way, and told together."""

    told: SuiteFile
    document: Document
    folder: Path
    problems: list[RecipeProblem] = field(default_factory=list)

    def build(self) -> Suite:
        """Return the suite."""
        scorers = {name: suite for name, part in self.told.scorers.items() if (suite := self._scorer(name, part))}
        known = self._known_metrics(scorers)
        metrics = self._metrics(known)
        self._check_cluster()
        rows = self._rows()
        main = self._main_metric(metrics, scorers)
        if self.problems:
            raise SuiteError(self.problems)
        return self._suite(scorers, metrics, main, rows)

    def _suite(self, scorers: dict[str, Suite], metrics: list[Metric], main: str, rows: Rows | None) -> Suite:
        first = next(iter(scorers.values()))
        sampling = {key: value for key, value in self.told.sampling.model_dump().items() if value is not None}
        return Suite(
            name=self.told.suite,
            metrics=tuple(metrics),
            score=Scorers(scorers, frozenset(metric.name for metric in metrics if metric.binary)),
            main_metric=main,
            mode=first.mode,
            rows=rows,
            cluster=self.told.cluster,
            max_new_tokens=self.told.sampling.max_new_tokens or first.max_new_tokens,
            aggregate=first.aggregate if len(scorers) == 1 else None,
            candidates=first.candidates,
            sampling=sampling,
            graders=tuple(grader for scorer in scorers.values() for grader in scorer.graders),
        )

    # ── scorers and metrics ──

    def _scorer(self, name: str, part: ScorerPart) -> Suite | None:
        """Return a scorer as a suite of its own, its metrics named as they will be."""
        path: KeyPath = ("scorers", name)
        if (part.grader is None) == (part.suite is None):
            self._told(path, "it has to have one of `grader` and `suite`")
            return None
        try:
            suite = self._graded(name, part) if part.grader is not None else find_suite(str(part.suite), part.options)
        except SuiteError as error:
            for problem in error.problems:
                self._told((*path, "options", *problem.path.split(".")), problem.seen, expected=problem.expected)
            return None
        except UserError as error:
            self._told((*path, "grader" if part.suite is None else "suite"), error.seen, expected=error.expected)
            return None
        if len(self.told.scorers) > 1 and (suite.mode == "log_probs" or suite.aggregate):
            self._told(path, f"the suite {suite.name} cannot stand beside other scorers")
            return None
        return suite

    def _graded(self, name: str, part: ScorerPart) -> Suite:
        from tunewright.suites.sample import ROWS, find_grader

        grader = Graded(find_grader(part.grader or {}, self.folder), None, part.sub_scores)

        metrics = [
            Metric(name, ROWS, binary=False),
            *(Metric(f"{name}.{s}", ROWS, binary=False) for s in part.sub_scores),
        ]
        return Suite(
            name=name, metrics=tuple(metrics), score=_Named(name, grader), main_metric=name, graders=(grader.grader,)
        )

    def _known_metrics(self, scorers: dict[str, Suite]) -> dict[str, Metric]:
        known: dict[str, Metric] = {}
        for name, suite in scorers.items():
            for metric in suite.metrics:
                if metric.name in known:
                    self._told(("scorers", name), f"another scorer has a metric `{metric.name}` too")
                known[metric.name] = metric
        return known

    def _metrics(self, known: dict[str, Metric]) -> list[Metric]:
        if not self.told.metrics or not known:
            return list(known.values())
        found = []
        for index, part in enumerate(self.told.metrics):
            if part.name not in known:
                self._told(("metrics", index, "name"), f"no scorer has a metric `{part.name}`", known)
                continue
            own = known[part.name]
            found.append(
                Metric(
                    part.name,
                    part.denominator or own.denominator,
                    own.binary if part.binary is None else part.binary,
                    part.higher_is_better and own.higher_is_better,
                )
            )
        return found

    def _main_metric(self, metrics: list[Metric], scorers: dict[str, Suite]) -> str:
        names = [metric.name for metric in metrics]
        if names and self.told.main_metric and self.told.main_metric not in names:
            self._told(("main_metric",), f"there is no metric `{self.told.main_metric}`", names)
        own = [suite.main_metric for suite in scorers.values() if suite.main_metric in names]
        return self.told.main_metric or next(iter([*own, *names]), "")

    # ── rows ──

    def _rows(self) -> Rows | None:
        part, prompt = self.told.rows, self.told.prompt
        if part is None:
            if prompt != Prompt():
                self._told(("prompt",), "it needs `rows`: rows that the evaluation brings are asked as they are")
            return None
        if (part.path is None) == (part.suite is None):
            self._told(("rows",), "it has to have one of `path` and `suite`")
            return None
        if part.path is not None:
            return _of_file(self.folder / part.path, part.columns, prompt, self.told.cluster)
        try:
            suite = find_suite(str(part.suite), part.options)
        except UserError as error:
            self._told(("rows", "suite"), error.render())
            return None
        if suite.rows is None:
            self._told(("rows", "suite"), f"the suite {part.suite} brings no rows")
            return None
        return _of_suite(suite.rows, prompt, self.told.cluster)

    def _check_cluster(self) -> None:
        if self.told.cluster not in ("group", "source") and not self.told.cluster.startswith("meta."):
            self._told(("cluster",), f"`{self.told.cluster}` is no key of a row", ("group", "source"), CLUSTERS)

    def _told(self, path: KeyPath, seen: str, among: Any = (), expected: str | None = None) -> None:
        value = self.document.get(path)
        self.problems.append(
            self.document.problem(
                self.document.value_mark(path), doc.dotted(path), f"`{doc.dotted(path)}`: {seen}",
                suggestion=nearest(value, among) if isinstance(value, str) else None,
                expected=expected or (f"one of {', '.join(among)}" if among else None),
            )
        )  # fmt: skip


Rows = Callable[[int, int | None], list[ChatRow]]


def _of_file(path: Path, columns: Mapping[str, str], prompt: Prompt, cluster: str) -> Rows:
    return lambda seed, limit: rows_of_file(path, columns, prompt, cluster)[:limit]


def _of_suite(rows: Rows, prompt: Prompt, cluster: str) -> Rows:
    return lambda seed, limit: [prompt.applied(row, cluster) for row in rows(seed, limit)]


@dataclass(frozen=True)
class _Named:
    """A grader whose scores are called after its place in the file: `NAME` and `NAME.SUB`."""

    name: str
    grader: Graded

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        return self.score_all([answer], [row])[0]

    def score_all(self, answers: Sequence[str], rows: Sequence[ChatRow]) -> list[Scored]:
        return [replace(one, scores=self._named(one.scores)) for one in self.grader.score_all(answers, rows)]

    def _named(self, scores: Mapping[str, float]) -> dict[str, float]:
        return {self.name if metric == "score" else f"{self.name}.{metric}": v for metric, v in scores.items()}


@dataclass(frozen=True)
class Scorers:
    """Several scorers as one; where one fails the row is unscored in all, so that metrics count the same rows."""

    scorers: Mapping[str, Suite]
    binary: frozenset[str] = frozenset()
    """metrics whose scores have to be 0 or 1"""

    def __call__(self, answer: str, row: ChatRow) -> Scored:
        """Score `answer` with every scorer."""
        return self.score_all([answer], [row])[0]

    def score_all(self, answers: Sequence[str], rows: Sequence[ChatRow]) -> list[Scored]:
        """Score every answer with every scorer."""
        found = {name: score_all(suite.score, answers, rows) for name, suite in self.scorers.items()}
        return [self._joined({name: scored[at] for name, scored in found.items()}) for at in range(len(answers))]

    def _joined(self, found: Mapping[str, Scored]) -> Scored:
        if errors := [f"{name}: {one.error}" for name, one in found.items() if one.error]:
            return Scored({}, "unscored", error="; ".join(errors))
        scores = {metric: score for one in found.values() for metric, score in one.scores.items()}
        if graded := [metric for metric in self.binary if scores.get(metric, 0) not in (0, 1)]:
            return Scored({}, "unscored", error=f"{graded[0]} is {scores[graded[0]]}, and said to be 0 or 1")
        only = len(found) == 1
        failures = [one.failure if only else f"{name}: {one.failure}" for name, one in found.items() if one.failure]
        return Scored(
            scores=scores,
            reason="; ".join(one.reason if only else f"{name}: {one.reason}" for name, one in found.items()),
            parsed=next(iter(found.values())).parsed if only else {name: one.parsed for name, one in found.items()},
            failure=failures[0] if failures else "",
        )

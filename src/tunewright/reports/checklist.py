"""The production checklist of a run: what must be true before a tuned model is used, each with the file that shows it.

reads    a run's records, scores, comparison, samples; signoff.json
writes   signoff.json, when a person signs

    done        shown by a file of this run
    not done    a file of this run shows the contrary, or a person has not done their part
    not shown   no stage of this run looked; that is no pass, and it is said which stage would show it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import read_json, write_json
from tunewright.artifacts.provenance import now
from tunewright.artifacts.scores import Scores
from tunewright.artifacts.verdict import Status
from tunewright.errors import DataError, RunFolderError, UserError
from tunewright.reports.gather import Judged, Story, main_test
from tunewright.reports.samples import read_samples

SIGNOFF = "signoff.json"
LONGEST_NAME = 200
ASKED = ("system", "template_kwargs", "shots")
"""fields of `Inference` that change what a model is asked"""


class State(StrEnum):
    """Where an item stands."""

    DONE = "done"
    NOT_DONE = "not done"
    NOT_SHOWN = "not shown"
    NOT_NEEDED = "not needed"


@dataclass(frozen=True)
class Item:
    """One line of the checklist. `evidence` is a file of the run, relative to its folder; empty where there is none."""

    name: str
    state: State
    seen: str
    evidence: str = ""

    @property
    def sign(self) -> str:
        """A sign for the state: never told by colour alone."""
        return {State.DONE: "✓", State.NOT_DONE: "✕", State.NOT_SHOWN: "?", State.NOT_NEEDED: "–"}[self.state]

    def as_json(self) -> dict[str, str]:
        """Return the item as plain values."""
        return asdict(self)


def items_of(story: Story) -> list[Item]:
    """Return every item, in order. What stands in a file that is gone or broken is not shown."""
    return [Item(name, *_looked(look, story)) for name, look in ITEMS]


def _looked(look: Callable[[Story], Finding], story: Story) -> Finding:
    try:
        return look(story)
    except DataError as error:
        return State.NOT_SHOWN, f"{error.where}: {error.seen}", ""


Finding = tuple[State, str, str]
"""state, what was seen, evidence"""


# ── what gates have judged ──────────────────────────────────────────────────────────────────────────────────────────


def _by_gates(*names: str, otherwise: str, state: State = State.NOT_SHOWN) -> Callable[[Story], Finding]:
    """Return a look at the verdicts of these gates: not done where one failed, allowed or not."""

    def look(story: Story) -> Finding:
        found = [judged for judged in story.judged if judged.verdict.name in names]
        if not found:
            return state, otherwise, ""
        bad = [judged for judged in found if judged.verdict.status is Status.FAILED]
        told = "; ".join(f"{one.verdict.name} ({one.stage}): {one.verdict.measured}" for one in bad or found)
        return State.NOT_DONE if bad else State.DONE, told, _record_of(story, (bad or found)[0])

    return look


def _record_of(story: Story, judged: Judged) -> str:
    return f"{story.run.stage_folder(judged.stage).name}/record.json"


# ── format ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _same_template(story: Story) -> Finding:
    """The template that rendered the training rows rendered every evaluation."""
    samples = [(key, found) for key in story.datasets if (found := read_samples(story.run.stage_folder(key)))]
    if not samples or not story.scores:
        return State.NOT_SHOWN, "needs a `data` and an `evaluate` stage", ""
    data, trained = samples[0][0], samples[0][1].template_sha256
    hashes = {key: _template_of(scores) for key, scores in story.scores.items()}
    unknown, others = (
        [key for key in hashes if not hashes[key]],
        [key for key in hashes if hashes[key] not in ("", trained)],
    )
    if others:
        key = others[0]
        return State.NOT_DONE, f"`{', '.join(others)}` used another template than `{data}`", _scores_file(story, key)
    if unknown:
        return (
            State.NOT_SHOWN,
            f"`{', '.join(unknown)}` did not record its template: a server rendered, or an old version",
            "",
        )
    told = f"{trained[:12]} in `{data}` and in {', '.join(f'`{key}`' for key in hashes)}"
    return State.DONE, told, _scores_file(story, next(iter(hashes)))


def _template_of(scores: Scores) -> str:
    return next((row.template_sha256 for row in islice(scores.rows(), 1)), "")


def _identical_format(story: Story) -> Finding:
    """The tuned model is asked as it was trained: no system text and no template setting that training did not have."""
    tuned = {key: scores for key, scores in story.scores.items() if _model_of(story, key) in story.trained}
    if not tuned:
        return State.NOT_SHOWN, "no trained model was evaluated", ""
    for key, scores in tuned.items():
        inference = scores.inference
        extra = [name for name in ASKED if getattr(inference, name)]
        if extra:
            told = f"`{key}` was asked with `{', '.join(extra)}`, which training did not have"
            return State.NOT_DONE, told, _record(story, key)
    alike = _by_gates("renders_alike", otherwise="")(story)
    if alike[0] is not State.NOT_SHOWN:
        return alike
    served = [key for key, scores in tuned.items() if scores.inference.backend != "hf"]
    if served:
        return State.NOT_SHOWN, f"a server rendered for `{', '.join(served)}`, and no stage compared its tokens", ""
    key = next(iter(tuned))
    return State.DONE, f"`{key}` was asked as the training rows are: same renderer, nothing added", _record(story, key)


def _model_of(story: Story, key: str) -> str:
    section = next((stage.record.section for stage in story.stages if stage.id == key and stage.record), {})
    return str(section.get("model") or "")


# ── scores ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _above_zero(story: Story) -> Finding:
    """The tuned model does the task at all, on rows that were held out."""
    key = story.comparison.candidate if story.comparison else next(reversed(story.scores), "")
    if key not in story.scores:
        return State.NOT_SHOWN, "nothing was evaluated", ""
    metric = next((one for one in story.scores[key].summary if one.metric == story.main_metric), None)
    if metric is None:
        return State.NOT_SHOWN, f"`{key}` has no score", ""
    told = f"`{key}`: {metric.metric} {metric.value:.3g} ({metric.low:.3g} to {metric.high:.3g}, n = {metric.num_rows})"
    return State.DONE if metric.value > 0 else State.NOT_DONE, told, _scores_file(story, key)


def _baseline_beaten(story: Story) -> Finding:
    comparison = story.comparison
    if comparison is None:
        return State.NOT_SHOWN, "no `compare` stage is done", ""
    test = main_test(comparison)
    folder = next(stage.folder.name for stage in story.stages if story.comparisons.get(stage.id) is comparison)
    told = (
        f"{test.metric} {test.baseline:.3g} -> {test.candidate:.3g}, "
        f"difference {test.interval[0]:+.3g} to {test.interval[1]:+.3g}: {comparison.verdict}"
    )
    return (State.DONE if comparison.verdict == "better" else State.NOT_DONE), told, f"{folder}/comparison.json"


def _prompt_parity(story: Story) -> Finding:
    """The two sides of the comparison were asked the same: system text, template settings, worked examples."""
    comparison = story.comparison
    sides = [comparison.baseline, comparison.candidate] if comparison else []
    if not sides or any(key not in story.scores for key in sides):
        return State.NOT_SHOWN, "no `compare` stage is done", ""
    one, other = (story.scores[key].inference for key in sides)
    apart = [name for name in ASKED if getattr(one, name) != getattr(other, name)]
    if apart:
        told = "; ".join(f"{name}: {getattr(one, name)!r} against {getattr(other, name)!r}" for name in apart)
        return State.NOT_DONE, f"`{sides[0]}` and `{sides[1]}` were asked differently: {told}", _record(story, sides[1])
    told = f"`{sides[0]}` and `{sides[1]}`: same rows, system text, template settings and worked examples"
    return State.DONE, told, _scores_file(story, sides[1])


# ── a person ────────────────────────────────────────────────────────────────────────────────────────────────────────


def sign(story: Story, name: str) -> Path:
    """Write that `name` has read the outputs of this run, and return the file. Earlier signatures stay.

    Raises:
        UserError: no name. RunFolderError: nothing was evaluated, so there is nothing to have read.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError("a sign-off needs a name", where="--sign", expected="who read the outputs, in one line")
    if not story.scores:
        raise RunFolderError(
            "nothing was evaluated yet: there is no output to have read", where=story.name, fix="finish the run first"
        )
    path = story.run.path / SIGNOFF
    entry = {"name": name.strip(), "when": now(), "read": _outputs(story)}
    with story.run.locked():
        write_json(path, {"signatures": [*signatures(story), entry]})
    return path


def signatures(story: Story) -> list[dict[str, Any]]:
    """Return who signed, oldest first.

    Raises:
        DataError: the file is broken.
    """
    path = story.run.path / SIGNOFF
    if not path.is_file():
        return []
    found = read_json(path)
    signed = found.get("signatures") if isinstance(found, dict) else None
    if not isinstance(signed, list) or not all(
        isinstance(one, dict) and {"name", "when", "read"} <= one.keys() for one in signed
    ):
        raise DataError("not a file of sign-offs", where=str(path), fix="remove it, and sign again")
    return signed


def _outputs(story: Story) -> dict[str, str]:
    """Return what there is to read: `evaluate` stages with their fingerprints. New answers need a new reader."""
    return {stage.id: stage.record.fingerprint for stage in story.stages if stage.id in story.scores and stage.record}


def _read_by_a_person(story: Story) -> Finding:
    try:
        signed = signatures(story)
    except DataError as error:
        return State.NOT_DONE, f"{error.where}: {error.seen}", ""
    told = ", ".join(f"{one['name']} ({one['when']})" for one in signed)
    if any(one["read"] == _outputs(story) for one in signed):
        return State.DONE, told, SIGNOFF
    if signed:
        return State.NOT_DONE, f"signed before these answers were there: {told}", SIGNOFF
    return State.NOT_DONE, f"nobody has signed: read them (`tw report {story.word}`), then --sign NAME", ""


# ── the list ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _scores_file(story: Story, key: str) -> str:
    return f"{story.run.stage_folder(key).name}/scores.jsonl"


def _record(story: Story, key: str) -> str:
    return f"{story.run.stage_folder(key).name}/record.json"


ITEMS: Sequence[tuple[str, Callable[[Story], Finding]]] = (
    (
        "real special tokens",
        _by_gates("control_tokens_are_real", otherwise="no `check` stage has looked at the template's control tokens"),
    ),
    ("template used in evaluation", _same_template),
    ("identical format", _identical_format),
    ("held-out score above 0", _above_zero),
    ("outputs read by a person", _read_by_a_person),
    ("baseline beaten", _baseline_beaten),
    ("prompt parity", _prompt_parity),
    (
        "no leakage",
        _by_gates(
            "groups_disjoint", "decontaminated", otherwise="no `data` stage of this run compared train with test"
        ),
    ),
    (
        "merged equals adapter",
        _by_gates(
            "merge_took_effect",
            "merge_drift",
            otherwise="this run merged nothing: the adapter is served as it was scored",
            state=State.NOT_NEEDED,
        ),
    ),
)
"""name -> how it is looked at"""

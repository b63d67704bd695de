"""What a person means by a model or by rows on the command line: the forms that `tw entropy` takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tunewright.artifacts.checkpoint import Trained
from tunewright.artifacts.dataset import ChatRow, Dataset, Rows
from tunewright.artifacts.files import read_json
from tunewright.artifacts.rundir import RunFolder, find_run
from tunewright.errors import DataError, ModelError, RunFolderError, UserError
from tunewright.models.find import may_be_model

PACKAGED = "bfcl"
MODEL_FORMS = "an alias, a model folder, a .gguf file, a hub id, an adapter's folder, or RUN:STAGE of an sft stage"
ROWS_FORMS = "a .jsonl file of chat rows, RUN for its test rows, RUN:STAGE.test, RUN:STAGE.train, or bfcl"


@dataclass(frozen=True)
class FoundModel:
    """What a person means by a model: a base, and an adapter on it or none. `name` is what they typed."""

    name: str
    base: str
    adapter: Path | None = None
    base_identity: str = ""
    """what the adapter was trained on, where a record says it"""


def find_model(text: str) -> FoundModel:
    """Return the model that a person means.

    Raises:
        RunFolderError: RUN:STAGE that is not there, or that is no sft stage.
        ModelError: an adapter's folder that does not name its base. Other models are looked up when they are loaded.
    """
    folder = Path(text)
    for place in (folder, folder / "adapter"):
        if (place / "adapter_config.json").is_file():
            return _adapter(text, place)
    run = _run_before_colon(text)
    if run is None:
        return FoundModel(text, text)
    stage = text.rpartition(":")[2]
    trained = run.artifact(stage)
    if not isinstance(trained, Trained):
        raise RunFolderError(f"stage {stage!r} trained nothing", where=run.name, expected="the id of an sft stage")
    return FoundModel(text, trained.base_model, trained.adapter, trained.base_identity)


def _adapter(text: str, place: Path) -> FoundModel:
    """Return the model of an adapter's folder; of an sft stage's, its record says which base it was trained on."""
    base = _field(place / "adapter_config.json", "base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ModelError("the adapter does not name its base model", where=str(place / "adapter_config.json"))
    told = place.parent / "trained.json"
    identity = _field(told, "base_identity") if told.is_file() else ""
    return FoundModel(text, base, place, str(identity or ""))


def _field(path: Path, name: str) -> object:
    value = read_json(path)
    return value.get(name) if isinstance(value, dict) else None


def _run_before_colon(text: str) -> RunFolder | None:
    """Return the run of RUN:…, or None where `text` does not begin with one."""
    head, colon, _ = text.rpartition(":")
    with suppress(RunFolderError):
        return find_run(head) if colon else None
    return None


def find_rows(text: str) -> Iterator[ChatRow]:
    """Yield the rows that a person means.

    Raises:
        DataError: a file that is not there or not of rows; names the line.
        RunFolderError: no such run or stage.
        UserError: neither file nor run; says the forms.
    """
    if Path(text).is_file():
        from tunewright.sources.jsonl import read_rows

        return read_rows(Path(text))
    if Path(text).suffix in (".jsonl", ".json"):
        raise DataError("no such file", where=text, fix="check the path; it is taken from the current folder")
    if text == PACKAGED:
        return _packaged_rows()
    run = _run_before_colon(text)
    if run is not None:
        return iter(rows_at(run, text.rpartition(":")[2]))
    try:
        run = find_run(text)
    except RunFolderError as error:
        fix = "if it is a model: name the rows too" if may_be_model(text) else error.fix
        raise UserError("this names no rows", where=text, expected=ROWS_FORMS, fix=fix) from None
    return iter(_dataset(run, None).part("test"))


def rows_at(run: RunFolder, reference: str) -> Rows:
    """Return the rows that a reference of a recipe names in its run: `data.train`; `data` alone is its test rows.

    Raises:
        RunFolderError: no such stage. UserError: no such part.
    """
    stage, _, part = reference.partition(".")
    return _dataset(run, stage).part(_part(part, f"{run.name}:{reference}"))


def _part(part: str, text: str) -> str:
    if part not in ("", "test", "train"):
        raise UserError(f"no part {part!r}", where=text, expected="test | train")
    return part or "test"


def _dataset(run: RunFolder, stage: str | None) -> Dataset:
    """Return the dataset that a stage made, or the first of the run."""
    ids = [stage] if stage else [record.id for record in run.records() if record.kind == Dataset.kind]
    if not ids:
        raise RunFolderError(
            "no `data` stage of this run is done", where=run.name, fix="give the `tw run` command again"
        )
    found = run.artifact(ids[0])
    if not isinstance(found, Dataset):
        raise RunFolderError(f"stage {stage!r} made no rows", where=run.name, expected="the id of a data stage")
    return found


def _packaged_rows() -> Iterator[ChatRow]:
    from tunewright.recipe.sections import BfclSource
    from tunewright.sources.read import read_source

    return (row for row in read_source(BfclSource(type="bfcl")) if isinstance(row, ChatRow))

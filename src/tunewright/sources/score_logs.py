"""Scores that other tools logged, as our score rows: lm-evaluation-harness and Inspect.

reads    `samples_TASK_….jsonl` of `lm_eval --log_samples`; `.eval` logs of Inspect (a zip of JSON, mostly Zstandard)

What pairs rows is the question and its right answer. The prompt, which differs with the model's chat template, is kept
beside the rows (`ScoreLog.prompts`), so that a comparison can say where the two sides were asked differently. An answer
without a score has an error and no score of 0.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunewright.artifacts.files import read_jsonl
from tunewright.artifacts.scores import MOST_SCORE, ScoreRow, answer_id
from tunewright.errors import DataError, MissingExtra

MAX_SAMPLE_BYTES = 64 << 20  # of one sample, unpacked: a small zip may claim to hold any amount
MAX_SAMPLES = 1_000_000
ZSTANDARD = 93  # APPNOTE.TXT 4.4.5: the zip format's number for it
GRADES = {"c": 1.0, "p": 0.5, "i": 0.0, "n": 0.0, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
"""Inspect's correct, partial, incorrect and no answer, and the words that its `value_to_float` takes for numbers"""
FORMS = "samples_*.jsonl of lm-evaluation-harness, or an .eval log of Inspect"


@dataclass(frozen=True)
class ScoreLog:
    """The rows of a log, and a hash of the prompt that each was asked with."""

    rows: list[ScoreRow]
    prompts: dict[str, str]


def is_score_log(path: Path) -> bool:
    """Return whether the file looks like a log that `read_score_log` reads; ours, and what is no log, does not."""
    if _is_inspect(path):
        return True
    first = next((line for _, line in read_jsonl(path)), {})
    return "doc_id" in first and "scores" not in first


def read_score_log(path: Path, cluster: str | None = None) -> ScoreLog:
    """Read a log.

    Args:
        path: the file.
        cluster: field of the question (lm-evaluation-harness: `doc`, Inspect: `metadata`) whose value is a row's group.

    Raises:
        DataError: broken, too large, no scores in it, no such field; names the sample.
        MissingExtra: the log is packed with Zstandard, and no library for it is there.
    """
    found = _inspect(path, cluster) if _is_inspect(path) else _lm_eval(path, cluster)
    if not found.rows:
        raise DataError("no samples in it", where=str(path), expected=FORMS, fix="was it run with --log_samples?")
    return found


def _is_inspect(path: Path) -> bool:
    return path.suffix == ".eval" or zipfile.is_zipfile(path)


def _sha256(*values: Any) -> str:
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _group(fields: Any, cluster: str | None, where: str) -> str:
    if cluster is None:
        return ""
    if not isinstance(fields, Mapping) or cluster not in fields:
        known = ", ".join(map(str, fields)) if isinstance(fields, Mapping) else "none"
        raise DataError(f"no field {cluster!r} to group by", where=where, expected=f"one of its fields: {known}")
    return str(fields[cluster])


def _number(value: Any) -> float | None:
    """A score as a number: what is none, or is not finite, is no score."""
    return float(value) if isinstance(value, (bool, int, float)) and abs(value) < MOST_SCORE else None


# ── lm-evaluation-harness ───────────────────────────────────────────────────────────────────────────────────────────


def _lm_eval(path: Path, cluster: str | None) -> ScoreLog:
    """One line a question and filter; with several filters (gsm8k) a metric is named `exact_match,strict-match`."""
    lines = list(read_jsonl(path))
    filters = list(dict.fromkeys(str(line.get("filter", "none")) for _, line in lines))
    rows: dict[str, ScoreRow] = {}
    prompts: dict[str, str] = {}
    for number, line in lines:
        row = _lm_eval_row(line, filters, cluster, f"{path}:{number}", path.stem)
        known = rows.get(row.id)
        rows[row.id] = row if known is None else known.model_copy(update={"scores": {**known.scores, **row.scores}})
        prompts[row.id] = str(line.get("prompt_hash") or _sha256(line.get("arguments")))
    return ScoreLog(list(rows.values()), prompts)


def _lm_eval_row(line: Mapping[str, Any], filters: list[str], cluster: str | None, where: str, task: str) -> ScoreRow:
    if "doc_id" not in line or not isinstance(line.get("metrics", []), list):
        raise DataError("not a logged sample", where=where, expected=FORMS)
    name = str(line.get("filter", "none"))
    suffix = f",{name}" if len(filters) > 1 else ""
    scores = {f"{m}{suffix}": value for m in _lm_eval_metrics(line) if (value := _number(line.get(m))) is not None}
    answer = _answer_text(line.get("filtered_resps"))
    return ScoreRow(
        id=str(line["doc_id"]),
        group=_group(line.get("doc"), cluster, where),
        source=task,
        question=_lm_eval_prompt(line),
        reference=str(line.get("target", "")),
        answer=answer,
        scores=scores,
        reason="",
        prompt_sha256=_sha256(line.get("doc_hash") or line.get("doc"), line.get("target")),
        prompt_tokens=0,
        answer_tokens=0,
        finish="",
        seconds=0.0,
    )


def _lm_eval_metrics(line: Mapping[str, Any]) -> list[str]:
    """The names of its metrics; logs of before `metrics` was written have them as the keys that are nothing else."""
    named = line.get("metrics")
    return [str(name) for name in named] if named else [key for key in line if key not in _LM_EVAL_FIELDS]


_LM_EVAL_FIELDS = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
}  # fmt: skip


def _lm_eval_prompt(line: Mapping[str, Any]) -> str:
    arguments = line.get("arguments")
    if isinstance(arguments, Mapping):  # {"gen_args_0": {"arg_0": prompt, …}, …}
        return str(_mapping(next(iter(arguments.values()), None)).get("arg_0", ""))
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    return str(first[0]) if isinstance(first, list) and first else ""


def _answer_text(responses: Any) -> str:
    while isinstance(responses, list) and len(responses) == 1:
        responses = responses[0]
    return responses if isinstance(responses, str) else json.dumps(responses, ensure_ascii=False, default=str)


# ── Inspect ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _inspect(path: Path, cluster: str | None) -> ScoreLog:
    """One file a sample and epoch; the epochs of a sample are rows of one group, unless `cluster` says otherwise."""
    samples = list(_samples(path))
    epochs = {str(sample.get("epoch", 1)) for sample in samples}
    rows, prompts = [], {}
    for sample in samples:
        row = _inspect_row(sample, cluster, f"{path}: sample {sample.get('id')}", path.stem, len(epochs) > 1)
        rows.append(row)
        prompts[row.id] = _sha256(sample.get("input"))
    return ScoreLog(sorted(rows, key=lambda row: row.id), prompts)


# What zipfile lets through of broken headers.
_BROKEN_ZIP = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, ArithmeticError, LookupError, RuntimeError, EOFError,
    OSError, ValueError,
)  # fmt: skip


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if e.filename.startswith("samples/") and not e.is_dir()]
            if len(entries) > MAX_SAMPLES:
                raise DataError(f"{len(entries):,} samples", where=str(path), expected=f"at most {MAX_SAMPLES:,}")
            for entry in entries:
                yield _parsed(_unpacked(archive, path, entry), f"{path}: {entry.filename}")
    except _BROKEN_ZIP as error:
        raise DataError(f"a broken zip: {error}", where=str(path), fix="was it written to its end?") from None


def _unpacked(archive: zipfile.ZipFile, path: Path, entry: zipfile.ZipInfo) -> bytes:
    try:
        if entry.compress_type == ZSTANDARD:
            data = _unpacked_zstandard(path, entry)
        else:
            with archive.open(entry) as file:
                data = file.read(MAX_SAMPLE_BYTES + 1)
    except (NotImplementedError, RuntimeError) as error:  # another method; a password
        raise DataError(f"cannot be unpacked: {error}", where=f"{path}: {entry.filename}", expected=FORMS) from None
    if len(data) > MAX_SAMPLE_BYTES:
        raise DataError(f"more than {MAX_SAMPLE_BYTES >> 20} MiB", where=f"{path}: {entry.filename}", expected=FORMS)
    return data


def _unpacked_zstandard(path: Path, entry: zipfile.ZipInfo) -> bytes:
    """Unpack an entry that `zipfile` cannot before Python 3.14. Its local header says where its bytes begin."""
    try:
        import zstandard  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise MissingExtra.of(error, "eval") from None
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        header = file.read(30)
        file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
        packed = file.read(entry.compress_size)
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            return bytes(reader.read(MAX_SAMPLE_BYTES + 1))
    except zstandard.ZstdError as error:
        raise DataError(f"broken Zstandard data: {error}", where=f"{path}: {entry.filename}") from None


def _parsed(data: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"broken JSON: {error}", where=where) from None
    if not isinstance(value, dict) or "id" not in value:
        raise DataError("not a logged sample", where=where, expected=FORMS)
    return value


def _inspect_row(sample: Mapping[str, Any], cluster: str | None, where: str, task: str, repeated: bool) -> ScoreRow:
    question = str(sample["id"])
    output, found = _mapping(sample.get("output")), _mapping(sample.get("scores"))
    usage = _mapping(output.get("usage"))
    repeat = max(0, int(_number(sample.get("epoch")) or 1) - 1)
    group = _group(sample.get("metadata"), cluster, where) or (question if repeated else "")
    return ScoreRow(
        id=answer_id(question, repeat),
        repeat=repeat,
        group=group,
        source=task,
        question=_inspect_question(sample.get("input")),
        reference=_inspect_target(sample.get("target")),
        answer=str(output.get("completion") or ""),
        scores={} if sample.get("error") else dict(_inspect_scores(found)),
        reason=_inspect_reason(found),
        error=_inspect_error(sample, found),
        prompt_sha256=_sha256(sample.get("input"), sample.get("target")),
        prompt_tokens=int(_number(usage.get("input_tokens")) or 0),
        answer_tokens=int(_number(usage.get("output_tokens")) or 0),
        finish=_stop_reason(output),
        seconds=_number(output.get("time")) or 0.0,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    """`value`, or nothing where a log has something else in its place."""
    return value if isinstance(value, Mapping) else {}


def _grade(text: str) -> float | None:
    if (known := GRADES.get(text.strip().lower())) is not None:
        return known
    try:
        return _number(float(text))
    except ValueError:
        return None


def _stop_reason(output: Mapping[str, Any]) -> str:
    choices = output.get("choices")
    return str(_mapping(choices[0]).get("stop_reason", "")) if isinstance(choices, list) and choices else ""


def _inspect_scores(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """A scorer's value is a grade, a number, or a mapping or list of them: `scorer`, `scorer/key`, `scorer/0`."""
    for scorer, score in found.items():
        value = _mapping(score).get("value")
        parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
        named = [(scorer, value)] if parts is None else [(f"{scorer}/{key}", part) for key, part in parts]
        for name, part in named:
            number = _grade(part) if isinstance(part, str) else _number(part)
            if number is not None:
                yield name, number


def _inspect_question(asked: Any) -> str:
    if isinstance(asked, list):
        asked = next((m.get("content") for m in map(_mapping, reversed(asked)) if m.get("role") == "user"), "")
    return asked if isinstance(asked, str) else json.dumps(asked, ensure_ascii=False, default=str)


def _inspect_target(target: Any) -> str:
    return " | ".join(map(str, target)) if isinstance(target, list) else str(target or "")


def _inspect_reason(found: Mapping[str, Any]) -> str:
    told = next((text for score in found.values() if (text := _mapping(score).get("explanation"))), "")
    return " ".join(str(told).split())[:200]


def _inspect_error(sample: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    """Why there is no score at all: the sample's own error, or that no scorer gave a number."""
    if error := sample.get("error"):
        return str(_mapping(error).get("message", error))
    return None if any(True for _ in _inspect_scores(found)) else "no scorer gave a score"

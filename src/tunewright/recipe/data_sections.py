"""The parts of a `data` section: sources, filters, and what the rows are compared with.

Filters are applied in the order in which they are written. Each says in its string what it takes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

FormatName = Literal[
    "auto", "messages", "conversations", "hermes", "preference", "prompt", "alpaca", "text", "question"
]  # fmt: skip
FORMAT_HELP: Final = "the format of its records; auto finds it by the columns that are there"
Columns = dict[str, str]
COLUMNS_HELP: Final = "where a field stands when it has another name: {messages: conversation}, {prompt: question}"


class Part(BaseModel):
    """Base of the parts here; as the base of all sections."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


ENDINGS: Final = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
"""how the name of a file ends -> the type of the source that reads it"""


# ── files as sources ────────────────────────────────────────────────────────────────────────────────────────────────


class ParquetSource(Part):
    """Rows from a Parquet file."""

    type: Literal["parquet"]
    path: str = Field(description="the file, taken from the folder of the recipe")
    columns: Columns = Field(default_factory=dict, description=COLUMNS_HELP)
    format: FormatName = Field(default="auto", description=FORMAT_HELP)


class CsvSource(Part):
    """Rows from a CSV or TSV file with a header line."""

    type: Literal["csv"]
    path: str = Field(description="the file, taken from the folder of the recipe")
    columns: Columns = Field(default_factory=dict, description=COLUMNS_HELP)
    format: FormatName = Field(default="auto", description=FORMAT_HELP)


class PackageSource(Part):
    """Rows from a file inside an installed package, which is read and never imported."""

    type: Literal["package"]
    package: str = Field(pattern=r"^[\w.-]+$", description="the name it is installed by: `bfcl-eval`")
    file: str = Field(description="the file, as the package names it: `bfcl_eval/data/rows.jsonl`; by its ending")
    columns: Columns = Field(default_factory=dict, description=COLUMNS_HELP)
    format: FormatName = Field(default="auto", description=FORMAT_HELP)


class GeneratedSource(Part):
    """Rows that a function makes: yours, or the puzzles of reasoning-gym (extra `eval`)."""

    type: Literal["generated"]
    function: str = Field(
        pattern=r"^[\w.]+:[\w.]+$|^reasoning-gym$",
        description="`module:name`, called as name(seed=…, **options), gives records; or `reasoning-gym`",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="what the function is told; reasoning-gym: {tasks: [chain_sum]}"
    )
    rows: int = Field(ge=1, description="take so many; the function may give more")
    seed: int = Field(
        default=1_000_000,
        ge=0,
        description="seed of the rows, far from an evaluation's: reasoning-gym makes row i of seed s as row 0 of s + i",
    )
    columns: Columns = Field(default_factory=dict, description=COLUMNS_HELP)
    format: FormatName = Field(default="auto", description=FORMAT_HELP)


# ── filters ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class PythonVersionFilter(Part):
    """Python code in the answers must be of this version of the language."""

    type: Literal["python_version"]
    keep: Literal["3", "2"] = Field(default="3", description="the version whose rows stay")
    broken: Literal["keep", "remove"] = Field(
        default="remove", description="what to do with code that is of neither version"
    )


class QualityFilter(Part):
    """Turns, lengths, repetition, refusals and damaged characters."""

    type: Literal["quality"]
    min_turns: int = Field(default=1, ge=1, description="fewest answers of the assistant")
    max_turns: int | None = Field(default=None, ge=1, description="most answers of the assistant")
    min_answer_chars: int = Field(default=1, ge=0, description="shortest last answer, its calls included")
    max_answer_chars: int | None = Field(default=None, ge=1, description="longest last answer")
    min_question_chars: int = Field(default=1, ge=0, description="shortest text of the user, all turns together")
    alternate: bool = Field(default=True, description="take rows where two users or two assistants follow each other")
    max_repetition: float = Field(
        default=0.2, gt=0, le=1, description="largest share of an answer's words in repeated runs of ten"
    )
    refusals: Literal["keep", "remove"] = Field(
        default="remove", description="answers that open with a refusal, or speak of themselves as an AI"
    )


class MojibakeFilter(Part):
    """Text decoded with the wrong encoding: `â€™` for an apostrophe."""

    type: Literal["mojibake"]
    action: Literal["repair", "remove"] = Field(
        default="repair", description="repair needs the extra `data`; a row that cannot be repaired is taken"
    )


class LanguageFilter(Part):
    """The language that the row is written in, by py3langid (extra `data`)."""

    type: Literal["language"]
    keep: tuple[str, ...] = Field(min_length=1, description="two-letter codes of ISO 639-1: [en, de]")
    least_letters: int = Field(
        default=40, ge=1, description="a text with fewer letters tells no language, and its row stays"
    )
    least_confidence: float = Field(
        default=0.5, ge=0, le=1, description="a language told with less is not trusted, and its row stays"
    )


class DuplicatesFilter(Part):
    """Rows that say the same as an earlier one, messages and tools alike."""

    type: Literal["duplicates"]
    of: Literal["row", "question"] = Field(default="row", description="compare all messages, or the user's only")


class NearDuplicatesFilter(Part):
    """Rows that nearly say the same as an earlier one, by MinHash (extra `data`)."""

    type: Literal["near_duplicates"]
    threshold: float = Field(
        default=0.8, ge=0.3, lt=1, description="Jaccard similarity of their runs of words from which rows are alike"
    )
    words: int = Field(default=3, ge=1, le=32, description="words in a run")
    permutations: int = Field(default=128, ge=32, le=512, description="more are more exact and slower")


Kind = Literal[
    "private-key", "aws-key", "github-token", "openai-key", "anthropic-key", "huggingface-token", "google-key",
    "slack-token", "stripe-key", "jwt", "password", "email", "phone", "card", "iban", "ssn",
]  # fmt: skip


class SecretsFilter(Part):
    """Keys, tokens and passwords, and what tells who a person is."""

    type: Literal["secrets"]
    action: Literal["mask", "remove", "flag"] = Field(
        default="mask", description="mask: `[email]` takes its place; flag: its kinds go to `meta.secrets`"
    )
    kinds: tuple[Kind, ...] = Field(default=(), description="what to look for; default: everything")


class CustomFilter(Part):
    """A function of yours: row in; True, False, a reason to take it, or the changed row out."""

    type: Literal["custom"]
    function: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="`module:name`, from the current folder too")


Filter = Annotated[
    PythonVersionFilter
    | QualityFilter
    | MojibakeFilter
    | LanguageFilter
    | DuplicatesFilter
    | NearDuplicatesFilter
    | SecretsFilter
    | CustomFilter,
    Field(discriminator="type"),
]


class OwnRows(Part):
    """An evaluation whose suite brings its own rows."""

    suite: str = Field(description="as in `evaluate`")
    options: dict[str, Any] = Field(default_factory=dict, description="as in `evaluate`")
    limit: int | None = Field(default=None, ge=1, description="as in `evaluate`")
    seed: int = Field(default=0, ge=0, description="as in `evaluate`")


class Decontaminate(Part):
    """What training rows are compared with, beside the test rows and all evaluation sets of the recipe."""

    against: tuple[str, ...] = Field(
        default=(), description="further files of evaluation rows, in any format, taken from the folder of the recipe"
    )
    action: Literal["fail", "remove"] = Field(
        default="fail", description="fail shows the pairs and stops; remove takes the training rows, and counts them"
    )

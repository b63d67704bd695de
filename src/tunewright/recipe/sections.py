"""What the user wrote: the header of a recipe and one section a stage, in pipeline order.

Every model is frozen and refuses unknown keys. The string of each field is its help: the JSON Schema, `docs/recipe.md`
and the error messages are made from it. A field that names an earlier stage carries a `Ref`, which says what that stage
must have made. `EXAMPLES` are shown with errors.

`resolve` fills what a section takes from elsewhere (model and seed of the header, the fields that go with the type of
its weighting), so that a resolved section alone says what the stage does; the fingerprint is taken from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tunewright.recipe.clashes import refuse
from tunewright.recipe.data_sections import (
    COLUMNS_HELP,
    FORMAT_HELP,
    CsvSource,
    Decontaminate,
    Filter,
    FormatName,
    GeneratedSource,
    OwnRows,
    PackageSource,
    ParquetSource,
)
from tunewright.recipe.evaluating import clashes as evaluate_clashes
from tunewright.recipe.evaluating import decision_clashes
from tunewright.recipe.weighting import KINDS, clashes, defaults

NAME_PATTERN = r"^[a-z][a-z0-9_-]*$"


@dataclass(frozen=True)
class Ref:
    """Marks a field that names an earlier stage: `id`, or `id.part` for the parts of a dataset.

    `makes` is the artifact the named stage must make: rows, adapter or scores. With `or_model` any model (alias,
    folder, GGUF file, hub id) is right too.
    """

    makes: Literal["rows", "adapter", "scores"]
    or_model: bool = False


RowsRef = Annotated[str, Ref("rows")]
ScoresRef = Annotated[str, Ref("scores")]
ModelOrAdapterRef = Annotated[str, Ref("adapter", or_model=True)]


class Section(BaseModel):
    """Base of all parts of a recipe."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class StageSection(Section):
    """Base of the sections that are stages."""

    id: str = Field(
        default="", pattern=r"^$|" + NAME_PATTERN, description="name of this stage in the recipe; default: its kind"
    )


# ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class BfclSource(Section):
    """Rows from the Berkeley Function-Calling data in the installed package `bfcl-eval`."""

    type: Literal["bfcl"]
    categories: tuple[
        Literal[
            "simple_python",
            "live_simple",
            "multiple",
            "live_multiple",
            "parallel",
            "live_parallel",
            "parallel_multiple",
            "live_parallel_multiple",
            "irrelevance",
            "live_irrelevance",
        ],
        ...,
    ] = Field(
        default=("simple_python", "live_simple", "multiple"), min_length=1, description="which parts of BFCL v4 to read"
    )


class JsonlSource(Section):
    """Rows from a JSON-lines file."""

    type: Literal["jsonl"]
    path: str = Field(description="the file, taken from the folder of the recipe")
    columns: dict[str, str] = Field(default_factory=dict, description=COLUMNS_HELP)
    format: FormatName = Field(default="auto", description=FORMAT_HELP)


class HubSource(Section):
    """Rows from a data set on the Hugging Face hub, streamed, or a local folder in the same layout."""

    type: Literal["hub"]
    name: str = Field(description="the data set: `owner/name`, or a local folder")
    config: str | None = Field(default=None, description="its configuration, when it has several")
    part: str = Field(default="train", description="its split")
    revision: str | None = Field(
        default=None, description="branch, tag or commit; a run reads, and records, the commit that it then is"
    )
    columns: dict[str, str] = Field(default_factory=dict, description=COLUMNS_HELP)
    format: FormatName = Field(default="auto", description=FORMAT_HELP)


Source = Annotated[
    BfclSource | JsonlSource | ParquetSource | CsvSource | HubSource | PackageSource | GeneratedSource,
    Field(discriminator="type"),
]


class Split(Section):
    """How rows are held out. No group stands on both sides."""

    # strict: 1.0 is neither a share below 1 nor a whole number, and 2.7 rows there are none
    test: Annotated[float, Field(gt=0, lt=1)] | Annotated[int, Field(ge=1, strict=True)] = Field(
        default=0.2,
        description="rows to hold out: a share below 1, or a whole number; whole groups, so at least that many",
    )


class DataSection(StageSection):
    """Read rows, filter them, render and measure them, drop what does not fit, split by group, compare the parts."""

    model: str | None = Field(
        default=None, description="whose tokenizer measures the rows; default: the recipe's model"
    )
    seed: int | None = Field(default=None, ge=0, description="seed of the split; default: the recipe's")
    sources: tuple[Source, ...] = Field(min_length=1, description="where rows come from, read in this order")
    filters: tuple[Filter, ...] = Field(default=(), description="what takes or changes rows, in this order")
    engine: Literal["local", "ray"] = Field(
        default="local",
        description="who reads and filters: processes of this machine, or a Ray cluster (extra `ray`); the same rows",
    )
    split: Split = Field(default=Split(), description="how rows are held out for evaluation")
    max_tokens: int | None = Field(
        default=None, ge=16, description="longest row, prompt and answer together; default: the model's context"
    )
    overlong: Literal["error", "drop", "drop_tools"] = Field(
        default="error",
        description="what to do with longer rows: stop; or drop and count them; or take tools from them that they do "
        "not call, and only train on them. What is said is never cut",
    )
    decontaminate: Decontaminate = Field(
        default=Decontaminate(), description="what train is compared with, and what happens to rows that give it away"
    )
    held_out: tuple[RowsRef, ...] | None = Field(
        default=None,
        description="rows of stages above that train is compared with; default: what the recipe evaluates",
    )
    trained_on: tuple[RowsRef, ...] | None = Field(
        default=None,
        description="rows of stages above that test is compared with; default: what the recipe trains on",
    )
    suites: tuple[OwnRows, ...] | None = Field(
        default=None, description="suites with rows of their own to compare with; default: those of the recipe"
    )


# ── probe ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class ProbeSection(StageSection):
    """Find out whether a model is the base, or the assistant, that it is said to be, before anything is trained."""

    model: ModelOrAdapterRef | None = Field(
        default=None, description="an earlier `sft` stage, or any model; default: the recipe's model"
    )
    expect: Literal["base", "instruct"] | None = Field(
        default=None, description="what it should be: the run stops where it is something else; default: only measure"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="arithmetic; auto takes bfloat16 only where the hardware really has it"
    )
    seed: int | None = Field(default=None, ge=0, description="seed of the unconditioned samples")


# ── check ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class CheckSection(StageSection):
    """Look at template, rows and ways of serving before anything is spent. It sees the whole recipe."""

    limit: int = Field(default=500, ge=1, description="rows of each source that are looked at")
    serving: tuple[str, ...] = Field(
        default=(),
        description="how the model will be served: URLs of running servers (`http://127.0.0.1:8000/v1`) and .gguf "
        "files (from the current folder); each must see the tokens that training sees",
    )


# ── evaluate ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Price(Section):
    """What a vendor charges, in USD per million tokens."""

    prompt: float = Field(default=0.0, ge=0, description="tokens of prompts")
    completion: float = Field(default=0.0, ge=0, description="tokens of answers")
    cached_prompt: float | None = Field(
        default=None, ge=0, description="tokens of prompts that the vendor had in its cache; default: as `prompt`"
    )


PLAIN_URL = r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$"
"""without a user, a password or a query, which records would hold"""


class Endpoint(Section):
    """A server of OpenAI's protocol, on this machine or a vendor's."""

    url: str = Field(pattern=PLAIN_URL, description="with the version: `https://api.openai.com/v1`")
    model: str = Field(pattern=r"\S", description="the name that the server knows the model by")
    api_key_env: str | None = Field(
        default=None, pattern=r"^[A-Za-z_]\w*$", description="the environment variable that holds the key, not the key"
    )
    path: Literal["chat", "completions"] = Field(
        default="chat",
        description="chat: it renders the messages with its own template; completions: it gets our tokens",
    )
    as_text: bool = Field(
        default=False, description="`completions`: send the prompt as text, to servers that take no token ids"
    )
    strict_names: bool = Field(
        default=False, description="send names of tools without dots, as some vendors want them, and read them back"
    )
    limit_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="what it calls the longest answer"
    )
    concurrency: int = Field(default=8, ge=1, le=512, description="requests at a time")
    timeout_seconds: float = Field(default=120.0, gt=0, description="for one attempt")
    price: Price = Field(default=Price(), description="for the costs in the scores, and the budget")
    budget_usd: float | None = Field(default=None, gt=0, description="stop before more than this is spent")
    budget_tokens: int | None = Field(default=None, ge=1, description="stop before more than this is used")


class ManagedServer(Section):
    """A model server that is started for the stage and stopped at its end."""

    kind: Literal["transformers", "vllm", "llama.cpp", "mlx"] | None = Field(
        default=None, description="default: the first that is installed and loads the model"
    )
    python: str | None = Field(default=None, description="the Python whose packages hold it; default: this one")
    arguments: tuple[str, ...] = Field(default=(), description="more for its command line")
    path: Literal["chat", "completions"] = Field(
        default="chat",
        description="chat: it renders the messages with its own template; completions: it gets our tokens",
    )
    concurrency: int = Field(default=8, ge=1, le=512, description="requests at a time")


class Decision(Section):
    """What a score must be for the run to go on."""

    metric: str | None = Field(default=None, description="a metric of the suite; default: its main one")
    above: float | None = Field(
        default=None, description="the score must be at least this: `above: 0.6` after training"
    )
    below: float | None = Field(
        default=None, description="the score must be below this: `below: 0.35`, a base that has something to learn"
    )
    on_fail: Literal["stop", "warn"] = Field(default="stop", description="what to do where it is not")

    @model_validator(mode="after")
    def _goes_together(self) -> Decision:
        refuse(decision_clashes(self))
        return self


class EvaluateSection(StageSection):
    """Let a model answer rows, and score the answers with a suite; or score how probable given answers are."""

    model: ModelOrAdapterRef | None = Field(
        default=None, description="an earlier `sft` stage, or any model; default: the recipe's model"
    )
    suite: str = Field(
        pattern=r"\S",
        description="how answers are scored: a built-in suite, a YAML file (from the recipe's folder) or module:name",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="what the suite can be told, by its own names")
    rows: RowsRef | None = Field(
        default=None, description="the rows to answer: `data.test`; left out for suites that bring their own"
    )
    limit: int | None = Field(default=None, ge=1, description="only the first so many rows")
    shots: int = Field(default=0, ge=0, le=16, description="worked examples put in front of every prompt")
    shots_from: RowsRef | None = Field(default=None, description="rows the examples are taken from: `data.train`")
    system: str | None = Field(default=None, description="system text; it takes the place of the row's own")
    template_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="what the chat template is told: `{enable_thinking: false}`"
    )
    max_new_tokens: int | None = Field(
        default=None, ge=1, le=131072, description="longest answer, in tokens; default: the suite's, or 128"
    )
    temperature: float | None = Field(
        default=None, ge=0, le=10, description="0 is greedy, above, answers are drawn; default: the suite's, or 0"
    )
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="draw from the likeliest words of this share; default: the suite's, or 1"
    )
    repeats: int = Field(default=1, ge=1, le=1024, description="answers to each row; needs a temperature above 0")
    backend: Literal["hf", "openai", "server"] = Field(
        default="hf", description="who answers: this process, an `endpoint`, or a server that is started for it"
    )
    endpoint: Endpoint | None = Field(default=None, description="`openai`: whom to ask")
    server: ManagedServer | None = Field(default=None, description="`server`: what to start")
    batch_size: int = Field(default=32, ge=1, description="rows generated together")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="arithmetic; auto takes bfloat16 only where the hardware really has it"
    )
    require: Decision | None = Field(default=None, description="a decision point: go on only with such a score")
    most_unscored: float = Field(
        default=0.01, ge=0, le=1, description="share of answers that may come without a score before the stage fails"
    )
    require_sandbox: Literal["none", "process", "rlimits", "namespaces", "full"] | None = Field(
        default=None, description="refuse to run code at less isolation than this"
    )
    seed: int | None = Field(
        default=None, ge=0, description="seed of worked examples, drawn answers and a suite's own rows"
    )

    @model_validator(mode="after")
    def _goes_together(self) -> EvaluateSection:
        refuse(evaluate_clashes(self))
        return self


# ── dry_run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class DryRunSection(StageSection):
    """Find out whether a grader may be a reward: a few answers to each of a few rows, graded and looked at."""

    model: ModelOrAdapterRef | None = Field(
        default=None, description="who answers: an earlier `sft` stage, or any model; default: the recipe's model"
    )
    rows: RowsRef = Field(description="the rows to draw prompts from: `data.train`")
    grader: dict[str, Any] | str = Field(
        description="a grader: a mapping, the path of its file (from the current folder), or module:name"
    )
    answers: str | None = Field(
        default=None,
        description="a .jsonl file of answers to these rows, instead of a model's (from the current folder)",
    )
    prompts: int = Field(default=25, ge=2, description="rows to ask")
    samples: int = Field(default=8, ge=2, le=256, description="answers to each of them")
    temperature: float = Field(default=1.0, gt=0, le=10, description="as training will sample")
    max_new_tokens: int = Field(default=256, ge=1, le=131072, description="longest answer, in tokens")
    batch_size: int = Field(default=32, ge=1, description="answers generated together")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="arithmetic; auto takes bfloat16 only where the hardware really has it"
    )
    require_sandbox: Literal["none", "process", "rlimits", "namespaces", "full"] | None = Field(
        default=None, description="refuse to run code at less isolation than this"
    )
    seed: int | None = Field(default=None, ge=0, description="seed of the rows and the answers")


# ── sft ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685)."""

    rank: int = Field(default=16, ge=1, le=1024, description="rank of the update")
    alpha: float = Field(default=32.0, gt=0, description="the update is scaled by alpha / rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout on the adapter's input")
    lr_ratio: float = Field(
        default=1.0, ge=1, description="LoRA+: the B matrices learn so many times faster (arXiv:2402.12354)"
    )
    targets: str | tuple[str, ...] = Field(
        default="all-linear", description="module names that get an adapter, or `all-linear` (all but the head)"
    )


class EntropyConfig(Section):
    """How much each trained token counts. H is the entropy of the model's prediction in nats, p its probability of the
    label, and Hn = H / ln(vocabulary), in [0, 1]:

    - `none`: 1, plain cross entropy.
    - `linear`: floor + (1 - floor) * Hn^power: doubtful tokens weigh more (EAFT, arXiv:2601.02151, with exact H).
    - `exponential`: exp(sharpness * (Hn - c)) inside `clip`, c the running mean of Hn.
    - `sigmoid`: 1 / (1 + exp(-sharpness * (Hn - midpoint))) (EAFT's sigmoid).
    - `top_quantile`: 1 for the share `quantile` of tokens with the highest H, else 0 (arXiv:2506.01939).
    - `drop_top_quantile`: the opposite, 0 for these (EKSFT without its KL term, arXiv:2605.29303).
    - `conflict_mask`: 0 where both H and p are among the lowest `quantile` of them, else 1 (EAFT's pilot).
    - `dft`: p^exponent; with exponent 1 the loss has the gradient of -p (arXiv:2508.05629).
    - `deft`: p^(sum of the squared probabilities of all words) (arXiv:2602.11424).
    - `focal`: (1 - p)^exponent (arXiv:1708.02002).
    - `threshold_p`: 1 where p is above `threshold`, else 0 (arXiv:2510.00526; ProFit, arXiv:2601.09195).
    - `external`: `meta.token_weights` of the rows, or the tensor that is handed over.

    The loss is scale * sum(weight * -log p) / tokens, its weights normalised first. By default no gradient flows
    through them: where weights rise with H it would reward low entropy itself, that is, collapse.
    """

    type: Literal[
        "none",
        "linear",
        "exponential",
        "sigmoid",
        "top_quantile",
        "drop_top_quantile",
        "conflict_mask",
        "dft",
        "deft",
        "focal",
        "threshold_p",
        "external",
    ] = Field(description="the formula")
    power: float | None = Field(default=None, gt=0, description="`linear`: exponent of Hn, EAFT's alpha; default 1")
    floor: float | None = Field(
        default=None, ge=0, le=1, description="`linear`: weight of a token the model is sure of; default 0.1"
    )
    sharpness: float | None = Field(
        default=None, gt=0, description="`exponential`, `sigmoid`: how fast weights rise; default 1, 30"
    )
    midpoint: float | None = Field(
        default=None, ge=0, le=1, description="`sigmoid`: the Hn that weighs one half; default 0.17"
    )
    clip: tuple[float, float] | None = Field(
        default=None, description="`exponential`: least and greatest weight; default [0.1, 10]"
    )
    quantile: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="`top_quantile`, `drop_top_quantile`: share of tokens with the highest H, default 0.2; "
        "`conflict_mask`: share with the lowest H and p, default 0.15",
    )
    exponent: float | None = Field(default=None, gt=0, description="`dft`, `focal`: default 1, 2")
    threshold: float | None = Field(
        default=None,
        ge=0,
        description="`threshold_p`: least probability, default 0.1; `top_quantile`, `drop_top_quantile`: cut at so "
        "many nats instead of a quantile",
    )
    scope: Literal["sequence", "micro_batch", "global_batch", "ema"] | None = Field(
        default=None,
        description="the tokens a quantile is taken of: each row, one forward pass, the optimizer step on all devices, "
        "or the steps before (one pass, no waiting); default micro_batch",
    )
    eaft_compat: Literal["axolotl", "llama_factory"] | None = Field(
        default=None,
        description="`linear`: the weights that this library ships as EAFT, from the entropy of the top 20 words: "
        "H20^power (axolotl), (H20 / 3)^power (llama_factory); they differ by 3^power and are not normalised",
    )
    normalize: Literal["none", "mean1", "selected"] | None = Field(
        default=None,
        description="mean1: the weights of a forward pass have mean 1; selected: the loss is the mean over the "
        "selected tokens; default mean1 for graded weights, selected for masks, none for `none` and `external`",
    )
    scale: float = Field(default=1.0, gt=0, description="factor on the loss, after the normalisation")
    detach: bool = Field(default=True, description="false: gradients flow through the weights as well")

    @model_validator(mode="after")
    def _goes_together(self) -> EntropyConfig:
        refuse(clashes(self))
        return self

    def resolved(self) -> EntropyConfig:
        """Return the same weighting with the defaults of every field that applies filled in."""
        missing = {name: value for name, value in defaults(self).items() if getattr(self, name) is None}
        return self.model_copy(update=missing) if missing else self

    @property
    def needs_thresholds(self) -> bool:
        """True where weights depend on a quantile, so that they cannot be had from a token alone."""
        return "scope" in KINDS[self.type].defaults and self.threshold is None

    @property
    def is_mask(self) -> bool:
        """True where weights are 0 or 1."""
        return KINDS[self.type].gives == "mask"


class Dev(Section):
    """Rows of training that are held out of it, answered and scored while it runs: is the loss learning the task?"""

    suite: str = Field(pattern=r"\S", description="how answers are scored: as for `evaluate`")
    options: dict[str, Any] = Field(default_factory=dict, description="what the suite can be told, by its own names")
    limit: int = Field(default=20, ge=1, description="so many rows, of groups that are then not trained on")
    every: int | None = Field(
        default=None, ge=1, description="steps between measurements; default: a quarter of them. Step 0 is measured too"
    )
    max_new_tokens: int | None = Field(
        default=None, ge=1, le=131072, description="longest answer, in tokens; default: the suite's, or 128"
    )
    on_fail: Literal["stop", "warn"] = Field(
        default="stop", description="what to do where the loss falls and the score stays at the floor"
    )


class SftSection(StageSection):
    """Supervised fine-tuning of LoRA adapters; the loss covers the assistant's tokens and their end-of-turn."""

    model: str | None = Field(default=None, description="the base model; default: the recipe's model")
    seed: int | None = Field(default=None, ge=0, description="seed of order and initialisation; default: the recipe's")
    rows: RowsRef = Field(description="the rows to train on: `data.train`")
    steps: int | None = Field(default=None, ge=1, description="optimizer steps; give steps or epochs")
    epochs: float | None = Field(default=None, gt=0, description="passes over the rows; give steps or epochs")
    batch_size: int = Field(default=8, ge=1, description="rows in one forward pass")
    gradient_accumulation: int = Field(default=1, ge=1, description="forward passes in one optimizer step")
    gradient_checkpointing: bool = Field(
        default=False, description="keep less for the backward pass and compute it again: less memory, a third slower"
    )
    learning_rate: float = Field(default=1e-3, gt=0, le=1, description="peak learning rate of AdamW")
    schedule: Literal["cosine", "linear", "constant"] = Field(default="cosine", description="shape after the warm-up")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps over which the rate rises")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's decoupled weight decay")
    max_grad_norm: float = Field(default=1.0, gt=0, description="the gradient is clipped to this norm")
    lora: Lora = Field(default=Lora(), description="the adapters")
    weighting: EntropyConfig = Field(
        default=EntropyConfig(type="none"), description="how much each token counts, by the model's doubt: see below"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="arithmetic; auto takes bfloat16 only where the hardware really has it"
    )
    save_every: int = Field(
        default=10, ge=1, description="steps between checkpoints; a killed run resumes from the last"
    )
    log_every: int = Field(default=1, ge=1, description="steps between lines of metrics.jsonl")
    trackers: tuple[Literal["trackio", "wandb", "mlflow"], ...] = Field(
        default=(), description="send the metrics there too; metrics.jsonl and TensorBoard are always written"
    )
    dev: Dev | None = Field(default=None, description="score a few held-out training rows while it trains")


# ── compare ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Require(Section):
    """What the candidate must reach for the comparison to pass."""

    metric: str = Field(description="a metric of the suite: args_exact")
    better_by: float = Field(
        default=0.0,
        ge=0,
        description="least difference to the baseline (0.1 is ten points); and it must be significant",
    )
    on_fail: Literal["stop", "warn"] = Field(default="stop", description="what to do where it is not")


class CompareSection(StageSection):
    """Is the candidate better than the baseline, and how sure are we? Paired by row."""

    baseline: ScoresRef = Field(description="the `evaluate` stage to beat")
    candidate: ScoresRef = Field(description="the `evaluate` stage that should win")
    beside: tuple[ScoresRef, ...] = Field(
        default=(), description="further baselines the candidate is compared with: the base model with worked examples"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="coverage of the intervals")
    require: Require | None = Field(default=None, description="fail unless the candidate is better by so much")
    seed: int | None = Field(default=None, ge=0, description="seed of the permutation test and the bootstrap")


SECTIONS: dict[str, type[StageSection]] = {
    "check": CheckSection,
    "probe": ProbeSection,
    "data": DataSection,
    "evaluate": EvaluateSection,
    "dry_run": DryRunSection,
    "sft": SftSection,
    "compare": CompareSection,
}

MAKES: dict[str, str] = {
    "check": "verdict",
    "probe": "verdict",
    "data": "rows",
    "evaluate": "scores",
    "dry_run": "verdict",
    "sft": "adapter",
    "compare": "comparison",
}

PARTS: dict[str, tuple[str, ...]] = {"data": ("train", "test")}

EXAMPLES: dict[str, str] = {
    "recipe": "recipe: my-first-run",
    "model": "model: smollm2-135m-instruct",
    "budget": "budget: {hours: 2, usd: 5}",
    "stages": "stages:\n  - data: {sources: [{type: jsonl, path: rows.jsonl}]}",
    "probe": "- probe: {expect: base}",
    "data": "- data: {sources: [{type: jsonl, path: rows.jsonl}], split: {test: 150}}",
    "data.filters": "filters: [{type: quality}, {type: duplicates}]",
    "data.decontaminate": "decontaminate: {against: [held_out.csv]}",
    "evaluate": "- evaluate: {id: before, suite: tool-calls, rows: data.test}",
    "evaluate.endpoint": "endpoint: {url: http://127.0.0.1:8000/v1, model: my-model}",
    "evaluate.server": "server: {kind: llama.cpp}",
    "evaluate.require": "require: {metric: args_exact, below: 0.35}",
    "evaluate.template_kwargs": "template_kwargs: {enable_thinking: false}",
    "check": "- check: {}",
    "check.serving": "serving: [http://127.0.0.1:8000/v1, my-model.Q8_0.gguf]",
    "dry_run": "- dry_run: {rows: data.train, grader: grader.json}",
    "sft": "- sft: {rows: data.train, steps: 60, learning_rate: 1e-3}",
    "compare": "- compare: {baseline: before, candidate: after}",
    "sft.weighting": "weighting: {type: linear, floor: 0.1}",
    "sft.dev": "dev: {suite: tool-calls, limit: 20}",
    "sft.learning_rate": "learning_rate: 1e-3",
    "compare.require": "require: {metric: args_exact, better_by: 0.1}",
}


class Budget(Section):
    """What a run may take: what does not fit is refused, what overruns is stopped, and what is done is kept."""

    hours: float | None = Field(default=None, gt=0, description="working time of all stages")
    usd: float | None = Field(default=None, gt=0, description="that time at the price of the machine")
    usd_per_hour: float | None = Field(
        default=None, gt=0, description="what the machine costs; default: the secure price of its GPU in the catalogue"
    )


class Header(Section):
    """The head of a recipe: everything but its stages."""

    recipe: str = Field(pattern=NAME_PATTERN, description="name; runs are kept in runs/NAME/")
    hypothesis: str = Field(default="", description="what you expect and why; it opens the journal of every run")
    seed: int = Field(default=7, ge=0, description="seed of everything that is random")
    model: str = Field(description="alias, folder, GGUF file or hub id")
    budget: Budget | None = Field(default=None, description="hours and USD that a run may take; none: no limit")


class Recipe(Header):
    """A recipe after loading: the header, and its stages in order, each resolved."""

    stages: tuple[tuple[str, Any], ...] = Field(min_length=1, description="(kind, section) in order")

    def ids(self) -> list[str]:
        """Return the ids of all stages, in order."""
        return [section.id for _, section in self.stages]

    def resolved(self) -> dict[str, Any]:
        """Return the whole recipe with every default filled in, as plain JSON values."""
        head = self.model_dump(mode="json", exclude={"stages"})
        stages = [{kind: section.model_dump(mode="json")} for kind, section in self.stages]
        return {**head, "stages": stages}


def resolve(kind: str, section: StageSection, header: Header) -> StageSection:
    """Return `section` with id, model and seed filled from the header, and weighting from its type, where left open."""
    fields = type(section).model_fields
    update: dict[str, Any] = {"id": section.id or kind}
    for name in ("model", "seed"):
        if name in fields and getattr(section, name) is None:
            update[name] = getattr(header, name)
    if isinstance(section, SftSection):
        update["weighting"] = section.weighting.resolved()
    return section.model_copy(update=update)


def is_name(text: str) -> bool:
    """True if `text` may name a recipe or a stage."""
    return re.fullmatch(NAME_PATTERN, text) is not None

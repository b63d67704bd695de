"""Gates on a model as it comes: are its weights all there, has every token a row, does it read the rows it is given?

weights_are_whole       the files hold every tensor of the model that config.json describes, in its shape
tokens_have_embeddings  no token that is written lies beyond the embedding matrix
first_loss_is_finite    no loss of the trial's steps is NaN or infinite
model_reads_the_rows    the untouched model does better on the rows than a uniform guess
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tunewright.artifacts.trial import Reading
from tunewright.artifacts.verdict import Verdict, judge, some_of
from tunewright.models.weights import WeightFacts

NAMED = 3
# A uniform guess among V tokens costs ln V. Sound models stay below 0.6 of it even on what they hardly know (SmolLM2
# on Chinese, base64); with another tokenizer, rope or activation they are at 0.6 to 1.3: docs/pipeline/check.md.
READABLE = 0.6
# A model made by chance is a guess, and worse by half the variance of its logits: 0.1 nats for those that people try
# their pipelines with, 0.8 with 4096 numbers a state. So only what lies above that is an error beyond doubt.
WORSE_THAN_A_GUESS_NATS = 1.0


def weights_are_whole(facts: WeightFacts | None) -> Verdict:
    """FAILED if the weight files lack a tensor of the model, or have it in another shape. PASSED where none is there.

    The library fills what is missing with random numbers, logs it and goes on: the model then is a worse one.
    """
    missing, shapes = (facts.missing, facts.shapes) if facts else ((), {})
    parts = []
    if missing:
        parts.append(f"{len(missing)} are not in the files: {_listed(missing)}")
    if shapes:
        told = [f"{name} {there} for {wanted}" for name, (there, wanted) in shapes.items()]
        parts.append(f"{len(shapes)} have another shape: {_listed(told)}")
    of = f"of {facts.num_tensors} tensors " if facts else ""
    return judge(
        "weights_are_whole",
        not parts,
        measured=of + ("; ".join(parts) or "none is missing") if facts else "no weights at hand, or quantised ones",
        bound="every tensor that config.json speaks of, in its shape",
        remedy="get the model again, whole, with the config.json that it was published with"
        if missing
        else "config.json is another model's: take the one that was published with these weights",
    )


def tokens_have_embeddings(beyond: Mapping[str, int], num_rows: int | None) -> Verdict:
    """FAILED if tokens that the template or the rows write have ids beyond the embedding: there is no vector for them.

    Tokens beyond it that nothing writes are no fault: Gemma 3 1B has one, for images.

    Args:
        beyond: token -> id, of those that are written and lie beyond.
        num_rows: of the embedding matrix; None where no config says.
    """
    told = [f"`{token}` is {at}" for token, at in beyond.items()]
    return judge(
        "tokens_have_embeddings",
        not beyond,
        measured=f"{len(beyond)} tokens that are written lie beyond the {num_rows} rows of the embedding"
        + (f": {_listed(told)}" if told else "")
        if num_rows is not None
        else "no config says how many rows the embedding has",
        bound="none",
        remedy="take the tokenizer that was published with these weights; or add the rows "
        "(`model.resize_token_embeddings`), save the model and train them",
    )


def first_loss_is_finite(losses: Sequence[float | None]) -> Verdict:
    """FAILED if a loss of the trial's steps is NaN or infinite (None), before the training that would have it.

    Args:
        losses: mean -log p of the trained tokens of each step; the first is of the model as it comes.
    """
    at_once = bool(losses) and losses[0] is None
    return judge(
        "first_loss_is_finite",
        None not in losses,
        measured=f"losses of {len(losses)} steps, in nats a trained token: "
        + ", ".join("not finite" if loss is None else f"{loss:.3g}" for loss in losses),
        bound="all finite",
        remedy="the model gives no number before anything is trained: a weight is NaN or infinite, so get the model "
        "again; or its numbers do not fit bfloat16, so try `precision: float32`"
        if at_once
        else "one step ruined it: lower `learning_rate`, or train in float32",
    )


def model_reads_the_rows(reading: Reading) -> Verdict:
    """FAILED if the untouched model reads neither the rows nor its template better than a guess; WARNED if hardly.

    A model whose tokenizer, config or weights are another's is sure of the wrong tokens: its mean -log p lies about
    ln V or above it. One that has never met the language of the rows still knows the frame that its template writes
    (`<|im_start|>assistant`), and a base that has never met the frame still reads the text: so the better of both
    counts.
    """
    guess = math.log(reading.vocab_size)
    known = [value for value in (reading.rows, reading.frame) if value is not None]
    best = min(known, default=math.inf)
    return judge(
        "model_reads_the_rows",
        best <= READABLE * guess,
        measured=f"{_nats(reading.rows)} a token over {reading.tokens} tokens of rows, {_nats(reading.frame)} on what "
        "the template writes before an answer",
        bound=f"one of them at most {READABLE * guess:.1f}; a guess among {reading.vocab_size} tokens has {guess:.1f}",
        remedy="tokenizer.json, config.json and the weights may not be of one model: get all three from one place and "
        "one revision; if they are, this model was never trained, or never met the language of these rows",
        warn=best <= guess + WORSE_THAN_A_GUESS_NATS,
    )


def _nats(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2f} nats"


def _listed(texts: Sequence[str]) -> str:
    return some_of(texts, NAMED)

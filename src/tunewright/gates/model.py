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
from tunewright.artifacts.verdict import Verdict, judge
from tunewright.models.weights import WeightFacts

NAMED = 3
# One nat above a uniform guess: a model made by chance does not come that far, it is as good as the guess. Real models
# read even what they hardly know (Chinese, base64, SmolLM2 of English) at half of ln V; with another tokenizer, rope or
# activation the same model is 0 to 10 nats above it. docs/pipeline/check.md has the numbers.
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
        measured=f"losses of {len(losses)} steps: "
        + ", ".join("not finite" if loss is None else f"{loss:.3g}" for loss in losses),
        bound="all finite",
        remedy="the model gives no number before anything is trained: a weight is NaN or infinite, so get the model "
        "again; or its numbers do not fit bfloat16, so try `precision: float32`"
        if at_once
        else "one step ruined it: lower `learning_rate`, or train in float32",
    )


def model_reads_the_rows(reading: Reading) -> Verdict:
    """FAILED if the untouched model reads the rows, and the frame around their answers, worse than a uniform guess.

    A model whose tokenizer, config or weights are another's is sure of the wrong tokens: its mean -log p lies above
    ln V. One that does not know the language of the rows may do so too, but it knows the frame that its template writes
    (`<|im_end|>`, `<|im_start|>assistant`), and a base that does not know the frame reads the text. So FAILED is for
    both, a nat above ln V; rows above ln V alone are WARNED of.
    """
    guess = math.log(reading.vocab_size)
    rows, frame = reading.rows, reading.frame
    readable = rows is not None and rows <= guess
    neither = all(value is None or value > guess + WORSE_THAN_A_GUESS_NATS for value in (rows, frame))
    return judge(
        "model_reads_the_rows",
        readable,
        measured=f"{_nats(rows)} a token over {reading.tokens} tokens of rows, "
        f"{_nats(frame)} on the template around their answers",
        bound=f"below {guess:.2f}, a guess among {reading.vocab_size} tokens; "
        f"both {WORSE_THAN_A_GUESS_NATS:g} above it is no model of this text",
        remedy="tokenizer.json, config.json and the weights are not of one model: get all three from one place and one "
        "revision"
        + ("" if neither else "; if they are, it was never trained, or never met the language of these rows"),
        warn=not neither,
    )


def _nats(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2f} nats"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:NAMED]) + (", …" if len(texts) > NAMED else "")

"""The probes: each asks the subject something and returns what it measured. Greedy, or drawn with the run's seed."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from statistics import mean
from typing import Literal

from tunewright.artifacts.probed import ProbeResult
from tunewright.backends.protocol import Continuation, Prompt, Sampling
from tunewright.chat.forms import TEXT_TOKENS
from tunewright.models.control_tokens import TokenTraining, control_token_training, unused_rows
from tunewright.stages.probe.sentinels import (
    ANSWER_TOKENS,
    IDENTITY,
    INSTRUCTIONS,
    PASSAGES,
    QUESTIONS,
    REFUSALS,
    Sentinel,
    is_chat,
    opens_as_assistant,
)
from tunewright.stages.probe.subject import Subject, document_opening
from tunewright.stats.intervals import rate_interval, t_interval

NUM_SAMPLES, SAMPLE_TOKENS = 24, 32
CLOSES = 0.5  # of the next token's probability: the turn is more likely closed than not
LEAST_GAIN = 0.1  # nats a token that an opening token must bring on plain prose
TRAINED = 2.0  # of the farthest distance among unused rows (`models/control_tokens.py`)
SHUFFLES = 7  # of the control's words; the same for every model


@dataclass(frozen=True)
class Answer:
    """A text the subject wrote."""

    probe: str
    prompt: str
    text: str
    stopped: bool
    counts: bool


def with_opening(subject: Subject) -> tuple[Subject, float]:
    """Return the subject with its document token in front where prose is likelier so, and by how many nats a token."""
    token = document_opening(subject.codec)
    if not token:
        return subject, 0.0
    opened = replace(subject, opening=token)
    gain = _mean_log_prob(opened) - _mean_log_prob(subject)
    return (opened if gain > LEAST_GAIN else subject), gain


def _mean_log_prob(subject: Subject) -> float:
    asked = [subject.continued(str(at), first, " " + second) for at, (first, second) in enumerate(PASSAGES)]
    return mean(value for values in subject.log_probs(asked).values() for value in values)


def reads_language(subject: Subject) -> ProbeResult:
    """The control: how often the second half of a passage is likelier than the same words shuffled."""
    asked = []
    for at, (first, second) in enumerate(PASSAGES):
        asked.append(subject.continued(f"{at}", first, " " + second))
        asked.append(subject.continued(f"{at}-shuffled", first, " " + shuffled(second, at)))
    found = {name: sum(values) for name, values in subject.log_probs(asked).items()}
    return rate("natural_text", [found[f"{at}"] > found[f"{at}-shuffled"] for at in range(len(PASSAGES))])


def shuffled(text: str, seed: int) -> str:
    """Return the words of a text in another order."""
    words = text.split()
    random.Random(f"{SHUFFLES}-{seed}").shuffle(words)
    return " ".join(words)


# ── what it writes ──────────────────────────────────────────────────────────────────────────────────────────────────


def asked(subject: Subject, seed: int) -> tuple[list[ProbeResult], list[Answer]]:
    """Put every sentinel to the subject as plain text; return the rates and the answers."""
    sentinels = (*INSTRUCTIONS, *IDENTITY, *REFUSALS)
    prompts = [Prompt(one.id, subject.plain(f"{one.prompt}\n")) for one in sentinels]
    answers = _answers(subject, sentinels, prompts, seed)
    orders, rest = answers[: len(INSTRUCTIONS)], answers[len(INSTRUCTIONS) :]
    rates = [
        rate("instructions", [answer.counts for answer in orders], _by_kind(orders)),
        *_stops("stops_by_itself", subject, answers),
        rate("assistant_openers", [opens_as_assistant(answer.text) for answer in answers]),
        rate("identity", [answer.counts for answer in rest if answer.probe == "identity"]),
        rate("refusals", [answer.counts for answer in rest if answer.probe == "refusal"]),
    ]
    return rates, answers


def asked_in_form(subject: Subject, seed: int, plain: Sequence[Answer]) -> tuple[list[ProbeResult], list[Answer]]:
    """Put the instructions to the subject inside the chat form: does it follow them there, and end its turn?

    Args:
        subject: the model.
        seed: of nothing, while decoding is greedy.
        plain: what `asked` returned: the answers to the same instructions without the form come first.
    """
    if subject.renderer is None:
        return [], []
    render = subject.renderer.prompt
    prompts = [Prompt(one.id, tuple(render([{"role": "user", "content": one.prompt}]))) for one in INSTRUCTIONS]
    answers = [replace(one, probe=f"{one.probe}, in form") for one in _answers(subject, INSTRUCTIONS, prompts, seed)]
    gains = [float(there.counts) - here.counts for there, here in zip(answers, plain, strict=False)]
    return [
        rate("instructions_in_form", [answer.counts for answer in answers], _by_kind(answers)),
        mean_of("instructions_gain", gains, "of all instructions"),
        *_stops("stops_in_form", subject, answers),
    ], answers


def _answers(subject: Subject, sentinels: Sequence[Sentinel], prompts: Sequence[Prompt], seed: int) -> list[Answer]:
    written = _generate(subject, prompts, Sampling(ANSWER_TOKENS, seed=seed))
    return [
        Answer(one.kind, one.prompt, text, stopped, one.check(text))
        for one, (text, stopped) in zip(sentinels, written, strict=True)
    ]


def _stops(name: str, subject: Subject, answers: Sequence[Answer]) -> list[ProbeResult]:
    """How often it ended its turn; nothing where the tokenizer has no token for that."""
    return [rate(name, [answer.stopped for answer in answers])] if subject.turn_ends else []


def _by_kind(answers: Sequence[Answer]) -> str:
    met = {
        kind: [one.counts for one in answers if one.probe == kind] for kind in dict.fromkeys(a.probe for a in answers)
    }
    return ", ".join(f"{kind} {sum(counts)}/{len(counts)}" for kind, counts in met.items())


def _generate(subject: Subject, prompts: Sequence[Prompt], sampling: Sampling) -> list[tuple[str, bool]]:
    """Return each text up to where it ends, and whether it ended its turn: the end of a text is none."""
    found = {one.id: one for batch in subject.backend.generate(prompts, sampling) for one in batch}
    written = []
    for prompt in prompts:
        one = found[prompt.id]
        ids = list(takewhile(lambda token: token not in subject.text_ends, one.token_ids))
        written.append((subject.codec.decode(ids), one.finish == "stop" and len(ids) == len(one.token_ids)))
    return written


def unconditioned(subject: Subject, seed: int) -> tuple[ProbeResult, list[Answer]]:
    """Let the subject write from nothing, drawn at temperature 1; return how often it is a chat."""
    prompts = [Prompt(f"sample-{at}", subject.start) for at in range(NUM_SAMPLES)]
    written = _generate(subject, prompts, Sampling(SAMPLE_TOKENS, temperature=1.0, seed=seed))
    answers = [Answer("unconditioned", "", text, stopped, is_chat(text)) for text, stopped in written]
    return rate("unconditioned_chat", [answer.counts for answer in answers]), answers


# ── what it expects ─────────────────────────────────────────────────────────────────────────────────────────────────


def closes_turns(subject: Subject) -> list[ProbeResult]:
    """How often a finished answer is more likely closed than not: as plain text, and inside the chat form.

    A sentence of prose that is closed as well takes its answer's place: then it is the length that closes, no chat.
    """
    if not subject.turn_ends:
        return []
    prose = _closing_masses(subject, [subject.plain(f"{first} {second}") for first, second in PASSAGES])
    plain = _closing_masses(subject, [subject.plain(f"{question}\n{answer}") for question, answer in QUESTIONS])
    found = [_closing("turn_closing_plain", plain, prose)]
    if subject.renderer is not None:
        chats = [
            subject.renderer.continuation(answer, [{"role": "user", "content": question}])[0]
            for question, answer in QUESTIONS
        ]
        found.append(_closing("turn_closing_in_form", _closing_masses(subject, [tuple(ids) for ids in chats]), prose))
    return found


def _closing(name: str, masses: Sequence[float], control: Sequence[float]) -> ProbeResult:
    told = f"mean mass {mean(masses):.2g}; {mean(control):.2g} behind prose"
    return rate(name, [mass >= CLOSES > other for mass, other in zip(masses, control, strict=True)], told)


def _closing_masses(subject: Subject, texts: Sequence[tuple[int, ...]]) -> list[float]:
    """Return the probability that the next token ends the turn, one a text."""
    asked = [
        Continuation(f"{at}-{end}", (*ids, end), len(ids)) for at, ids in enumerate(texts) for end in subject.turn_ends
    ]
    found = subject.log_probs(asked)
    return [sum(math.exp(found[f"{at}-{end}"][0]) for end in subject.turn_ends) for at in range(len(texts))]


def template_lift(subject: Subject) -> list[ProbeResult]:
    """How much likelier an answer is inside the chat form than behind the bare question, in nats a token."""
    if subject.renderer is None:
        return []
    asked = []
    for at, (question, answer) in enumerate(QUESTIONS):
        ids, start = subject.renderer.continuation(answer, [{"role": "user", "content": question}])
        asked.append(Continuation(f"{at}-form", tuple(ids), start))
        asked.append(subject.continued(f"{at}-plain", f"{question}\n", answer))
    found = {name: mean(values) for name, values in subject.log_probs(asked).items()}
    lifts = [found[f"{at}-form"] - found[f"{at}-plain"] for at in range(len(QUESTIONS))]
    return [mean_of("template_lift", lifts, "nats a token")]


# ── what was trained ────────────────────────────────────────────────────────────────────────────────────────────────


def control_tokens(subject: Subject) -> list[ProbeResult]:
    """How many control tokens of the chat form lie apart from rows that were never trained; none: not to be told."""
    found = [token for token in _control_tokens(subject) if token.token not in TEXT_TOKENS]
    if not found:
        return []
    told = ", ".join(f"{token.token} {token.distance:.1f}" for token in found)
    return [rate("control_tokens_trained", [token.distance > TRAINED for token in found], told)]


def _control_tokens(subject: Subject) -> list[TokenTraining]:
    if subject.renderer is None:
        return []
    chat = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    added, model = subject.codec.added, subject.backend.model
    rendered = subject.renderer.conversation(chat).token_ids
    used = {added[token]: token for token in rendered if added.get(token, "").strip()}  # Gemma adds the line break too
    vocabulary = subject.codec.tokenizer.get_vocab_size(with_added_tokens=True)
    num_rows = model.get_input_embeddings().weight.shape[0]
    return control_token_training(model, used, unused_rows(added, vocabulary, num_rows))


def rate(name: str, outcomes: Sequence[bool], note: str = "") -> ProbeResult:
    """Return the rate of successes among `outcomes`, at least one, with Wilson's 95% interval."""
    successes, trials = sum(outcomes), len(outcomes)
    low, high = rate_interval(successes, trials)
    return ProbeResult(
        name=name, value=successes / trials, low=low, high=high, trials=trials, successes=successes, note=note
    )


def mean_of(name: str, values: Sequence[float], unit: Literal["nats a token", "of all instructions"]) -> ProbeResult:
    """Return the mean of `values`, at least two, with Student's 95% interval."""
    value, low, high, _ = t_interval(values, [str(at) for at in range(len(values))])
    return ProbeResult(name=name, value=value, low=low, high=high, trials=len(values), successes=None, unit=unit)

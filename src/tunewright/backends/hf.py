"""Backend `hf`: generation with transformers models, many rows at a time. Legend: B rows, S prompt tokens, V words.

Rows of similar length go together, finished rows leave the batch, the tokens that all prompts begin with (the
instructions, worked examples) are computed once, a prompt that is asked several times too, and on a CPU several batches
run at a time. Batches are planned from all prompts, done or not, so that a resumed evaluation adds up the same numbers
in the same order as an undisturbed one. Log-probabilities of given texts: `log_probs.py`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any, TypeVar

import torch

from tunewright.backends.draw import Picker
from tunewright.backends.kv import use_grouped_attention
from tunewright.backends.log_probs import plan_continuations, score_batch
from tunewright.backends.prefill import Reader, Start
from tunewright.backends.protocol import Completion, Continuation, ContinuationScore, Prompt, Sampling
from tunewright.errors import ModelError

MAX_WORKERS = 4  # each holds the keys and values of a batch

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


@dataclass
class HfBackend:
    """Generates with a loaded model.

    Args:
        model: a causal language model of transformers, in eval mode.
        stop_token_ids: any of these ends an answer.
        pad_token_id: fills shorter rows on the left; masked out.
        batch_size: rows generated together.
        decode: ids to text; needed where `Sampling.stop` is given.
    """

    model: Any
    stop_token_ids: tuple[int, ...]
    pad_token_id: int
    batch_size: int = 32
    decode: Callable[[Sequence[int]], str] | None = None

    def __post_init__(self) -> None:
        _require_cache(self.model)
        self._reader = Reader(self.model, self.pad_token_id, plain=use_grouped_attention(self.model))

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling, done: AbstractSet[str] = frozenset()
    ) -> Iterator[list[Completion]]:
        """See `Backend.generate`."""
        batches = plan_batches(prompts, self.batch_size, self._workers)
        open_batches = [batch for batch in batches if not all(prompt.id in done for prompt in batch)]
        if not open_batches:
            return
        start = self._start([prompt.token_ids for prompt in prompts])

        def work(batch: list[Prompt], stop: Event) -> list[Completion]:
            with torch.inference_mode():  # a setting of each thread
                return self._generate_batch(batch, start, sampling, stop)

        yield from in_order(work, open_batches, min(self._workers, len(batches)))

    def log_probs(
        self, continuations: Sequence[Continuation], done: AbstractSet[str] = frozenset()
    ) -> Iterator[list[ContinuationScore]]:
        """See `LogProbBackend.log_probs`."""
        batches = plan_continuations(continuations, self.batch_size)
        open_batches = [batch for batch in batches if not all(one.id in done for one in batch)]
        if not open_batches:
            return
        start = self._start([one.token_ids[: one.start] for one in continuations])

        def work(batch: list[Continuation], stop: Event) -> list[ContinuationScore]:
            with torch.inference_mode():
                return score_batch(self._reader, batch, start, stop)

        yield from in_order(work, open_batches, min(self._workers, len(batches)))

    @property
    def _workers(self) -> int:
        """Batches that run at a time; as many where some are done already: more threads may round otherwise."""
        return min(torch.get_num_threads(), MAX_WORKERS) if self.model.device.type == "cpu" else 1

    @torch.inference_mode()
    def _start(self, rows: Sequence[tuple[int, ...]]) -> Start | None:
        return self._reader.start(rows)

    def _generate_batch(
        self, batch: list[Prompt], start: Start | None, sampling: Sampling, stop: Event
    ) -> list[Completion]:
        began = time.perf_counter()
        reading = self._reader.read([prompt.token_ids for prompt in batch], start)
        picker = Picker([prompt.id for prompt in batch], sampling)
        answers: list[list[int]] = [[] for _ in batch]
        stopped = [False] * len(batch)
        alive = list(range(len(batch)))
        next_ids = picker.pick(reading.logits, alive)
        for step in range(sampling.max_new_tokens):
            if stop.is_set():
                break
            if step:
                next_ids = picker.pick(self._reader.go_on(reading, next_ids), alive)
            kept = self._collect(next_ids.tolist(), alive, answers, stopped, sampling.stop)
            if not kept:
                break
            if len(kept) < len(alive):
                order = reading.keep(kept)
                next_ids, alive = next_ids[order], [alive[place] for place in order]
        return self._completions(batch, answers, stopped, time.perf_counter() - began, sampling.stop)

    def _collect(
        self,
        next_ids: list[int],
        alive: list[int],
        answers: list[list[int]],
        stopped: list[bool],
        stops: Sequence[str],
    ) -> list[int]:
        """Add each row's token to its answer; return the places in `alive` of the rows that go on."""
        kept = []
        for place, (row, token) in enumerate(zip(alive, next_ids, strict=True)):
            if token in self.stop_token_ids:
                stopped[row] = True
                continue
            answers[row].append(token)
            if stops and self._says(answers[row], stops):
                stopped[row] = True
            else:
                kept.append(place)
        return kept

    def _says(self, answer: Sequence[int], stops: Sequence[str]) -> bool:
        """True if the end of an answer holds one of `stops`. Only its end is looked at: a token has a byte or more."""
        assert self.decode is not None, "`Sampling.stop` needs `decode`"
        tail = self.decode(answer[-1 - max(len(stop.encode()) for stop in stops) :])
        return any(stop in tail for stop in stops)

    def _completions(
        self,
        batch: list[Prompt],
        answers: list[list[int]],
        stopped: list[bool],
        seconds: float,
        stops: Sequence[str],
    ) -> list[Completion]:
        work = [len(prompt.token_ids) + len(answer) for prompt, answer in zip(batch, answers, strict=True)]
        return [
            Completion(
                id=prompt.id,
                token_ids=tuple(answer),
                finish="stop" if stop else "length",
                seconds=seconds * tokens / sum(work),
                text=_before(self.decode(answer), stops) if stops and self.decode else None,
            )
            for prompt, answer, stop, tokens in zip(batch, answers, stopped, work, strict=True)
        ]


def _require_cache(model: Any) -> None:
    """Raise ModelError for a model that keeps its state under another name, and would forget it at every token."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    taken = inspect.signature(base.forward).parameters
    if "past_key_values" not in taken:
        raise ModelError(
            f"{type(base).__name__} takes no `past_key_values`: it would forget what it has read at every token",
            where=str(getattr(base.config, "name_or_path", "")),
            fix="serve it and ask it with `backend: openai`",
        )


def in_order(
    work: Callable[[list[Asked], Event], list[Answered]], batches: Sequence[list[Asked]], num_workers: int
) -> Iterator[list[Answered]]:
    """Yield `work(batch, stop)` of every batch, in order, several at a time, with the threads shared out among them.

    On a CPU two batches on a core each are done sooner than one after the other on both: most operations of a
    generation step are too small to be shared between cores. When the caller goes away `stop` is set.
    """
    stop = Event()
    if num_workers <= 1:
        yield from (work(batch, stop) for batch in batches)
        return
    threads = torch.get_num_threads()
    share = max(1, threads // num_workers)
    pool = ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(share,))
    try:
        yield from pool.map(lambda batch: work(batch, stop), batches)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what the workers were given is also the default of threads to come


def plan_batches(prompts: Sequence[Prompt], batch_size: int, at_once: int = 1) -> list[list[Prompt]]:
    """Return the prompts in batches of similar length, the longest first: the ETA errs on the safe side.

    Rows are dealt to the batches that run at one time, so that these take about as long, the last ones too. Rows with
    one prompt stay together: it is read once.
    """
    ordered = sorted(prompts, key=lambda prompt: (-len(prompt.token_ids), prompt.token_ids, prompt.id))
    group = batch_size * at_once
    groups = [ordered[at : at + group] for at in range(0, len(ordered), group)]
    return [batch for some in groups for batch in _dealt(some, at_once, batch_size) if batch]


def _dealt(prompts: Sequence[Prompt], hands: int, most: int) -> list[list[Prompt]]:
    dealt: list[list[Prompt]] = [[] for _ in range(hands)]
    hand = dealt[0]
    for prompt in prompts:
        if not hand or hand[-1].token_ids != prompt.token_ids or len(hand) == most:
            hand = min(dealt, key=len)
        hand.append(prompt)
    return dealt


def _before(text: str, stops: Sequence[str]) -> str:
    """Return `text` up to the first of `stops` in it."""
    return text[: min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))]

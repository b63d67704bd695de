"""Where answers come from: a model in this process, a server that is started for it, an endpoint; and what is kept.

reads    answers.jsonl of an earlier attempt
writes   answers.jsonl, one line an answer as they come: what a killed run goes on from

Answers with an error stay in the file and are asked for again by the next attempt.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from tunewright.artifacts.checkpoint import Adapter, Trained
from tunewright.artifacts.files import JsonlAppender
from tunewright.artifacts.fingerprint import fingerprint
from tunewright.backends.protocol import Backend, Completion, LogProbBackend, Sampling
from tunewright.backends.wire import prompt_hash
from tunewright.chat.render import Renderer
from tunewright.errors import ModelError, UserError
from tunewright.models.cache import cache_folder
from tunewright.models.find import model_identity
from tunewright.models.precision import resolve_precision
from tunewright.progress import task
from tunewright.recipe.sections import Endpoint, EvaluateSection, ManagedServer
from tunewright.stages.evaluate.prompts import Question
from tunewright.suites.protocol import CandidateScore, log_probs_answer

if TYPE_CHECKING:
    from tunewright.backends.hf import HfBackend
    from tunewright.backends.openai import OpenAIBackend

Opened = contextlib.AbstractContextManager[Any]


def answers(
    asked: Sequence[Question],
    sampling: Sampling,
    repeats: int,
    out: Path,
    open_backend: Callable[[], Opened],
    by: Literal["generate", "log_probs"] = "generate",
) -> dict[str, Completion]:
    """Return an answer for every id: those in answers.jsonl, and the rest from the backend, written as they come.

    `open_backend` is called only when there is something left to answer; `by` is the suite's mode.
    """
    ids = [prompt.id for question in asked for prompt in question.prompts(repeats)]
    with JsonlAppender(out / "answers.jsonl") as log:
        earlier = {row["id"]: completion_of(row) for row in log.existing}
        known = {key: completion for key, completion in earlier.items() if completion.error is None}
        if len(known) < len(ids):
            with open_backend() as backend, task(f"answering {len(ids)} rows", len(ids), len(known)) as progress:
                _book(backend, earlier.values())
                for batch in _batches(backend, asked, sampling, repeats, by, known.keys()):
                    new = [_with_cost_of(earlier, one) for one in batch if one.id not in known]
                    log.append([line_of(completion) for completion in new])
                    known |= {completion.id: completion for completion in new}
                    progress.advance(len(new))
    return known


def _book(backend: Any, earlier: Iterable[Completion]) -> None:
    """Have what earlier attempts spent count for the budget."""
    spending = getattr(backend, "spending", None)
    if spending is not None:
        spending.book_earlier(earlier)


def _with_cost_of(earlier: Mapping[str, Completion], completion: Completion) -> Completion:
    """Return a completion with what its row cost in earlier attempts, which ended in an error."""
    before = earlier.get(completion.id)
    return replace(completion, cost_usd=completion.cost_usd + before.cost_usd) if before else completion


def _batches(
    backend: Any,
    asked: Sequence[Question],
    sampling: Sampling,
    repeats: int,
    by: Literal["generate", "log_probs"],
    done: AbstractSet[str],
) -> Iterator[list[Completion]]:
    if by == "log_probs":
        return by_log_probs(backend, asked, done)
    found: Iterator[list[Completion]] = backend.generate(
        [prompt for question in asked for prompt in question.prompts(repeats)], sampling, done
    )
    return found


def line_of(completion: Completion) -> dict[str, Any]:
    """Return a completion as a line of answers.jsonl; what is as usual is left out."""
    line = {**completion.__dict__, "token_ids": list(completion.token_ids)}
    usual = {"text": None, "prompt_tokens": None, "cost_usd": 0.0, "error": None, "answer_tokens": None}
    return {key: value for key, value in line.items() if key not in usual or value != usual[key]}


def completion_of(line: dict[str, Any]) -> Completion:
    """Return the completion of a line of answers.jsonl."""
    return Completion(**{**line, "token_ids": tuple(line["token_ids"])})


# ── by log-probability ──────────────────────────────────────────────────────────────────────────────────────────────


def by_log_probs(
    backend: LogProbBackend, asked: Sequence[Question], done: AbstractSet[str]
) -> Iterator[list[Completion]]:
    """Yield one completion a row, when all of its pieces are scored: its text is the suite's JSON of log-probabilities.

    Batches are planned from the pieces of all rows, so a resumed evaluation adds up the same numbers.
    """
    owner = {piece.continuation.id: question for question in asked for piece in question.pieces}
    waiting = {question.row.id: len(question.pieces) for question in asked if question.row.id not in done}
    scores: dict[str, Any] = {}
    yield [_completion(question, scores) for question in asked if waiting.get(question.row.id) == 0]
    finished = frozenset(key for key, question in owner.items() if question.row.id in done)
    for batch in backend.log_probs([piece.continuation for one in asked for piece in one.pieces], finished):
        scores |= {score.id: score for score in batch}
        whole = []
        for score in batch:
            question = owner[score.id]
            if question.row.id in waiting:
                waiting[question.row.id] -= 1
                whole += [_completion(question, scores)] if waiting[question.row.id] == 0 else []
        yield whole


def _completion(question: Question, scores: dict[str, Any]) -> Completion:
    found = [scores[piece.continuation.id] for piece in question.pieces]
    said: dict[str, CandidateScore] = {}
    for piece, score in zip(question.pieces, found, strict=True):
        before = said.get(piece.candidate)
        said[piece.candidate] = CandidateScore(
            piece.candidate,
            [*(before.log_probs if before else ()), *score.log_probs],
            len(piece.text.encode("utf-8", "surrogatepass")),
            score.is_greedy and (before is None or before.is_greedy),
        )
    return Completion(
        id=question.row.id,
        token_ids=(),
        finish="stop",
        seconds=sum(score.seconds for score in found),
        text=log_probs_answer(list(said.values())),
        prompt_tokens=sum(piece.continuation.start for piece in question.pieces),
        answer_tokens=sum(len(score.log_probs) for score in found),
    )


# ── backends ────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def opened(
    ref: str,
    folder: Path | None,
    renderer: Renderer | None,
    section: EvaluateSection,
    trained: Trained | Adapter | None,
) -> Iterator[Backend]:
    """Give the backend of a section; what was started for it ends with the block.

    Raises:
        ModelError: the model cannot be loaded, or is not the one the adapter was trained on. UserError, and what the
        servers raise: see there.
    """
    check_base(ref, trained)
    if section.backend == "hf":
        assert folder is not None and renderer is not None
        yield loaded(folder, renderer, section, trained)
    elif section.backend == "openai":
        assert section.endpoint is not None
        yield endpoint_backend(section.endpoint, renderer)
    else:
        with _served(ref, section, renderer, trained) as backend:
            yield backend


def check_base(ref: str, trained: Trained | Adapter | None) -> None:
    """Refuse an adapter whose base model has changed since.

    Raises:
        ModelError: it has.
    """
    if trained is not None and trained.base_identity != model_identity(ref):
        raise ModelError(
            "the base model has changed since the adapter was trained on it",
            where=ref,
            expected=trained.base_identity,
            fix="train again, or bring back the base model",
        )


def loaded(folder: Path, renderer: Renderer, section: EvaluateSection, trained: Trained | Adapter | None) -> HfBackend:
    """Return the backend `hf` with its model."""
    from tunewright.backends.hf import HfBackend
    from tunewright.kernels.packed_linear import pack_linears
    from tunewright.models.load import load_model

    model = pack_linears(load_model(folder, resolve_precision(section.precision), trained.adapter if trained else None))
    return HfBackend(model, renderer.stop_token_ids, renderer.pad_token_id, section.batch_size, renderer.decode)


def endpoint_backend(endpoint: Endpoint, renderer: Renderer | None, identity: str = "") -> OpenAIBackend:
    """Return the backend that asks an endpoint; answers that were paid for are kept in the user's cache.

    So are those of a server of ours, under what it serves (`identity`). Of others on this machine they are not: behind
    the same address and name another model may stand tomorrow.
    """
    from tunewright.backends.openai import OpenAIBackend
    from tunewright.backends.spending import Budget, Prices

    paid = endpoint.price.prompt > 0 or endpoint.price.completion > 0
    return OpenAIBackend(
        model=endpoint.model,
        base_url=endpoint.url,
        api_key_env=endpoint.api_key_env,
        endpoint=endpoint.path,
        to_text=(lambda ids: "".join(renderer.pieces(ids))) if renderer and endpoint.as_text else None,
        concurrency=endpoint.concurrency,
        timeout_seconds=endpoint.timeout_seconds,
        prices=Prices(endpoint.price.prompt, endpoint.price.completion, endpoint.price.cached_prompt),
        budget=Budget(endpoint.budget_usd, endpoint.budget_tokens),
        cache=cache_folder() / "answers.sqlite" if identity or paid or not is_local(endpoint.url) else None,
        identity=identity,
        strict_names=endpoint.strict_names,
        limit_field=endpoint.limit_field,
    )


def is_local(url: str) -> bool:
    """True if `url` names this machine or an address of a private network."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".localhost", ".local", ".internal", ".lan"))


@contextlib.contextmanager
def _served(
    ref: str, section: EvaluateSection, renderer: Renderer | None, trained: Trained | Adapter | None
) -> Iterator[Backend]:
    import sys

    from tunewright.backends.servers.kinds import find_kind
    from tunewright.backends.servers.manager import start_server

    if trained is not None:
        raise UserError(
            "an adapter is not served", where="backend server", fix="`backend: hf`, or merge it into its base first"
        )
    told = section.server or ManagedServer()
    python = told.python or sys.executable
    kind = find_kind(told.kind, ref, python)
    with start_server(ref, kind, python=python, options=told.arguments) as server:
        endpoint = Endpoint(url=server.url, model=server.model, path=told.path, concurrency=told.concurrency)
        yield endpoint_backend(endpoint, renderer, identity=f"{kind.name} {model_identity(ref)} {list(told.arguments)}")


def prompt_parity(asked: Sequence[Question], section: EvaluateSection, sampling: Sampling) -> str:
    """Return in how many rows a server is sent what the row says: the same system text, messages and tools.

    Empty where we render: then it is the tokens themselves that are sent.
    """
    server = section.server or ManagedServer()
    own = Endpoint(url="http://127.0.0.1/v1", model="own", path=server.path)
    endpoint = section.endpoint if section.backend == "openai" else own if section.backend == "server" else None
    if endpoint is None or endpoint.path == "completions":
        return ""
    backend = endpoint_backend(endpoint, None)
    prompts = [question.prompt for question in asked]
    pairs = [(backend.prompt_hash(one, sampling), prompt_hash(one.messages or (), one.tools)) for one in prompts]
    same = sum(sent == meant for sent, meant in pairs)
    return f"{same} of {len(pairs)} requests say what the rows say: system text, messages and tools"


def answer_hash(completion: Completion) -> str:
    """Return the hash of an answer's token ids, or of its text where there are no ids."""
    by_text = completion.text is not None and not completion.token_ids
    return fingerprint(completion.text if by_text else list(completion.token_ids))

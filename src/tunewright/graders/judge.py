"""Asking a judge: conversations in, replies out, through any Backend.

The judge's model is reached through `Context.judge`, or else by the environment: OPENAI_BASE_URL (default: OpenAI's)
and OPENAI_API_KEY. A reply that is cut, empty or an error is an error of the grade; it is never read as a low score.

`read_result` and `read_label` are strict: the reply is the JSON that was asked for (in a fence or after a closed
<think> block, too), or the bare value and nothing else. Whatever else a judge says is `model_grader_parse_error`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from tunewright.backends.protocol import Backend, Completion, Prompt, Sampling
from tunewright.errors import UserError
from tunewright.graders.json_schema import unfenced
from tunewright.graders.protocol import ErrorKind, GradeError, TokenUsage, parse_json
from tunewright.graders.spec import Context, GraderError, Problem
from tunewright.graders.template import Unscored

DEFAULT_URL = "https://api.openai.com/v1"
MAX_REPLY_TOKENS = 1024

_REFUSALS = ("i'm sorry", "i am sorry", "sorry,", "i cannot", "i can't", "i'm unable", "i am unable", "i won't")

NOTHING_USED = TokenUsage()
Conversation = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Reply:
    """What a judge said to one conversation, or why it said nothing."""

    text: str
    error: GradeError | None = None
    usage: TokenUsage = NOTHING_USED
    cost_usd: float = 0.0
    seconds: float = 0.0


class Judge:
    """A model that is asked.

    Args:
        model: its name.
        backend: how it is reached.
        sampling: how it answers.
    """

    def __init__(self, model: str, backend: Backend, sampling: Sampling):
        self.model, self._backend, self._sampling = model, backend, sampling
        self._asked: Counter[str] = Counter()
        self._lock = Lock()

    def ask(self, conversations: Sequence[Conversation]) -> list[Reply]:
        """Return the judge's reply to every conversation, in order."""
        prompts = [Prompt(id=self._id(talk), messages=tuple(talk)) for talk in conversations]
        replies: dict[str, Reply] = {}
        for batch in self._backend.generate(prompts, self._sampling):
            replies |= {completion.id: _reply(completion) for completion in batch}
        missing = Reply("", GradeError("model_grader_server_error", "the judge gave no answer"))
        return [replies.get(prompt.id, missing) for prompt in prompts]

    def _id(self, conversation: Conversation) -> str:
        """Return an id that is the same in every run, and another each time the same thing is asked again."""
        digest = hashlib.sha256(json.dumps(conversation, sort_keys=True, default=str).encode()).hexdigest()[:24]
        with self._lock:
            self._asked[digest] += 1
            return f"{digest}-{self._asked[digest]}"


def _reply(completion: Completion) -> Reply:
    usage = TokenUsage(completion.prompt_tokens or 0, completion.answer_tokens or len(completion.token_ids))
    error = None
    if completion.error is not None or completion.text is None:
        error = GradeError("model_grader_server_error", completion.error or "the judge returned no text")
    elif completion.finish == "length":
        error = GradeError("model_grader_parse_error", "the judge's reply was cut at its longest length")
    return Reply(completion.text or "", error, usage, completion.cost_usd, completion.seconds)


def open_judge(model: str, context: Context, sampling: Sampling, allow_self: bool) -> Judge:
    """Return the judge `model`.

    Raises:
        GraderError: it is the model that is judged, and the spec does not allow that.
    """
    if not allow_self and context.judged_model is not None:
        _refuse_self(model, context.judged_model)
    return Judge(model, (context.judge or server_judge)(model), sampling)


def refuse_self_judging(grader: Any, judged_model: str) -> None:
    """Refuse a grader, or a part of one, whose judge is the model that is judged; for graders that are loaded already.

    Raises:
        GraderError: it is, and its file does not say `allow_self`.
    """
    for one in (grader, *getattr(grader, "parts", {}).values()):
        if isinstance(getattr(one, "judge", None), Judge) and not one.allow_self:
            _refuse_self(one.judge.model, judged_model)


def _refuse_self(model: str, judged_model: str) -> None:
    if os.path.normpath(model).casefold() == os.path.normpath(judged_model).casefold():
        seen = f"{model!r} would grade its own answers; name another judge, or say `allow_self: true`"
        raise GraderError([Problem("model", seen)])


def server_judge(model: str) -> Backend:
    """Return the backend of a judge on the server that the environment names.

    Raises:
        UserError: neither OPENAI_BASE_URL nor OPENAI_API_KEY is set.
    """
    from tunewright.backends.openai import OpenAIBackend

    url, has_key = os.environ.get("OPENAI_BASE_URL"), "OPENAI_API_KEY" in os.environ
    if not url and not has_key:
        raise UserError(
            "no server to ask", where=f"judge {model}",
            expected="OPENAI_BASE_URL, OPENAI_API_KEY or both in the environment",
            fix="export OPENAI_BASE_URL=http://127.0.0.1:8000/v1",
        )  # fmt: skip
    return OpenAIBackend(model, url or DEFAULT_URL, "OPENAI_API_KEY" if has_key else None)


# ── what the judge said ─────────────────────────────────────────────────────────────────────────────────────────────


def read_result(reply: str) -> float:
    """Return the number of a reply: `{"result": 0.5, …}`, or a bare number.

    Raises:
        Unscored: anything else.
    """
    value = _said(reply)
    number = value.get("result") if isinstance(value, Mapping) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise _unreadable(reply, "no result")
    return float(number)


def read_label(reply: str, labels: Sequence[str]) -> str:
    """Return the label of a reply: `{"result": "good", …}`, or a bare label; case does not matter.

    Raises:
        Unscored: anything else.
    """
    value = _said(reply)
    said = value.get("result") if isinstance(value, Mapping) else value if isinstance(value, str) else _bare(reply)
    for label in labels:
        if isinstance(said, str) and said.strip().casefold() == label.casefold():
            return label
    raise _unreadable(reply, "none of the labels")


def _unreadable(reply: str, what: str) -> Unscored:
    """Return the error for a reply that holds no verdict; one that opens as refusals do is told apart."""
    refused = _bare(reply).casefold().replace("’", "'").startswith(_REFUSALS)
    kind: ErrorKind = "model_grader_refusal_error" if refused else "model_grader_parse_error"
    return Unscored(kind, f"{what} in the judge's reply: {reply[:80]!r}")


def _said(reply: str) -> Any:
    return parse_json(unfenced(_bare(reply)).strip())


def _bare(reply: str) -> str:
    """Return the reply without what a reasoning model thought before it."""
    thought, closed, rest = reply.partition("</think>")
    return rest.strip() if closed and thought.lstrip().startswith("<think>") else reply.strip()

"""Rows, and a judge whose answers are known."""

import json
from collections.abc import Callable

from tunewright.backends.protocol import Completion
from tunewright.graders.spec import Context


class ScriptedJudge:
    """A backend that answers by rule: what a judge would cost money for. `asked` keeps the prompts."""

    def __init__(self, say: Callable[[str], str], cost_usd: float = 0.0, finish: str = "stop"):
        self.say, self.cost_usd, self.finish = say, cost_usd, finish
        self.asked: list[str] = []

    def generate(self, prompts, sampling, done=frozenset()):
        for prompt in prompts:
            text = prompt.messages[-1]["content"]
            self.asked.append(text)
            said = self.say(text)
            yield [
                Completion(
                    id=prompt.id, token_ids=(), finish=self.finish, seconds=0.001, text=said, cost_usd=self.cost_usd,
                    prompt_tokens=len(text) // 4, answer_tokens=len(said) // 4 + 1,
                )
            ]  # fmt: skip


def judged_by(say: Callable[[str], str], **more) -> Context:
    judge = ScriptedJudge(say, **more)
    return Context(judge=lambda model: judge)


def result(value) -> str:
    """A reply in the form that is asked for."""
    return json.dumps({"steps": [{"description": "looked", "conclusion": "done"}], "result": value})


def shown(prompt: str, title: str) -> str:
    """The text that a rubric's prompt shows under a title."""
    _, _, rest = prompt.partition(f"<<<{title}\n")
    return rest.partition("\n>>>")[0]

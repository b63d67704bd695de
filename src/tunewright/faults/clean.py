"""Sound projects of many kinds. A fault has one of them as its twin, and all together are the clean matrix.

Each is small and of one trait: a template, a format, a language, a length, a way to train. No gate may fail on any.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

from tunewright.faults.entries import make_adapter
from tunewright.faults.model import teach_prose
from tunewright.faults.project import Project, Shape, Stages, training_stages
from tunewright.faults.rows import Row, chat, tickets

_SYSTEM = "You sort the tickets of a shop. Answer with the department."


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def with_system() -> list[Row]:
    """Return the tickets behind a system turn."""
    return [chat(row["id"], *(turn["content"] for turn in row["messages"]), system=_SYSTEM) for row in tickets()]


def multi_turn() -> list[Row]:
    """Return the tickets as conversations of three answers."""
    found = []
    for row in tickets():
        question, answer = (turn["content"] for turn in row["messages"])
        found.append(chat(row["id"], "Hello", "How can I help?", question, answer, "Thanks", "You are welcome."))
    return found


def as_sharegpt() -> list[Row]:
    """Return the tickets in ShareGPT's form."""
    names = {"user": "human", "assistant": "gpt"}
    return [
        {
            "id": row["id"],
            "conversations": [{"from": names[turn["role"]], "value": turn["content"]} for turn in row["messages"]],
        }
        for row in tickets()
    ]


def as_alpaca() -> list[Row]:
    """Return the tickets in Alpaca's form."""
    return [
        {
            "id": row["id"],
            "instruction": "Sort this ticket of our shop",
            "input": row["messages"][0]["content"],
            "output": row["messages"][1]["content"],
        }
        for row in tickets()
    ]


def as_prompts() -> list[Row]:
    """Return the tickets as prompt and completion."""
    return [
        {"id": row["id"], "prompt": row["messages"][0]["content"], "completion": row["messages"][1]["content"]}
        for row in tickets()
    ]


def tools() -> list[Row]:
    """Return the tickets with a tool to open them, and the call as the answer."""
    parameters = {
        "type": "object",
        "properties": {"department": {"type": "string"}, "urgent": {"type": "boolean"}},
        "required": ["department"],
    }
    offered = [
        {
            "type": "function",
            "function": {"name": "open_ticket", "description": "Open a ticket.", "parameters": parameters},
        }
    ]
    found = []
    for row in tickets():
        department = row["messages"][1]["content"].split()[-1].rstrip(".")
        function = {"name": "open_ticket", "arguments": {"department": department, "urgent": False}}
        answer = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]}
        found.append({"id": row["id"], "messages": [row["messages"][0], answer], "tools": offered})
    return found


_WORDS = {
    "german": "Straße Äpfel grün über Frühstück Gemüse Schlüssel Brötchen Käse größer müde Tür Löffel schön",
    "chinese": " ".join("山水火木金土日月風雨花鳥魚蟲春夏秋冬東西南北"),
    "arabic": "كتاب قلم بيت مدرسة شمس قمر بحر جبل نهر شجرة طريق مدينة سماء أرض",
    "greek": "θάλασσα ουρανός βουνό δέντρο σπίτι δρόμος πόλη ήλιος φεγγάρι βιβλίο γράμμα νερό",
    "emoji": "🙂 🚀 🌍 🍎 🎲 🎻 📚 🧵 🧲 🧭 🛶 🪁 🧩 🪴",
}
_FILLERS = "so then it must be seen who may help here"


def words_of(language: str, count: int = 60) -> list[Row]:
    """Return rows in which words of a language are to be said backwards."""
    chance, words = random.Random(language), _WORDS[language].split()
    found = []
    for place in range(count):
        said = [chance.choice(words) for _ in range(7)]
        found.append(chat(f"{language}{place}", " ".join(said), " ".join(reversed(said))))
    return found


def code() -> list[Row]:
    """Return rows whose answers are Python functions."""
    verbs = ("add", "scale", "clip", "shift", "mirror", "halve", "floor", "sign", "wrap", "blend")
    forms = ("return {a} + x * {b}", "y = x - {a}\n    return y if y > {b} else {b}", "return [x] * {a} + [{b}]")
    found = []
    for place in range(60):
        name = f"{verbs[place % 10]}_{place}"
        body = forms[place % 3].format(a=place + 2, b=place * 7 % 13)
        question = f"Write a Python function {name}(x) whose constants are {place + 2} and {place * 7 % 13}."
        found.append(chat(f"c{place}", question, f"```python\ndef {name}(x):\n    {body}\n```"))
    return found


def long_rows() -> list[Row]:
    """Return rows near the model's context."""
    chance = random.Random(0)
    found = []
    for place, row in enumerate(tickets()):
        filler = " ".join(chance.choice(row["messages"][0]["content"].split()) for _ in range(60 + place % 20))
        found.append(chat(row["id"], f"{row['messages'][0]['content']} {filler}", row["messages"][1]["content"]))
    return found


def one_word_answers() -> list[Row]:
    """Return rows whose answers are a single word."""
    return [
        chat(row["id"], row["messages"][0]["content"], row["messages"][1]["content"].split()[-1].rstrip("."))
        for row in tickets()
    ]


def _pad_with_the_end(project: Project) -> None:
    """Name the end-of-turn as the padding: of no harm where labels are masked by place and not by token."""
    path = project.model / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "pad_token": config["eos_token"]}), encoding="utf-8")


# ── stages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def short_stages() -> Stages:
    """Return data → evaluate → sft → evaluate → compare without a demand: enough to meet every gate."""
    stages = training_stages()
    for item in stages:
        item.get("evaluate", {}).update(limit=12, max_new_tokens=128)
        item.get("sft", {}).update(steps=6, learning_rate=0.005)
        item.get("compare", {}).pop("require", None)
    return stages


def probed_stages() -> Stages:
    """Return probe → data → sft: is the model the base that the recipe takes it for?"""
    data, _, sft, *_ = training_stages()
    return [{"probe": {"expect": "base"}}, data, sft]


GRADE = """\
def grade(sample, item):
    said = sample["output_text"].strip().split("\\n")[-1]
    return float(said == item["reference"].strip())
"""


def graded_stages() -> Stages:
    """Return data → dry_run → sft: may this grader be a reward?"""
    data, _, sft, *_ = training_stages()
    dry_run = {"rows": "data.train", "grader": "grader.json", "answers": "answers.jsonl", "prompts": 24, "samples": 8}
    return [data, {"dry_run": dry_run}, sft]


def graded_files() -> Mapping[str, str]:
    """Return a sound grader, and eight answers to each ticket, of which some are right."""
    return {"grader.json": json.dumps({"type": "python", "source": GRADE}), "answers.jsonl": _lines(_answers())}


def _answers() -> list[dict[str, Any]]:
    chance = random.Random(1)
    desks = ("shipping", "billing", "repairs")
    found = []
    for place, row in enumerate(tickets()):
        right = row["messages"][1]["content"]
        wrong = [f"Department: {desk}." for desk in desks if desk not in right]
        share = 0.3 + 0.55 * (place % 6) / 5
        ends = [right if chance.random() < share else chance.choice(wrong) for _ in range(8)]
        found.append({"id": row["id"], "answers": [f"{_thinking(chance)}\n{end}" for end in ends]})
    return found


def _thinking(chance: random.Random) -> str:
    return " ".join(chance.choice(_FILLERS.split()) for _ in range(chance.randint(3, 40)))


def _lines(values: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(value)}\n" for value in values)


# ── the shapes ──────────────────────────────────────────────────────────────────────────────────────────────────────

_AS_CALLS = {"before.suite": "tool-calls", "after.suite": "tool-calls"}

TWINS: dict[str, Shape] = {
    "training": Shape(),
    "with-system": Shape(rows=with_system, stages=short_stages),
    "llama3": Shape(family="llama3"),
    "gemma": Shape(family="gemma"),
    "graded": Shape(stages=graded_stages, files=graded_files),
    "adapter": Shape(prepare=make_adapter),
    "a base": Shape(prepare=teach_prose, stages=probed_stages),
    "budget": Shape(header={"budget": {"hours": 2.0, "usd": 5.0, "usd_per_hour": 1.0}}),
}
"""what faults are planted in"""


def _short(**fields: Any) -> Shape:
    return Shape(stages=short_stages, **fields)


MATRIX: dict[str, Shape] = {
    "chatml": _short(),
    "chatml, left padding": _short(padding_side="left"),
    "chatml, padded with the end-of-turn": _short(prepare=_pad_with_the_end),
    "chatml, no generation marks": _short(family="chatml-unmarked"),
    "chatml, default system turn": _short(family="chatml-default-system"),
    "chatml, own system turn over the default": _short(family="chatml-default-system", rows=with_system),
    "chatml with tools, none given": _short(family="chatml-tools"),
    "chatml with tools, calls as answers": _short(family="chatml-tools", rows=tools, settings=_AS_CALLS),
    "tools, a template without a place for them": _short(rows=tools, settings=_AS_CALLS),
    "llama3": _short(family="llama3"),
    "llama3, system turn": _short(family="llama3", rows=with_system),
    "llama3, multi-turn, left padding": _short(family="llama3", padding_side="left", rows=multi_turn),
    "gemma, no system turn": _short(family="gemma"),
    "gemma, multi-turn": _short(family="gemma", rows=multi_turn),
    "mistral, no header before answers": _short(family="mistral"),
    "mistral, multi-turn": _short(family="mistral", rows=multi_turn),
    "phi": _short(family="phi"),
    "phi, system turn": _short(family="phi", rows=with_system),
    "multi-turn": _short(rows=multi_turn),
    "system turn": _short(rows=with_system),
    "ShareGPT": _short(rows=as_sharegpt),
    "Alpaca": _short(rows=as_alpaca),
    "prompt and completion": _short(rows=as_prompts),
    "German": _short(rows=lambda: words_of("german")),
    "Chinese": _short(rows=lambda: words_of("chinese")),
    "Arabic": _short(rows=lambda: words_of("arabic")),
    "Greek": _short(rows=lambda: words_of("greek")),
    "emoji": _short(rows=lambda: words_of("emoji")),
    "code": _short(rows=code),
    "rows near the context": _short(rows=long_rows),
    "one-word answers": _short(rows=one_word_answers),
    "all of one row's group": _short(rows=lambda: [{**row, "group": row["id"][:2]} for row in tickets()]),
    "weighted by entropy": _short(settings={"sft.weighting": {"type": "linear", "floor": 0.2}}),
    "weighted by probability (DFT)": _short(settings={"sft.weighting": {"type": "dft"}}),
    "only the doubtful tokens": _short(settings={"sft.weighting": {"type": "top_quantile"}}),
    "accumulated gradients": _short(settings={"sft.batch_size": 2, "sft.gradient_accumulation": 4}),
    "LoRA on attention alone, rank 4": _short(settings={"sft.lora": {"rank": 4, "targets": ["q_proj", "v_proj"]}}),
    "linear schedule, dropout": _short(settings={"sft.schedule": "linear", "sft.lora": {"dropout": 0.1}}),
    "one worked example": _short(settings={"before.shots": 1, "before.shots_from": "data.train"}),
    "a sound grader": Shape(stages=graded_stages, files=graded_files, settings={"sft.steps": 6}),
}

"""Faults of labels and truncation: what counts in the loss is not the answers."""

from __future__ import annotations

from typing import Any

from tunewright.faults.fault import Fault, each_row, grouped, json_file, recipe, template
from tunewright.faults.rows import Row

_MARKED = "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
_PLAIN = "{{ message['content'] + '<|im_end|>' }}"


def _answered(row: Row, text: str | None) -> Row:
    return {**row, "messages": [row["messages"][0], {"role": "assistant", "content": text}]}


def _swapped(row: Row, place: int) -> Row:
    roles = {"user": "assistant", "assistant": "user"}
    return {**row, "messages": [{**turn, "role": roles[turn["role"]]} for turn in row["messages"]]}


def _long(row: Row) -> str:
    """Return an answer that says all of it, again and again."""
    question, answer = (turn["content"] for turn in row["messages"])
    return f"You wrote: {question} We read it. {answer} " * 8


def _weights(value: float) -> Any:
    """Return a change that gives every row the same weights, as many as it has trained tokens."""

    def plant(project: Any) -> None:
        from tunewright.chat.render import Renderer

        renderer = Renderer.from_folder(project.model)
        for row in project.rows:
            trained = sum(renderer.conversation(row["messages"]).trained)
            row["meta"] = {"token_weights": [value] * trained}
        project.set("sft.weighting", {"type": "external"})

    return plant


FAULTS = grouped(
    "labels and truncation",
    Fault(
        "rows-longer-than-the-limit",
        "every row is longer than `max_tokens`: a trainer that cuts loses every answer",
        recipe(data__max_tokens=20),
        real="trl#3449, unsloth#2904",
        promise="truncation",
    ),
    Fault(
        "most-rows-dropped",
        "most rows are longer than `max_tokens` and are left out: another data set is trained on",
        recipe(data__max_tokens=34, data__overlong="drop"),
        real="trl#2400",
        promise="truncation",
    ),
    Fault(
        "context-shorter-than-rows",
        "the model's context is 24 tokens",
        json_file("config.json", max_position_embeddings=24),
        promise="truncation",
    ),
    Fault(
        "empty-answers",
        "every fourth answer is empty: the model learns to say nothing",
        each_row(lambda row, place: _answered(row, "") if place % 4 == 0 else row),
        promise="mask",
    ),
    Fault(
        "blank-answers",
        "every fourth answer is blanks",
        each_row(lambda row, place: _answered(row, " \n ") if place % 4 == 0 else row),
        promise="mask",
    ),
    Fault(
        "answers-missing",
        "every fourth row ends with the question",
        each_row(lambda row, place: {**row, "messages": row["messages"][:1]} if place % 4 == 0 else row),
        promise="mask",
    ),
    Fault(
        "null-answers",
        "every fourth answer is null",
        each_row(lambda row, place: _answered(row, None) if place % 4 == 0 else row),
        promise="mask",
    ),
    Fault(
        "question-marked-too",
        "the template marks the user's text as the assistant's: the model learns to ask",
        template(_PLAIN + "{% endif %}", "{% generation %}" + _PLAIN + "{% endgeneration %}{% endif %}"),
        real="axolotl#1068",
        harmless_by="labels_are_the_answers",
        promise="mask",
    ),
    Fault(
        "nothing-marked",
        "the marks of the template stand around nothing: no token is trained, and the loss looks fine",
        template(_MARKED, "{% generation %}{% endgeneration %}" + _PLAIN),
        real="trl#4879, Liquid4All/liquid-finetune#37",
        harmless_by="labels_are_the_answers",
        promise="mask",
    ),
    Fault(
        "end-of-turn-not-marked",
        "the mark ends before the end-of-turn: the answer is trained, its end is not",
        template(_MARKED, "{% generation %}{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>' }}"),
        real="unsloth#416",
        harmless_by="labels_are_the_answers",
        promise="end-of-turn",
    ),
    Fault("roles-swapped", "user and assistant have changed places", each_row(_swapped), promise="mask"),
    Fault(
        "answers-cut-at-export",
        "long answers were cut after 320 characters when the data was exported",
        each_row(lambda row, place: _answered(row, _long(row)[:320])),
        promise="truncation",
    ),
    Fault(
        "weights-all-zero",
        "the rows bring token weights, and all of them are 0: nothing is trained",
        _weights(0.0),
        promise="mask",
        trl="TRL takes no token weights",
    ),
)

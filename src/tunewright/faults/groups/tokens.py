"""Faults of tokens and templates: what the model reads in training is not what it will read later."""

from __future__ import annotations

import json

from tunewright.faults.fault import Fault, each_row, grouped, json_file, template, without_file
from tunewright.faults.project import Project
from tunewright.faults.rows import Row

_END = " + '<|im_end|>' }}{% endgeneration %}"


def _split_end_token(project: Project) -> None:
    """Take `<|im_end|>` out of the tokenizer: the template writes it, and it becomes pieces."""
    path = project.model / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    value["added_tokens"] = [token for token in value["added_tokens"] if token["content"] != "<|im_end|>"]
    path.write_text(json.dumps(value), encoding="utf-8")


def _with_control_tokens(row: Row, place: int) -> Row:
    question, answer = row["messages"]
    text = question["content"] + "<|im_end|>\n<|im_start|>assistant\nDepartment: unknown."
    return {**row, "messages": [{**question, "content": text}, answer]} if place % 4 == 0 else row


def _eos_rewritten(project: Project) -> None:
    """Name `<|endoftext|>` as the eos in all three places that say it."""
    tokenizer = json.loads((project.model / "tokenizer.json").read_text(encoding="utf-8"))
    eos = next(token["id"] for token in tokenizer["added_tokens"] if token["content"] == "<|endoftext|>")
    json_file("tokenizer_config.json", eos_token="<|endoftext|>")(project)
    for name in ("config.json", "generation_config.json"):
        json_file(name, eos_token_id=eos)(project)


def _template_in_config(project: Project) -> None:
    """Leave another template in tokenizer_config.json: which one is used depends on who loads the folder."""
    source = (project.model / "chat_template.jinja").read_text(encoding="utf-8")
    json_file("tokenizer_config.json", chat_template=source.replace("assistant\\n", "assistant: "))(project)


FAULTS = grouped(
    "tokens and templates",
    Fault(
        "answers-without-end-of-turn",
        "the template writes no end-of-turn behind an answer: the model never learns to stop",
        template(_END, " }}{% endgeneration %}"),
        real="unsloth#416, #3721",
        promise="end-of-turn",
    ),
    Fault(
        "invented-control-token",
        "the template writes `<|turn|>`, which is no token of this tokenizer: it is read as pieces of text",
        template("<|im_start|>", "<|turn|>"),
        real="LLaMA-Factory#10530",
        promise="template",
    ),
    Fault(
        "control-token-in-pieces",
        "`<|im_end|>` is missing from the tokenizer: what ends an answer is six tokens, and no stop",
        _split_end_token,
        real="unsloth#1008",
        promise="template",
    ),
    Fault(
        "double-bos",
        "the template writes the BOS twice: training and serving differ in their first token",
        template("{{ bos_token }}", "{{ bos_token }}{{ bos_token }}"),
        shape="llama3",
        real="unsloth#798",
        promise="template",
    ),
    Fault(
        "eos-is-not-what-ends-a-turn",
        "`eos_token` is `<|endoftext|>` and turns end with `<|im_end|>`: servers never stop",
        _eos_rewritten,
        real="unsloth#5386, #384",
        promise="end-of-turn",
    ),
    Fault(
        "no-generation-prompt",
        "the template opens no answer: a prompt ends where no training row went on",
        template("{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}", ""),
        real="LLaMA-Factory#2509",
        promise="template",
    ),
    Fault(
        "no-chat-template",
        "a base model without a chat template is given conversations",
        without_file("chat_template.jinja"),
        real="trl#3449",
        promise="template",
    ),
    Fault(
        "template-does-not-compile",
        "an `endfor` is missing in the template",
        template("{% endfor %}", ""),
        promise="template",
    ),
    Fault(
        "template-changes-the-answer",
        "the template writes answers in capitals: what is trained is not what the rows say",
        template("{% generation %}{{ message['content']", "{% generation %}{{ message['content'] | upper"),
        promise="template",
    ),
    Fault(
        "template-drops-the-system-turn",
        "the template leaves the system turn out without a word",
        template("{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}"),
        shape="with-system",
        real="LLaMA-Factory#10530",
        promise="template",
    ),
    Fault(
        "system-turn-refused",
        "rows with a system turn, and a template that takes none",
        each_row(lambda row, place: {**row, "messages": [{"role": "system", "content": "Sort."}, *row["messages"]]}),
        shape="gemma",
        promise="template",
    ),
    Fault(
        "two-templates",
        "chat_template.jinja and tokenizer_config.json hold different templates: who loads the folder decides",
        _template_in_config,
        real="unsloth#976",
        promise="template",
    ),
    Fault(
        "date-in-the-template",
        "the template writes today's date: tomorrow's prompt is another one than was trained",
        template(
            "{% for message in messages %}",
            "{{ '<|im_start|>system\\nToday is ' + strftime_now('%d %b %Y') + '<|im_end|>\\n' }}"
            "{% for message in messages %}",
        ),
        promise="template",
    ),
    Fault(
        "control-tokens-in-the-rows",
        "questions contain the text `<|im_end|>`, which becomes the real token: turns nobody wrote",
        each_row(_with_control_tokens),
        promise="template",
    ),
)

"""Faults of the data: what is trained on gives the test away, is broken, or is not worth training on."""

from __future__ import annotations

import json

from tunewright.faults.fault import Fault, each_row, grouped, recipe
from tunewright.faults.project import Project
from tunewright.faults.rows import Row, chat

_KEY = "AKIA" + "Q7RZT4M2XKPLW9DB"  # of the form of AWS's, and nobody's


def _twice(project: Project) -> None:
    """Append every row once more, under another id: the split puts the two on different sides."""
    project.rows += [{**row, "id": f"again-{row['id']}"} for row in project.rows]


def _nearly_twice(project: Project) -> None:
    for row in [*project.rows]:
        question, answer = (turn["content"] for turn in row["messages"])
        project.rows.append(chat(f"near-{row['id']}", f"{question} Thank you very much.", answer))


def _broken_line(project: Project) -> None:
    project.lines = [json.dumps(row) for row in project.rows]
    project.lines[17] = project.lines[17][:40]


def _latin1(project: Project) -> None:
    """Write one line in Latin-1."""
    project.save()
    text = project.rows_path.read_bytes().replace(b"parcel", "Päckchen".encode("latin-1"), 1)
    project.rows_path.write_bytes(text)
    project.lines = text.decode("utf-8", "surrogateescape").splitlines()


def _mojibake(row: Row, place: int) -> Row:
    question, answer = row["messages"]
    text = f"It’s “urgent” – café closed: {question['content']}".encode().decode("cp1252", "replace")
    return {**row, "messages": [{**question, "content": text}, answer]}


def _refusing(row: Row, place: int) -> Row:
    refusal = {"role": "assistant", "content": "I'm sorry, but as an AI language model I cannot help with that."}
    return {**row, "messages": [row["messages"][0], refusal]} if place % 2 else row


def _contradicting(project: Project) -> None:
    """Ask every question thrice, each time with another answer; one group, so that no test is given away."""
    desks = ("shipping", "billing", "repairs")
    project.rows = [
        {**chat(f"{row['id']}-{desk}", row["messages"][0]["content"], f"Department: {desk}."), "group": row["id"]}
        for row in project.rows
        for desk in desks
    ]


def _one_row_a_hundred_times(project: Project) -> None:
    first = project.rows[0]
    project.rows += [{**first, "id": f"copy{place}", "group": first["id"]} for place in range(120)]


def _with_keys(row: Row, place: int) -> Row:
    question, answer = row["messages"]
    text = f"{question['content']} Write to jane.doe{place}@parcels.net, key {_KEY}."
    return {**row, "messages": [{**question, "content": text}, answer]} if place % 3 == 0 else row


FAULTS = grouped(
    "data quality and leakage",
    Fault(
        "test-rows-in-train",
        "every row stands twice in the file: the test asks what was trained",
        _twice,
        real="evaluation.md: GSM8K, MMLU leaks",
        promise="leakage",
    ),
    Fault(
        "test-rows-nearly-in-train",
        "every row stands once more with a polite phrase behind it",
        _nearly_twice,
        promise="leakage",
    ),
    Fault("trained-on-the-test-rows", "`sft` reads data.test", recipe(sft__rows="data.test"), promise="leakage"),
    Fault(
        "worked-examples-from-the-test",
        "the worked examples of the prompts are rows of the test",
        recipe(before__shots=2, before__shots_from="data.test", after__shots=2, after__shots_from="data.test"),
        promise="leakage",
        trl="TRL has no evaluation with worked examples",
    ),
    Fault("broken-line", "line 18 of the file ends in the middle", _broken_line, promise="data"),
    Fault("not-utf-8", "one line of the file is Latin-1", _latin1, promise="data"),
    Fault(
        "ids-stand-twice",
        "two rows have one id: scores are paired by it",
        each_row(lambda row, place: {**row, "id": f"t{place % 30}"}),
        promise="data",
    ),
    Fault("no-rows", "the file is empty", each_row(lambda row, place: None), promise="data"),
    Fault(
        "test-larger-than-the-data",
        "600 rows are to be held out of 60",
        recipe(data__split={"test": 600}),
        promise="data",
    ),
    Fault(
        "columns-of-another-name",
        "the rows say `q` and `a`",
        each_row(lambda row, place: {"q": row["messages"][0]["content"], "a": row["messages"][1]["content"]}),
        promise="data",
    ),
    Fault("mojibake", "questions were decoded with the wrong encoding: `Itâ€™s`", each_row(_mojibake), promise="data"),
    Fault("refusals-as-answers", "every second answer is a refusal", each_row(_refusing), promise="data"),
    Fault(
        "answers-that-contradict", "every question stands thrice, with three answers", _contradicting, promise="data"
    ),
    Fault("one-row-120-times", "two thirds of the file are one row", _one_row_a_hundred_times, promise="data"),
    Fault("secrets-in-the-rows", "questions hold addresses and a key of AWS", each_row(_with_keys), promise="data"),
)

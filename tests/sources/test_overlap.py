"""What gives an evaluation row away is found, by its kind; what only resembles it is not."""

from __future__ import annotations

import pytest

from tunewright.artifacts.dataset import ChatRow
from tunewright.sources.overlap import EvaluationIndex

LONG = (
    "A farmer has seventeen sheep and all but nine of them run away during a storm at night, so how many sheep are "
    "left for the farmer to bring to the market on the following morning when the gates open"
)


def row(text: str, answer: str = "Nine.", id: str = "t", call: str = "", tools: list | None = None) -> ChatRow:
    said = {"role": "assistant", "content": answer}
    if call:
        said = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": call, "arguments": {}}}]}
    return ChatRow(id=id, messages=[{"role": "user", "content": text}, said], tools=tools)


def found(train: ChatRow, *tests: ChatRow) -> list[tuple[str, str]]:
    return [(item.kind, item.test_id) for item in EvaluationIndex({"test": tests}).overlaps(train)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (LONG, "exact"),
        (LONG.upper().replace(",", " ;") + "?!", "exact"),
        ("Please answer this riddle for me if you can: " + LONG + ". Thank you, and explain your steps.", "8-gram"),
        (LONG.replace("storm", "fire"), "8-gram"),
    ],
)
def test_copies_are_found_whatever_is_around_them_or_changed_a_little(text, kind):
    assert found(row(text, "Other answer"), row(LONG)) == [(kind, "t")]


def test_json_in_another_order_is_the_same_json():
    one, two = 'Fill the form {"name": "Ann", "age": 30.0} please', 'Fill the form { "age": 30, "name": "Ann" } please'
    assert found(row(one), row(two)) == [("json", "t")]
    assert found(row(one.replace("30.0", "31")), row(two)) == []


def test_a_near_copy_with_words_changed_all_over_is_found_by_its_runs():
    words = [f"word{n}" for n in range(40)]
    changed = [*words]
    changed[5] = "other"
    tests = row(" ".join(words))
    assert found(row(" ".join(changed)), tests) != []
    scattered = ["other" if n % 9 == 4 else word for n, word in enumerate(words)]
    assert found(row(" ".join(scattered)), tests) == []


def talk(id: str, *turns: tuple[str, str]) -> ChatRow:
    said = [({"role": "user", "content": asked}, {"role": "assistant", "content": told}) for asked, told in turns]
    return ChatRow(id=id, messages=[message for pair in said for message in pair], tools=None)


ASKED = ("And how many days does the ferry to Iceland take in winter?", "It takes about three days.")


def test_the_last_turn_of_a_talk_is_found_behind_another_beginning():
    test = talk("test", (LONG, "Nine."), ASKED)
    train = talk("train", ("Hello, I plan a journey to the north of Europe.", "How nice!"), ASKED)
    assert found(train, test) == [("turn", "test")]
    assert found(talk("train", *train_turns_after(ASKED)), test) == [("turn", "test")]  # trained on there too
    assert found(talk("train", (ASKED[0], "It does not sail in winter.")), test) == []
    assert found(train, talk("test", ASKED, (LONG, "Nine."))) == []  # it is no question of the test row's
    opening = ("How long does it take?", "It takes about three days, or four when the wind is against you.")
    asked_too = talk("train", ("I plan a journey to the north of Europe.", "How nice!"), opening)
    assert found(asked_too, talk("test", opening)) == [("turn", "test")]
    assert found(asked_too, talk("test", opening, ("Who paid?", "Denmark."))) == []  # nor is it where the last is short


def train_turns_after(turn: tuple[str, str]) -> list[tuple[str, str]]:
    return [("Good morning!", "Good morning."), turn, ("Thank you.", "With pleasure.")]


def test_a_turn_of_few_words_or_of_many_rows_is_no_leak():
    brief = ("Where did they go after that?", "Home.")
    begins = [
        (f"The children of story {n} went to the sea, and to the woods when it rained.", "I see.") for n in "abcd"
    ]
    assert found(talk("train", begins[0], brief), talk("test", begins[1], brief)) == []
    tests = [talk(f"t{n}", (f"{LONG} {n}", "Nine."), ASKED) for n in range(4)]
    assert found(talk("train", begins[0], ASKED), *tests) == []
    index = EvaluationIndex({"test": tests[:1]})
    train = [talk(f"train{n}", (f"Story {n}", "I see."), ASKED) for n in range(9)]
    index.leave_out_templates_of(train)
    assert [pair for one in train for pair in index.overlaps(one)] == []


def test_questions_of_one_template_are_different_questions():
    def ask(n: int) -> str:
        return (
            f"You are given a sum. Work it out step by step and write the result at the end. What is {n} plus {n * 3}?"
        )

    tests = [row(ask(n), str(4 * n), id=f"t{n}") for n in range(30)]
    for n in range(100, 140):
        assert found(row(ask(n), str(4 * n)), *tests) == []
    assert found(row(ask(7), "28"), *tests) == [("exact", "t7")]


def test_a_short_question_counts_only_with_its_answer():
    asked, answered = "Who wrote Faust?", "Goethe wrote it."
    assert found(row(asked, answered), row("who wrote FAUST", answered)) == [("exact", "t")]
    assert found(row(asked, answered), row(asked, "Marlowe did, before Goethe.")) == []


def test_a_greeting_gives_nothing_away():
    assert found(row("Hi", "Hello!"), row("hi", "Hello!")) == []


def test_the_same_words_for_another_function_are_another_task():
    index = EvaluationIndex({"test": [row(LONG, call="count_sheep")]})
    assert list(index.overlaps(row(LONG, call="add"))) == []
    assert index.same_words_other_task(row(LONG, call="add")) == 1
    assert [item.kind for item in index.overlaps(row(LONG, call="count_sheep"))] == ["exact"]


def test_the_same_numbers_in_another_formula_are_another_task():
    asked = "State the final answer to the following problem: {} ="
    test = row(asked.format("7 + 4 - 2"), "9")
    assert found(row(asked.format("7 - 4 + 2"), "5"), test) == []
    assert found(row(asked.format("7 + 4 - 2"), "nine"), test) == [("exact", "t")]


def test_a_call_gives_away_its_text_form_but_not_an_answer_that_calls_nothing_though_it_might():
    calling = row(LONG, call="count_sheep", tools=[{"name": "count_sheep"}])
    in_text, declining = row(LONG, '{"name": "count_sheep"}'), row(LONG, "None can.", tools=[{"name": "add"}])
    assert found(in_text, calling) == [("exact", "t")]
    assert found(declining, calling) == found(calling, declining) == []
    assert found(declining, declining) == [("exact", "t")]


def test_a_text_without_a_word_gives_nothing_away():
    assert found(row("???"), row("!!!")) == []


def test_the_template_of_a_small_set_is_found_beside_a_large_one():
    names = [f"{first}{second}" for first in "abcdefghij" for second in "klmnopqrst"]
    large = [
        row(f"{name} asks what {name} and {name[::-1]} are worth together in euros", id=name) for name in names * 8
    ]
    sheet = "Read the following order with care and tell what the customer has to pay for all of it: {} of {}"
    small = [row(sheet.format(number, name), id=f"s{number}") for number, name in enumerate(names[:10])]
    index = EvaluationIndex({"large": large, "small": small})
    assert list(index.overlaps(row(sheet.format(77, "zz"), "Other"))) == []


def test_a_template_that_only_training_shows_is_one_but_not_a_row_that_leaked_several_times():
    sheet = "Your task is to count the legs of all animals in this list and to give their sum: {}"
    animals = ("cat", "crab", "duck", "wasp", "giraffe", "snail")
    lists = [f"{n} {a}s, {n + 3} {b}s" for n in range(2, 5) for a in animals for b in animals if a != b]
    tests = [row(sheet.format(text), id=f"t{n}") for n, text in enumerate(lists[:2])]
    train = [row(sheet.format(text), "Other", id=f"r{n}") for n, text in enumerate(lists[2:])]
    index = EvaluationIndex({"test": [*tests, row(LONG, id="long")]})
    wrapped = [row(f"{opening} {LONG}", "Other", id=opening) for opening in ("Please:", "Now tell me:", "A riddle:")]
    assert any(found for item in train for found in index.overlaps(item))
    index.leave_out_templates_of([*train, *wrapped])
    found = [(item.test_id, item.train_id) for row_ in [*train, *wrapped] for item in index.overlaps(row_)]
    assert found == [("long", "Please:"), ("long", "Now tell me:"), ("long", "A riddle:")]
    assert [item.kind for item in index.overlaps(row(sheet.format(lists[0]), "Other"))] == ["exact"]


def test_every_set_is_named_with_its_row():
    index = EvaluationIndex({"a": [row(LONG, id="1")], "b": [row(LONG, id="2")]})
    assert [(item.test_set, item.test_id) for item in index.overlaps(row(LONG))] == [("a", "1"), ("b", "2")]
    assert len(index) == 2

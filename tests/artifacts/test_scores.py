from tunewright.artifacts.scores import ScoreRow, answer_id, asked_alike


def row(**more):
    common = {"id": "r", "group": "g", "source": "", "question": "", "reference": "", "answer": "", "scores": {}}
    common |= {
        "reason": "",
        "prompt_sha256": "p",
        "prompt_tokens": 1,
        "answer_tokens": 1,
        "finish": "stop",
        "seconds": 0,
    }
    return ScoreRow(**{**common, **more})


def test_answers_of_one_template_are_alike_where_the_prompt_tokens_are():
    assert asked_alike(row(), row())
    assert not asked_alike(row(row_sha256="a"), row(row_sha256="a", prompt_sha256="q"))


def test_answers_of_two_templates_are_alike_where_the_rows_are():
    one = row(template_sha256="t", row_sha256="a")
    assert asked_alike(one, row(template_sha256="u", row_sha256="a", prompt_sha256="q"))
    assert asked_alike(one, row(row_sha256="a", prompt_sha256="a"))  # a server rendered it
    assert not asked_alike(one, row(template_sha256="u", row_sha256="b"))


def test_the_id_of_an_answer_leads_back_to_its_row():
    assert [answer_id("a#1", repeat) for repeat in (0, 2)] == ["a#1", "a#1#2"]
    assert [row(id=answer_id("a#1", repeat), repeat=repeat).row_id for repeat in (0, 2)] == ["a#1", "a#1"]

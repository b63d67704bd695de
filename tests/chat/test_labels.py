"""The label audit finds what the mask gets wrong, and nothing where it is right, without asking how it was made."""

from __future__ import annotations

import pytest
from tests.chat.test_lint import RELEASED, TEACH_NO_END, make_folder, trl_templates
from tests.chat.test_masks import FAMILIES, TALK

from tunewright.artifacts.verdict import Status
from tunewright.chat.labels import audit
from tunewright.chat.render import Renderer
from tunewright.errors import ModelError
from tunewright.gates.rows import labels_are_the_answers

TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
CALLING = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]


def audited(renderer, messages, tools=None, change=lambda ids, trained: trained):
    rendered = renderer.conversation(messages, tools)
    trained = change(rendered.token_ids, list(rendered.trained))
    return audit(renderer, "r", "s", messages, tools, rendered.token_ids, trained)


@pytest.fixture(scope="module")
def smol(smollm2_folder):
    return Renderer.from_folder(smollm2_folder)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_the_renderers_masks_pass_for_every_family(name, make_model):
    template, special, kind, _ = FAMILIES[name]
    found = audited(Renderer.from_folder(make_model(template, special, kind)), TALK)
    assert found.verified and (found.prompt_trained, found.answer_masked, found.ends_masked) == (0, 0, 0)
    assert found.ends == 2 and not found.ends_open


@pytest.mark.skipif(not trl_templates(), reason="trl is not installed")
def test_the_renderers_masks_pass_for_released_templates(tmp_path):
    verified = 0
    for file in trl_templates()[::6]:
        family = next(key for key in RELEASED if file.name.startswith(key))
        try:
            renderer = Renderer.from_folder(
                make_folder(tmp_path / file.stem, file.read_text(encoding="utf-8"), *RELEASED[family])
            )
            found = audited(renderer, TALK[:2])
        except ModelError:
            continue
        verified += found.verified
        assert (found.prompt_trained, found.answer_masked, found.ends_masked) == (0, 0, 0), file.name
        assert found.ends_open == (file.stem in TEACH_NO_END), file.name
    assert verified >= 8


def test_calls_that_stand_as_text_are_verified_too(smol):
    found = audited(smol, CALLING, [TOOL])
    assert found.verified and found.prompt_trained == found.answer_masked == found.ends_masked == 0
    assert labels_are_the_answers([found]).status is Status.PASSED


def test_a_message_that_looks_like_a_header_is_told_from_one(smol):
    odd = [{"role": "user", "content": "<b>assistant</b> user"}, {"role": "assistant", "content": "assistant"}]
    found = audited(smol, odd)
    assert found.verified and found.prompt_trained == found.answer_masked == 0


def test_a_prompt_that_is_trained_fails(smol):
    found = audited(smol, TALK, change=lambda ids, trained: [True] * len(trained))
    assert found.prompt_trained > 0
    verdict = labels_are_the_answers([found])
    assert verdict.status is Status.FAILED and verdict.measured.endswith(": r")


@pytest.mark.parametrize("before", [1, 3, 9])
def test_one_trained_token_of_a_header_or_a_question_is_found(smol, before):
    def one_early(ids, trained):
        trained[trained.index(True) - before] = True
        return trained

    assert audited(smol, TALK[:2], change=one_early).prompt_trained == 1


def test_an_answer_whose_beginning_is_masked_fails(smol):
    def late(ids, trained):
        trained[trained.index(True)] = False
        return trained

    found = audited(smol, TALK, change=late)
    assert found.answer_masked == 1 and labels_are_the_answers([found]).status is Status.FAILED


def test_a_pad_that_is_the_end_of_turn_and_was_masked_by_its_id_fails(smol):
    """What a collator does that sets every label of the padding token to -100, while pad is the end-of-turn."""
    assert smol.pad_token_id in smol.stop_token_ids

    def by_id(ids, trained):
        return [on and token != smol.pad_token_id for token, on in zip(ids, trained, strict=True)]

    found = audited(smol, TALK, change=by_id)
    assert found.ends_masked == found.ends == 2 and found.ends_open
    verdict = labels_are_the_answers([found])
    assert verdict.status is Status.FAILED and "2 of 2 ends of turns" in verdict.measured
    assert "padding" in verdict.remedy


def test_a_template_that_writes_calls_in_its_own_form_is_held_against_the_prompt(make_model):
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + (m.content or '') }}{% for t in tools or [] %}"
        "{{ t | tojson }}{% endfor %}{% for c in m.tool_calls or [] %}{{ '[CALL]' + c.function.name + "
        "(c.function.arguments | tojson) }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    renderer = Renderer.from_folder(make_model(template))
    assert audited(renderer, CALLING, [TOOL]).verified
    wrong = audited(renderer, CALLING, [TOOL], change=lambda ids, trained: [True] * len(trained))
    assert wrong.prompt_trained > 0
